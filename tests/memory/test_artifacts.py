import hashlib
import io
import os
import signal
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from memory.artifacts import Artifacts, encode_png
from memory.errors import StoreDamaged
from memory.importing import PictureRefused
from models.artifact import ArtifactRef


def make_picture(seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (32, 48, 3), dtype=np.uint8))


@pytest.fixture
def store(tmp_path: Path) -> Artifacts:
    return Artifacts(tmp_path / "artifacts")


def test_a_picture_comes_back_as_it_was_saved(store: Artifacts) -> None:
    picture = make_picture()
    ref = store.save_image(picture, seed=5, provenance={"prompt": "a red cube", "backend": "embedded"})
    assert (ref.width, ref.height, ref.seed, ref.media_type) == (48, 32, 5, "image/png")
    assert store.path(ref) == store.root / ref.sha256[:2] / ref.sha256[2:4] / f"{ref.sha256}.png"
    assert hashlib.sha256(store.path(ref).read_bytes()).hexdigest() == ref.sha256
    assert np.array_equal(np.asarray(store.load_image(ref)), np.asarray(picture))
    assert store.load_image(ref).mode == "RGB"
    assert sorted(path.suffix for path in store.root.glob("??/??/*")) == [".json", ".png"]


def test_equal_pixels_have_one_name_whatever_else_they_carry(store: Artifacts) -> None:
    picture = make_picture()
    decorated = picture.copy()
    decorated.info.update(dpi=(300, 300), icc_profile=b"profile", gamma=0.45)
    note = PngImagePlugin.PngInfo()
    note.add_text("Software", "something")
    file = io.BytesIO()
    decorated.save(file, "PNG", pnginfo=note, dpi=(300, 300))
    assert encode_png(decorated) == encode_png(picture) == encode_png(Image.open(file))
    assert encode_png(make_picture(1)) != encode_png(picture)
    assert b"IHDR" in (content := encode_png(picture))
    assert all(name not in content for name in (b"tEXt", b"tIME", b"pHYs", b"iCCP"))


def test_every_provenance_is_kept_once(store: Artifacts) -> None:
    for prompt in ("a", "b", "a"):
        ref = store.save_image(make_picture(), seed=1, provenance={"prompt": prompt, "parent": None})
    sidecar = store.sidecar(ref)
    assert sidecar["provenances"] == [
        {"prompt": "a", "parent": None, "seed": 1},
        {"prompt": "b", "parent": None, "seed": 1},
    ]
    assert sidecar["bytes"] == store.path(ref).stat().st_size
    assert (sidecar["media_type"], sidecar["width"], sidecar["height"]) == ("image/png", 48, 32)


def test_processes_that_save_the_same_picture_lose_no_provenance(
    store: Artifacts, start: Callable[..., object]
) -> None:
    workers = [start("save_many", store.root, name, 10) for name in ("one", "two", "three")]
    assert [worker.wait(90) for worker in workers] == [0, 0, 0]  # type: ignore[attr-defined]
    (picture,) = store.root.rglob("*.png")
    provenances = store.sidecar(ArtifactRef(sha256=picture.stem))["provenances"]
    assert len(provenances) == 30  # type: ignore[arg-type]
    assert not list(store.root.glob(".incoming/*"))


def test_what_is_missing_is_named(store: Artifacts) -> None:
    absent = ArtifactRef(sha256="ab" * 32)
    with pytest.raises(LookupError, match=f"{absent.sha256} in {store.root}"):
        store.load_image(absent)
    with pytest.raises(LookupError, match=absent.sha256):
        store.sidecar(absent)


def test_a_damaged_picture_is_refused_and_mended_by_saving_it_again(
    store: Artifacts, damaged: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    ref = store.save_image(make_picture(), seed=0, provenance={})
    damaged(store.path(ref))
    with pytest.raises(StoreDamaged, match=r"damaged.*Paint it again"):
        store.load_image(ref)
    assert store.save_image(make_picture(), seed=0, provenance={}) == ref
    assert np.array_equal(np.asarray(store.load_image(ref)), np.asarray(make_picture()))
    assert "written again" in caplog.text


def test_a_damaged_sidecar_is_told_and_kept_aside(
    store: Artifacts, damaged: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    ref = store.save_image(make_picture(), seed=0, provenance={"prompt": "a"})
    sidecar = store.path(ref).with_suffix(".json")
    damaged(sidecar)
    broken = sidecar.read_bytes()
    with pytest.raises(StoreDamaged, match="sidecar is damaged"):
        store.sidecar(ref)
    store.save_image(make_picture(), seed=0, provenance={"prompt": "b"})
    assert store.sidecar(ref)["provenances"] == [{"prompt": "b", "seed": 0}]
    (aside,) = sidecar.parent.glob("*.damaged-*.json")
    assert aside.read_bytes() == broken
    assert "kept as" in caplog.text


@pytest.mark.parametrize("mode", ["RGBA", "F", "CMYK", "P"])
def test_what_does_not_fit_rgb_is_refused(store: Artifacts, mode: str) -> None:
    with pytest.raises(ValueError, match=mode):
        store.save_image(Image.new(mode, (4, 4)), seed=0, provenance={})


POINTS = [f"{when}-{what}" for what in ("sidecar", "picture") for when in ("torn", "before", "after")]


@pytest.mark.parametrize("point", POINTS)
def test_killed_while_saving_leaves_nothing_half_and_doing_it_again_ends_the_same(
    store: Artifacts, start: Callable[..., object], point: str, tmp_path: Path
) -> None:
    worker = start("save", store.root, point)
    assert worker.wait(90) == -signal.SIGKILL  # type: ignore[attr-defined]
    for path in store.root.glob("??/??/*.png"):
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.stem
        assert path.with_suffix(".json").exists()
    orphans = list(store.root.glob(".incoming/*"))
    assert len(orphans) == (0 if point.startswith("after") else 1)

    again = Artifacts(store.root)  # sweeps
    assert not list(store.root.glob(".incoming/*"))
    picture = Image.linear_gradient("L").resize((48, 32)).convert("RGB")
    ref = again.save_image(picture, seed=7, provenance={"prompt": "a red cube"})
    undisturbed = Artifacts(tmp_path / "other").save_image(
        picture, seed=7, provenance={"prompt": "a red cube"}
    )
    assert ref == undisturbed
    assert again.sidecar(ref)["provenances"] == [{"prompt": "a red cube", "seed": 7}]
    assert len(list(store.root.rglob("*.png"))) == 1


def test_the_sweep_spares_the_living_and_the_far(store: Artifacts) -> None:
    incoming = store.root / ".incoming"
    names = {
        "mine": f"{os.uname().nodename}~{os.getpid()}~0~x.png",
        "dead": f"{os.uname().nodename}~{2**22 + 1}~0~x.png",
        "far": f"elsewhere~{2**22 + 1}~0~x.png",
        "far and old": f"elsewhere~{2**22 + 1}~1~x.png",
        "foreign": "notes.txt",
    }
    for name in names.values():
        (incoming / name).write_bytes(b"")
    long_ago = time.time() - 2 * 86_400
    os.utime(incoming / names["far and old"], (long_ago, long_ago))
    assert {path.name for path in store.sweep()} == {names["dead"], names["far and old"]}
    assert {path.name for path in incoming.iterdir()} == {names[k] for k in ("mine", "far", "foreign")}


@pytest.mark.parametrize(
    "name",
    ["", "..", "../" * 32, "/etc/passwd", "A" * 64, "a" * 63, "a" * 65, "a" * 64 + "\n", "a" * 63 + "\0"],
)
def test_a_name_that_is_no_hash_never_becomes_a_path(store: Artifacts, name: str) -> None:
    with pytest.raises(ValueError, match="is no SHA-256"):
        store.path(ArtifactRef.model_construct(sha256=name))
    with pytest.raises(ValueError, match="sha256"):
        ArtifactRef(sha256=name)


def test_a_link_out_of_the_store_is_refused(store: Artifacts, tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (store.root / "ab").symlink_to(tmp_path / "secret")
    with pytest.raises(ValueError, match="leads out of the store"):
        store.path(ArtifactRef(sha256="ab" * 32))


def encoded(image: Image.Image, format_name: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format_name, **options)
    return file.getvalue()


@pytest.mark.parametrize("format_name", ["PNG", "JPEG", "WEBP"])
def test_a_users_picture_is_imported(store: Artifacts, tmp_path: Path, format_name: str) -> None:
    content = encoded(make_picture(), format_name)
    (tmp_path / "mine").write_bytes(content)
    ref = store.import_image(tmp_path / "mine", provenance={"by": "user"})
    assert ref == store.import_image(content, provenance={"by": "user"})
    first, second = store.sidecar(ref)["provenances"]  # type: ignore[misc]
    assert first["imported"] == {  # type: ignore[index]
        "name": "mine",
        "format": format_name,
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    assert second["imported"]["name"] is None  # type: ignore[index]
    expected = Image.open(io.BytesIO(content)).convert("RGB")
    assert np.array_equal(np.asarray(store.load_image(ref)), np.asarray(expected))


def test_import_turns_upright_and_lays_on_white_and_says_so(store: Artifacts) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    turned = store.import_image(encoded(make_picture(), "JPEG", exif=exif))
    assert (turned.width, turned.height) == (32, 48)
    clear = store.import_image(encoded(Image.new("RGBA", (4, 4), (255, 0, 0, 0)), "PNG"))
    assert store.load_image(clear).getpixel((0, 0)) == (255, 255, 255)
    assert "laid on white" in str(store.sidecar(clear))


def bomb(width: int, height: int) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )


def refusals() -> dict[str, tuple[bytes, str]]:
    frames = [make_picture(0), make_picture(1)]
    whole = encoded(make_picture(), "PNG")
    return {
        "17 megapixels": (bomb(17_000, 1_000), "17000 x 1000"),
        "a bomb that Pillow warns of": (bomb(10_000, 10_000), "10000 x 10000"),
        "a bomb that Pillow refuses": (bomb(30_000, 30_000), "far more than"),
        "two frames": (encoded(frames[0], "PNG", save_all=True, append_images=frames[1:]), "2 frames"),
        "two frames of WEBP": (
            encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:]),
            "2 frames",
        ),
        "GIF": (encoded(frames[0], "GIF"), "no readable PNG, JPEG, WEBP"),
        "16 bits": (encoded(Image.new("I;16", (4, 4)), "PNG"), "8 bits per channel"),
        "cut": (whole[: len(whole) // 2], "no readable"),
        "text": (b"hello", "no readable"),
        "nothing": (b"", "no readable"),
        "too large a file": (bytes(64 * 2**20 + 1), "bytes"),
    }


@pytest.mark.parametrize("case", refusals())
def test_a_file_that_is_no_fit_picture_is_refused(store: Artifacts, tmp_path: Path, case: str) -> None:
    content, reason = refusals()[case]
    with pytest.raises(PictureRefused, match=reason):
        store.import_image(content)
    (tmp_path / "upload.png").write_bytes(content)
    with pytest.raises(PictureRefused, match=r"upload.png"):
        store.import_image(tmp_path / "upload.png")
    assert not list(store.root.rglob("*.json"))

import hashlib
import io
import json
import os
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from diorama.art import build as building
from diorama.art.fetch import fetch
from diorama.art.raster import Gallery, cut_out
from diorama.art.sprite import make_sprite
from diorama.atlas import LONGEST, SIDE, ArtError, Atlas, Channel, load_atlas, save_atlas, the_atlas
from diorama.drawings import Drawing, Drawings, Source, drawing_of, drawings_of, load_drawings
from diorama.names import colours_sheet, drawings_sheet, names_sheet, scenes_sheet
from diorama.names import main as sheets
from diorama.oklab import from_oklab, to_oklab
from diorama.recolouring import MIDDLE, ramps
from diorama.render import render
from diorama.scene import Camera, Light, Scene, Thing
from diorama.vocabulary import Vocabulary, load_vocabulary

VOCABULARY = load_vocabulary()
ORANGE, BLACK, SKY = (240, 140, 30), (20, 20, 22), (120, 200, 250)


def car() -> Image.Image:
    """An orange body with a sky-blue window and black tyres, and a small disc apart from it."""
    picture = Image.new("RGBA", (200, 200))
    pen = ImageDraw.Draw(picture)
    pen.rectangle((20, 60, 159, 129), fill=ORANGE)
    pen.rectangle((60, 70, 109, 94), fill=SKY)
    pen.ellipse((30, 115, 60, 145), fill=BLACK)
    pen.ellipse((120, 115, 150, 145), fill=BLACK)
    pen.ellipse((180, 10, 190, 20), fill=ORANGE)
    return picture


def drawing(**changes: object) -> Drawing:
    return Drawing.model_validate(
        {"shape": "car", "source": "made", "file": "car", "aspect": 1.63, **changes}
    )


def package(folder: Path, members: dict[str, bytes]) -> tuple[Path, str]:
    path = folder / "made-1.0.0.tgz"
    with tarfile.open(path, "w:gz") as archive:
        for name, data in members.items():
            entry = tarfile.TarInfo(f"package/{name}")
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


def source(sha256: str, kind: str = "webp") -> Source:
    return Source.model_validate(
        {
            "name": "made", "package": "made", "version": "1.0.0", "sha256": sha256, "format": kind,
            "licence": "MIT", "author": "nobody", "notice": "made by a test",
        }
    )  # fmt: skip


def webp() -> bytes:
    data = io.BytesIO()
    car().save(data, "WEBP", lossless=True)
    return data.getvalue()


def test_every_cutout_has_drawings_for_training_and_judges_have_others() -> None:
    cutouts = [shape.name for shape in VOCABULARY.shapes if shape.kind == "cutout"]
    drawn = {entry.shape for entry in load_drawings().drawings}
    assert drawn == set(cutouts)
    for name in cutouts:
        train, held_out = set(drawings_of(name)), set(drawings_of(name, ("held_out",)))
        assert len(train) >= 2 and held_out and not train & held_out, name


def test_unknown_drawings_are_named() -> None:
    assert drawing_of("cat", None) == drawings_of("cat")[0]
    with pytest.raises(ValueError, match="'cat' has no drawing 'cat/none'; there are: cat/"):
        drawing_of("cat", "cat/none")
    with pytest.raises(ValueError, match="no drawing of 'cube'"):
        drawings_of("cube")
    with pytest.raises(ValueError, match="no source 'nowhere'"):
        Drawings(sources=(), drawings=(drawing(source="nowhere"),))
    with pytest.raises(ValueError, match="listed twice"):
        Drawings(sources=(source("0" * 64),), drawings=(drawing(), drawing()))


def test_a_sprite_spares_windows_and_tyres() -> None:
    planes = make_sprite(cut_out(car(), drawing(alone=True), LONGEST))
    alpha, main = planes[Channel.ALPHA] > 200, planes[Channel.MAIN].astype(float) / 255
    rgb = planes[:3].astype(float).transpose(1, 2, 0)

    def share(colour: tuple[int, int, int]) -> float:
        alike = alpha & (np.abs(rgb - np.array(colour)).max(axis=2) < 12)
        assert alike.sum() > 50
        return float(main[alike].mean())

    assert share(ORANGE) > 0.97
    assert share(BLACK) < 0.03 and share(SKY) < 0.03
    tone = planes[Channel.TONE][alpha & (main > 0.9)]
    assert abs(float(np.median(tone)) - MIDDLE) <= 1


def test_main_colours_can_be_named() -> None:
    tyres = tuple(value / 255 for value in BLACK)
    planes = make_sprite(cut_out(car(), drawing(alone=True), LONGEST), (tyres,))  # pyright: ignore[reportArgumentType]
    rgb = planes[:3].astype(float).transpose(1, 2, 0)
    black = (planes[Channel.ALPHA] > 200) & (np.abs(rgb - np.array(BLACK)).max(axis=2) < 12)
    assert planes[Channel.MAIN][black].mean() > 245
    assert planes[Channel.MAIN][(planes[Channel.ALPHA] > 200) & ~black].mean() < 40


def test_relief_rises_from_the_outline_inwards() -> None:
    planes = make_sprite(cut_out(car(), drawing(alone=True), LONGEST))
    height, alpha = planes[Channel.HEIGHT].astype(int), planes[Channel.ALPHA]
    assert (height[alpha < 100] == 0).all()
    assert height[60, 64] == 255
    line = height[60, 4:64]
    assert (np.diff(line) >= 0).all() and line[0] < 200


def test_cut_out_keeps_what_is_asked_for() -> None:
    whole, alone = cut_out(car(), drawing(), LONGEST), cut_out(car(), drawing(alone=True), LONGEST)
    assert whole.size[0] == LONGEST and max(alone.size) == LONGEST
    assert alone.width / alone.height == pytest.approx(140 / 86, rel=0.03)
    left = cut_out(car(), drawing(crop=(0.0, 0.0, 0.5, 1.0)), LONGEST)
    assert left.width / left.height == pytest.approx(80 / 86, rel=0.03)
    plain = np.array(cut_out(car(), drawing(alone=True), LONGEST)).astype(int)
    lettered = np.array(cut_out(car(), drawing(alone=True, lettering="STOP"), LONGEST)).astype(int)
    assert (np.abs(plain - lettered).max(axis=2) > 100).sum() > 100
    with pytest.raises(ArtError, match="is empty: correct its crop"):
        cut_out(car(), drawing(crop=(0.0, 0.0, 0.05, 0.05)), LONGEST)


def test_ramps_go_through_their_colour_and_keep_its_hue() -> None:
    for entry, ramp in zip(VOCABULARY.colours, ramps(), strict=True):
        assert np.abs(ramp[MIDDLE] - np.array(entry.rgb)).max() < 0.02, entry.name
        assert ramp.min() >= 0.0 and ramp.max() <= 1.0
        lab = to_oklab(ramp)
        assert (np.diff(lab[:, 0]) > -1e-6).all(), "lighter tones are lighter shades"
        if np.hypot(*lab[MIDDLE, 1:]) > 0.05:
            hue = np.arctan2(lab[:, 2], lab[:, 1])
            turn = np.abs((hue - hue[MIDDLE] + np.pi) % (2 * np.pi) - np.pi)
            assert turn.max() < 0.25, entry.name


def test_oklab_there_and_back() -> None:
    rgb = np.random.default_rng(0).random((200, 3))
    assert np.abs(from_oklab(to_oklab(rgb)) - rgb).max() < 1e-6
    # Ottosson's own figures for white, and for a pure red.
    assert to_oklab(np.ones(3)) == pytest.approx([1.0, 0.0, 0.0], abs=1e-3)
    assert to_oklab(np.array([1.0, 0.0, 0.0])) == pytest.approx([0.628, 0.225, 0.126], abs=1e-3)


def test_build_writes_an_atlas_that_names_its_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, sha256 = package(tmp_path, {"assets/car.webp": webp()})
    only = Drawings(sources=(source(sha256),), drawings=(drawing(alone=True),))
    monkeypatch.setattr(building, "load_drawings", lambda: only)
    monkeypatch.setattr(building, "load_vocabulary", lambda: cars())
    out = tmp_path / "sprites.npz"
    assert building.main(["--out", str(out), "--cache", str(tmp_path)]) == 0
    assert "made 1.0.0: MIT, nobody" in capsys.readouterr().out
    atlas = load_atlas(out)
    assert atlas.planes.shape == (1, len(Channel), SIDE, SIDE)
    assert atlas.manifest.credits[0].notice == "made by a test"
    assert atlas.row(only.drawings[0]) == 0


def cars() -> Vocabulary:
    return VOCABULARY.model_copy(update={"shapes": tuple(s for s in VOCABULARY.shapes if s.name == "car")})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"file": "lorry"}, "made 1.0.0 has no 'lorry'; correct or remove it"),
        ({"aspect": 1.0, "alone": True}, "so its aspect is no 1.0: write 1.622 in diorama/drawings.toml"),
        ({"split": "held_out"}, "no drawing for training of car: list one"),
    ],
)
def test_build_says_what_is_wrong_with_a_drawing(
    changes: dict[str, object],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _, sha256 = package(tmp_path, {"assets/car.webp": webp()})
    only = Drawings(sources=(source(sha256),), drawings=(drawing(**changes),))
    monkeypatch.setattr(building, "load_drawings", lambda: only)
    monkeypatch.setattr(building, "load_vocabulary", lambda: cars())
    assert building.main(["--out", str(tmp_path / "sprites.npz"), "--cache", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1
    assert not (tmp_path / "sprites.npz").exists()


def test_an_atlas_that_is_too_large_is_not_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, sha256 = package(tmp_path, {"assets/car.webp": webp()})
    monkeypatch.setattr(building, "load_vocabulary", lambda: cars())
    monkeypatch.setattr(building, "LIMIT", 1000)
    only = Drawings(sources=(source(sha256),), drawings=(drawing(alone=True),))
    with pytest.raises(ArtError, match="1000 are allowed: list fewer drawings"):
        building.build(only, tmp_path / "sprites.npz", tmp_path)
    assert not (tmp_path / "sprites.npz").exists()


def test_an_archive_with_another_hash_is_thrown_away(tmp_path: Path) -> None:
    path, _ = package(tmp_path, {"assets/car.webp": webp()})
    with pytest.raises(ArtError, match=r"made 1\.0\.0 has hash .* thrown away; make sprites again"):
        fetch(source("0" * 64), tmp_path)
    assert not path.exists()


def test_without_npm_or_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ArtError, match=r"npm is not installed.*install Node\.js, then make sprites"):
        fetch(source("0" * 64), tmp_path / "cache")
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\nexit 1\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/usr/bin:/bin")
    with pytest.raises(
        ArtError, match=r"npm could not fetch made@1\.0\.0: go online, or copy its archive to"
    ):
        fetch(source("0" * 64), tmp_path / "cache")


def test_vector_art_needs_resvg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    icons = {"icons": {"car": {"body": "<path d='M0 0h9v9z'/>"}}, "width": 16, "height": 16}
    _, sha256 = package(tmp_path, {"icons.json": json.dumps(icons).encode()})
    gallery = Gallery(source(sha256, "svg"), tmp_path)
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    with pytest.raises(ArtError, match=r"pip install 'maulstick\[sprites\]'"):
        gallery.draw(drawing())
    with pytest.raises(ArtError, match="has no 'lorry'"):
        gallery.draw(drawing(file="lorry"))


def test_a_missing_or_damaged_atlas(tmp_path: Path, atlas_file: Path, atlas: Atlas) -> None:
    with pytest.raises(ArtError, match=r"there is no sprite atlas at .*: make sprites"):
        load_atlas(tmp_path / "none.npz")
    whole = atlas_file.read_bytes()
    broken = tmp_path / "broken.npz"
    for damaged in (b"", b"no atlas", whole[: len(whole) // 2], _flipped(whole)):
        broken.write_bytes(damaged)
        with pytest.raises(ArtError, match=r"is damaged.*: delete it, then make sprites"):
            load_atlas(broken)
    save_atlas(broken, atlas.planes[:, :, :64, :64], atlas.manifest)
    with pytest.raises(ArtError, match="of another version: delete it"):
        load_atlas(broken)
    changed = atlas.planes[:].copy()
    changed[7, 0, 64, 64] ^= 1
    save_atlas(broken, changed, atlas.manifest)
    with pytest.raises(ArtError, match=f"is damaged at {atlas.manifest.sprites[7].name}"):
        load_atlas(broken)


def _flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 0xFF]) + data[middle + 1 :]


def test_scenes_without_cutouts_need_no_atlas(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, atlas: Atlas
) -> None:
    the_atlas.cache_clear()
    monkeypatch.setattr("diorama.atlas.ATLAS_PATH", tmp_path / "none.npz")
    monkeypatch.setattr(load_atlas, "__defaults__", (tmp_path / "none.npz",))
    camera, light = Camera(0.0, 2.2, 8.5, 0.175, 2.26), Light(-0.6, 0.9, 0.63)
    ball = Thing("sphere", "red", "plain", "large", 0.0, 0.5, 0.0, 0.0)
    bench = Thing("bench", None, "plain", "large", 1.5, 0.4, 0.0, 0.0)
    cat = Thing("cat", None, "plain", "large", -1.5, 0.5, 0.0, 0.0)
    render([Scene((ball, bench), "studio", camera, light)], size=32)
    scene = Scene((ball, cat), "studio", camera, light)
    with pytest.raises(ArtError, match="cut-outs are drawn from it: make sprites"):
        render([scene], size=32)
    render([scene], size=32, atlas=atlas)
    fewer = Atlas(atlas.manifest.model_copy(update={"sprites": atlas.manifest.sprites[:1]}), atlas.planes[:1])
    with pytest.raises(ArtError, match=r"lacks cat/.*: make sprites"):
        render([scene], size=32, atlas=fewer)
    the_atlas.cache_clear()


def test_sheets_for_people(atlas: Atlas) -> None:
    named = sum(shape.kind != "solid" for shape in VOCABULARY.shapes)
    assert named == 80
    assert names_sheet(atlas, size=16).size == (10 * 20 + 4, 8 * 36 + 4)
    assert colours_sheet(atlas, size=8).size == (22 * 12 + 4, 40 * 12 + 4)
    assert drawings_sheet(atlas, size=8).width == 18 * 12 + 4
    assert scenes_sheet(atlas, size=16, count=8).size == (8 * 20 + 4, 24)


def test_sheets_without_an_atlas(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    the_atlas.cache_clear()
    monkeypatch.setattr(load_atlas, "__defaults__", (tmp_path / "none.npz",))
    assert sheets(["names", "--out", str(tmp_path / "names.png")]) == 2
    said = capsys.readouterr().err
    assert "make sprites" in said and said.count("\n") == 1
    the_atlas.cache_clear()

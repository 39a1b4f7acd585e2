import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants

from models import backends
from models.backends import EMBEDDED, UnknownBackend, known_backends, learnt_as, memory_bytes, resolve
from models.pipelines import load_pipeline
from models.tool import ToolError
from models.weights import check_pipeline


@pytest.fixture
def copy(tiny_flux: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_flux, tmp_path / "copy"))


def test_builtin_backends_are_found_by_name() -> None:
    assert resolve("embedded").kind == "embedded"
    assert known_backends()[0].name == "embedded"
    schnell = resolve("black-forest-labs/FLUX.1-schnell")
    assert (schnell.steps, schnell.guidance, schnell.width, schnell.max_prompt_tokens) == (4, 0.0, 1024, 256)


def test_a_folder_is_a_backend_at_the_size_of_its_autoencoder(tiny_flux: Path) -> None:
    backend = resolve(str(tiny_flux))
    assert (backend.name, backend.kind, backend.width, backend.height) == (
        str(tiny_flux),
        "diffusers",
        32,
        32,
    )


def test_a_card_beside_the_pipeline_sets_its_defaults(copy: Path) -> None:
    (copy / "card.json").write_text(json.dumps({"steps": 12, "guidance": 1.5, "trained_on": "something"}))
    backend = resolve(str(copy))
    assert (backend.steps, backend.guidance, backend.width) == (12, 1.5, 32)
    (copy / "card.json").write_text(json.dumps({"steps": "many"}))
    with pytest.raises(ToolError, match=r"card\.json is no backend card"):
        resolve(str(copy))


def test_unknown_names_list_the_known(tmp_path: Path) -> None:
    with pytest.raises(
        UnknownBackend, match="no backend is called 'dalle'; known: embedded, black-forest-labs"
    ):
        resolve("dalle")
    with pytest.raises(UnknownBackend, match="exists and is no diffusers pipeline"):
        resolve(str(tmp_path))
    with pytest.raises(UnknownBackend):
        resolve("../etc/passwd")


def test_a_hub_name_that_is_not_cached_says_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ToolError) as error:
        load_pipeline(resolve("someone/some-model"), "cpu")
    assert "someone/some-model is not in the cache" in str(error.value)
    assert "pass the path of a local folder, or set HF_HUB_OFFLINE=0" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_cached_hub_name_loads_offline(
    tiny_flux: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    commit = "0" * 40
    repository = tmp_path / "models--someone--tiny"
    shutil.copytree(tiny_flux, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    assert load_pipeline(resolve("someone/tiny"), "cpu").transformer.config.num_layers == 1


def test_a_pipeline_loads_in_fp32_without_progress_bars(
    tiny_flux: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    backend = resolve(str(tiny_flux))
    pipeline = load_pipeline(backend, "cpu")
    assert {part.dtype for part in (pipeline.transformer, pipeline.vae, pipeline.text_encoder_2)} == {
        torch.float32
    }
    pipeline(prompt="a red cube", width=32, height=32, num_inference_steps=1, max_sequence_length=16)
    assert "%|" not in capfd.readouterr().err


def test_memory_is_four_bytes_per_weight(tiny_flux: Path) -> None:
    backend = resolve(str(tiny_flux))
    pipeline = load_pipeline(backend, "cpu")
    parts = (pipeline.transformer, pipeline.vae, pipeline.text_encoder, pipeline.text_encoder_2)
    values = sum(value.numel() for part in parts for value in part.parameters())
    assert memory_bytes(backend) == pytest.approx(4 * values, rel=0.02)  # tied and buffered tensors


def damage(file: Path, how: str) -> None:
    content = file.read_bytes()
    if how == "pointer":
        file.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 1\n")
    elif how == "missing":
        file.unlink()
    elif how == "header":
        file.write_bytes(content[:8] + b"[" + content[9:])
    else:
        file.write_bytes(content[: {"truncated": len(content) - 1, "stub": 40, "empty": 0}[how]])


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("pointer", "is a git-lfs pointer and not the weights: run `git lfs pull`"),
        ("missing", r"holds no \*.safetensors weights \(pickled weights are refused\)"),
        ("truncated", "is damaged: it has .* bytes and its header promises"),
        ("stub", "is truncated or no safetensors file"),
        ("empty", "is truncated or no safetensors file"),
        ("header", "its header is not JSON"),
    ],
)
def test_damaged_weights_are_refused_by_file_name(copy: Path, how: str, says: str) -> None:
    file = copy / "transformer" / "diffusion_pytorch_model.safetensors"
    damage(file, how)
    with pytest.raises(ToolError, match=says) as error:
        load_pipeline(resolve(str(copy)), "cpu")
    assert str(file if how != "missing" else file.parent) in str(error.value)
    assert "maulstick doctor" in str(error.value)


def test_a_missing_shard_is_named(copy: Path) -> None:
    index = {"weight_map": {"a": "part-1.safetensors", "b": "part-2.safetensors"}}
    (copy / "vae" / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
    (copy / "vae" / "diffusion_pytorch_model.safetensors").rename(copy / "vae" / "part-1.safetensors")
    with pytest.raises(ToolError, match=r"part-2.safetensors are missing"):
        check_pipeline(copy)


def test_a_missing_component_is_named(copy: Path) -> None:
    shutil.rmtree(copy / "vae")
    with pytest.raises(ToolError, match="names the component 'vae'"):
        check_pipeline(copy)


def test_the_shipped_painter_is_whole() -> None:
    assert (Path(EMBEDDED.source) / "model_index.json").is_file()
    assert memory_bytes(resolve("embedded")) > 1e6


def test_looking_up_backends_imports_no_torch(tiny_flux: Path) -> None:
    code = (
        "import sys; from models.backends import memory_bytes, resolve; "
        f"memory_bytes(resolve({str(tiny_flux)!r})); resolve('embedded'); resolve('a/b'); "
        "print('torch' in sys.modules)"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_what_is_learnt_about_the_embedded_painter_is_of_its_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = learnt_as("embedded")
    assert re.fullmatch(r"embedded@[0-9a-f]{8}", shipped) and learnt_as("embedded") == shipped
    other = backends.EMBEDDED.model_copy(update={"source": str(tmp_path)})
    (tmp_path / "transformer").mkdir()
    (tmp_path / "transformer" / "weights.safetensors").write_bytes(b"new")
    monkeypatch.setattr(backends, "EMBEDDED", other)
    backends._hash_embedded.cache_clear()
    assert learnt_as("embedded") != shipped
    backends._hash_embedded.cache_clear()
    assert learnt_as("owner/name") == "owner/name"

"""Official checkpoints: every prefix, strict keys, no code out of pickles."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import Dinov2Config, Dinov2Model

import app
from models.pixel_perfect_depth import PixelPerfectTransformer2DModel, read_official
from models.pixel_perfect_depth.convert import convert_official
from models.pixel_perfect_depth.folders import load_pipeline
from models.pixel_perfect_depth.semantics import _LAYERS, _WHOLE, encode_semantics
from models.pixel_perfect_depth.video import VideoDepthTransformer
from models.tool import ToolError

OFFICIAL = Path(__file__).parents[2] / "goldens" / "ppd" / "network.safetensors"


@pytest.fixture(scope="module")
def tensors() -> dict[str, torch.Tensor]:
    return {name.removeprefix("dit."): value for name, value in load_file(OFFICIAL).items()}


@pytest.mark.parametrize("prefix", ["", "dit.", "pipeline.dit."])
@pytest.mark.parametrize("wrapped", [True, False])
def test_all_prefixes(prefix: str, wrapped: bool, tensors: dict[str, torch.Tensor], tmp_path: Path) -> None:
    named = {prefix + name: value for name, value in tensors.items()}
    named[f"{prefix.removesuffix('dit.')}sem_encoder.pretrained.cls_token"] = torch.zeros(1)
    path = tmp_path / "ppd.pth"
    torch.save({"state_dict": named, "epoch": 3} if wrapped else named, path)
    network = read_official(path, "dinov2")
    assert network.config["semantic_encoder"] == "dinov2"
    wanted = read_official(OFFICIAL).state_dict()
    assert all(torch.equal(value, wanted[name]) for name, value in network.state_dict().items())
    with pytest.raises(ToolError, match=r"carries the encoder DINOv2.*not with 'moge2'"):
        read_official(path, "moge2")


def test_the_video_network(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = VideoDepthTransformer(
        hidden_size=16, num_layers=8, num_heads=2, mlp_ratio=2, semantic_dim=12, sample_size=64
    )
    theirs = {
        "dit_video."
        + name.replace("patch_embed", "x_embedder.proj")
        .replace("time_embed.linear_1", "t_embedder.mlp.0")
        .replace("time_embed.linear_2", "t_embedder.mlp.2")
        .replace("to_qkv", "qkv")
        .replace("norm_q", "q_norm")
        .replace("norm_k", "k_norm")
        .replace("to_out", "proj")
        .replace("inner", "fc1")
        .replace("outer", "fc2")
        .replace("modulation", "adaLN_modulation.1")
        .replace("fusion", "proj_fusion")
        .replace("norm_out", "final_layer.adaLN_modulation.1")
        .replace("proj_out", "final_layer.linear"): value
        for name, value in network.state_dict().items()
    }
    path = tmp_path / "ppvd.safetensors"
    save_file(theirs, path)
    read = VideoDepthTransformer.from_official(path)
    assert read.config["num_temporal_layers"] == 3 and read.config["sample_size"] == 64
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in read.state_dict().items())
    with pytest.raises(ValueError, match="holds the video network"):
        PixelPerfectTransformer2DModel.from_official(path)


def test_written_and_read_again(tmp_path: Path) -> None:
    sizes = tmp_path / "sizes.json"
    sizes.write_text(json.dumps({"hidden_size": 32, "num_layers": 4}), "utf-8")
    convert_official(OFFICIAL, tmp_path / "ppd", "dinov2", sizes)
    again = PixelPerfectTransformer2DModel.from_pretrained(tmp_path / "ppd", local_files_only=True)
    wanted = read_official(OFFICIAL).state_dict()
    assert all(torch.equal(value, wanted[name]) for name, value in again.state_dict().items())
    with pytest.raises(ToolError, match="is there already"):
        convert_official(OFFICIAL, tmp_path / "ppd", None)
    sizes.write_text(json.dumps({"hidden_size": 64}), "utf-8")
    with pytest.raises(ToolError, match=r"says hidden_size = 64, and .* has 32"):
        convert_official(OFFICIAL, tmp_path / "other", None, sizes)
    assert not (tmp_path / "other").exists()


class _Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (Path("/tmp/maulstick-evil"),))


def test_what_is_no_checkpoint(tensors: dict[str, torch.Tensor], tmp_path: Path) -> None:
    path = tmp_path / "ppd.pth"
    with pytest.raises(ToolError, match="there is no file"):
        read_official(path)
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(ToolError, match=r"could not be read as a checkpoint|holds more than tensors"):
        read_official(path)
    torch.save({"a": _Evil()}, path)
    with pytest.raises(ToolError, match="holds more than tensors"):
        read_official(path)
    assert not Path("/tmp/maulstick-evil").exists()
    torch.save({"a": 3}, path)
    with pytest.raises(ToolError, match="no checkpoint of named tensors"):
        read_official(path)
    torch.save({"a": torch.zeros(1)}, path)
    with pytest.raises(ToolError, match=r"has no x_embedder\.proj\.weight"):
        read_official(path)
    damaged = dict(tensors)
    del damaged["blocks.3.mlp.fc2.bias"]
    torch.save(damaged, path)
    with pytest.raises(ToolError, match=r"lacks 1 tensors of the network, blocks\.3\.mlp\.outer\.bias"):
        read_official(path)
    torch.save({**tensors, "blocks.1.attn.rope": torch.zeros(2)}, path)
    with pytest.raises(ToolError, match=r"blocks\.1\.attn\.rope, which is none of"):
        read_official(path)
    torch.save({**tensors, "blocks.1.attn.proj.bias": torch.zeros(2)}, path)
    with pytest.raises(ToolError, match=r"blocks\.1\.attn\.to_out\.bias is \(2,\), not \(32,\)"):
        read_official(path)
    torch.save({f"dit.{name}": value for name, value in tensors.items()} | {"x": torch.zeros(1)}, path)
    with pytest.raises(ToolError, match=r"1 tensors beside dit\.\*, x among them"):
        read_official(path)
    with pytest.raises(ToolError, match=r"semantics by 'clip': the official weights know dinov2, moge2"):
        read_official(OFFICIAL, "clip")


def test_the_command(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAULSTICK_HOME", str(tmp_path / "home"))
    assert app.run(["convert", "ppd", str(OFFICIAL), str(tmp_path / "ppd"), "--semantics", "dinov2"]) == 0
    assert "0.3 M parameters, 4 blocks of 32" in capfd.readouterr().out
    assert app.run(["convert", "ppd", str(tmp_path / "none.pth"), str(tmp_path / "two")]) == 2
    assert capfd.readouterr().err.count("\n") == 1


def dino(width: int) -> Dinov2Model:
    """A DINOv2 of one block, whose tokens are as wide as asked."""
    torch.manual_seed(0)
    heads = max(1, width // 64)
    return Dinov2Model(
        Dinov2Config(
            hidden_size=width, num_hidden_layers=1, num_attention_heads=heads, image_size=56, patch_size=14
        )
    ).eval()


def as_published(model: Dinov2Model) -> dict[str, torch.Tensor]:
    """Its weights by the names of Depth-Anything-V2's checkpoints."""
    state: dict[str, torch.Tensor] = {}
    for theirs, ours in _WHOLE.items():
        state[f"pretrained.{theirs}"] = model.state_dict()[ours]
    block, own = "pretrained.blocks.0", model.encoder.layer[0].state_dict()
    for theirs, ours in _LAYERS.items():
        for end in ("weight", "bias") if not theirs.startswith("ls") else ("",):
            name = f"{ours}.{end}".rstrip(".")
            state[f"{block}.{theirs}.{end}".rstrip(".")] = own[name]
    for end in ("weight", "bias"):
        parts = [own[f"attention.{letter}_proj.{end}"] for letter in "qkv"]
        state[f"{block}.attn.qkv.{end}"] = torch.cat(parts)
    return state


def test_a_checkpoint_and_its_encoder_make_a_pipeline(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAULSTICK_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MAULSTICK_THREADS", "1")
    width = read_official(OFFICIAL).config["semantic_dim"]
    model = dino(width)
    torch.save(as_published(model) | {"depth_head.x": torch.zeros(1)}, tmp_path / "da2.pth")
    model.save_pretrained(tmp_path / "dinov2")
    pixels = torch.rand(1, 3, 32, 48)
    wanted = encode_semantics(model, pixels, 2, 3)
    for number, encoder in enumerate(("da2.pth", "dinov2")):
        words = ["convert", "ppd", str(OFFICIAL), str(tmp_path / f"{number}"), "--encoder"]
        assert app.run([*words, str(tmp_path / encoder)]) == 0
        pipeline = load_pipeline(tmp_path / f"{number}")
        with torch.no_grad():
            torch.testing.assert_close(pipeline.encode(pixels), wanted)
    Image.new("RGB", (64, 48), (200, 30, 30)).save(tmp_path / "picture.png")
    words = ["depth", str(tmp_path / "picture.png"), "--model", str(tmp_path / "0"), "--side", "64"]
    assert app.run([*words, "--out", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "depth.png").is_file()
    dino(width + 64).save_pretrained(tmp_path / "wide")
    capfd.readouterr()
    for encoder, message in (
        (tmp_path / "wide", f"tokens of {width} channels and the encoder gives {width + 64}"),
        (tmp_path / "home", "holds no config.json: an encoder is one of dinov2"),
        (OFFICIAL, "is no checkpoint of Depth-Anything-V2"),
        (tmp_path / "nothing.pth", "there is no file"),
    ):
        assert app.run(["convert", "ppd", str(OFFICIAL), str(tmp_path / "x"), "--encoder", str(encoder)]) == 2
        error = capfd.readouterr().err
        assert message in error and error.count("\n") == 1
        assert not (tmp_path / "x").exists()

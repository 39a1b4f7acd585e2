"""The recipe on its tiny profile: it learns, resumes to the bit, and what it saves paints."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from models.backends import WEIGHTS
from models.embedded.perception import load_perceiver
from models.pixel_perfect_depth.folders import load_pipeline
from models.pixel_perfect_depth.profiles import DEPTH, Variant
from models.pixel_perfect_depth.semantics import encode_semantics
from models.pixel_perfect_depth.training import load_autoencoder, train
from models.pixel_perfect_depth.variants import (
    begin_from_regression,
    build_network,
    load_network,
    predict,
    regress,
)
from models.tool import ToolError

PARTS = {"critic": WEIGHTS / "critic", "autoencoder": WEIGHTS / "painter" / "vae"}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rendered once for all of them."""
    return tmp_path_factory.mktemp("pictures")


def losses(out: Path) -> list[float]:
    rows = [json.loads(line) for line in (out / "log.jsonl").read_text("utf-8").splitlines()]
    return [row.get("velocity", row.get("depth")) for row in rows]


@pytest.mark.parametrize("variant", ["full", "plain", "flat", "direct", "latent"])
def test_every_variant_is_trained_and_saved(variant: Variant, pictures: Path, tmp_path: Path) -> None:
    folder = train("tiny", tmp_path, variant=variant, pictures=pictures, steps=4, **PARTS)
    state = load_file(folder / "transformer" / "diffusion_pytorch_model.safetensors")
    assert all(value.dtype == torch.float16 and value.isfinite().all() for value in state.values())
    assert 0 < losses(tmp_path)[-1] < 5
    card = json.loads((folder / "card.json").read_text("utf-8"))
    assert card["vocabulary"] == "tiny" and card["view"] == pytest.approx(24.9, abs=0.1)
    near, far = (np.expm1(card["shift"] + card["scale"] * relative) for relative in (0, 1))
    assert 3 < near < 8 < far < 25, "the floor before the things, and the wall behind them"
    network, encoder = load_network(folder, variant, load_perceiver(PARTS["critic"]).network)
    vae = load_autoencoder(PARTS["autoencoder"]) if variant == "latent" else None
    shown = torch.rand(2, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    once, again = (
        predict(variant, network, encoder, vae, shown, torch.Generator().manual_seed(1)) for _ in range(2)
    )
    assert once.shape == (2, 1, 128, 128) and torch.equal(once, again) and once.isfinite().all()
    if variant != "latent":
        pipeline = load_pipeline(folder)
        assert (pipeline.semantic_encoder is None) == (variant == "plain")
        assert pipeline.regresses == (variant == "direct")
        noise = torch.randn(2, 1, 128, 128, generator=torch.Generator().manual_seed(1))
        torch.testing.assert_close(pipeline.denoise(shown, noise, pipeline.default_steps), once)


def test_it_learns(pictures: Path, tmp_path: Path) -> None:
    for steps in (4, 40):
        train("tiny", tmp_path, pictures=pictures, steps=steps, **PARTS)
    first, last = losses(tmp_path)
    assert last < 0.8 * first


def test_stopped_and_gone_on_is_the_same(pictures: Path, tmp_path: Path) -> None:
    whole = train("tiny", tmp_path / "whole", pictures=pictures, steps=6, **PARTS)
    train("tiny", tmp_path / "parts", pictures=pictures, steps=6, stop_at=3, **PARTS)
    assert not (tmp_path / "parts" / "depth").exists()
    parts = train("tiny", tmp_path / "parts", pictures=pictures, steps=6, **PARTS)
    name = "transformer/diffusion_pytorch_model.safetensors"
    one, other = load_file(whole / name), load_file(parts / name)
    assert all(torch.equal(value, other[key]) for key, value in one.items())


def test_foreign_pictures_are_not_taken(pictures: Path, tmp_path: Path) -> None:
    train("tiny", tmp_path / "a", pictures=pictures, steps=1, **PARTS)
    with pytest.raises(ValueError, match="holds the pictures of another world"):
        train("tiny", tmp_path / "b", pictures=pictures, steps=1, vocabulary="solids", **PARTS)
    with pytest.raises(ValueError, match="name its folder"):
        train("tiny", tmp_path / "c", critic=WEIGHTS / "critic", variant="latent", pictures=pictures, steps=1)


def test_diffusion_begins_from_regression(pictures: Path, tmp_path: Path) -> None:
    direct = train("tiny", tmp_path / "direct", variant="direct", pictures=pictures, steps=8, **PARTS)
    critic = load_perceiver(PARTS["critic"]).network
    network, encoder = load_network(direct, "direct", critic)
    assert encoder is not None
    made = build_network(DEPTH["tiny"], "full", network.config["semantic_dim"])
    begin_from_regression(made, network)
    shown, noise = torch.rand(2, 3, 128, 128), torch.randn(2, 1, 128, 128)
    tokens = encode_semantics(encoder, shown, 16, 16)
    with torch.no_grad():
        velocity = made(torch.cat([noise, shown - 0.5], 1), 1000, tokens).sample
        regressed = regress(network, shown, tokens)
    torch.testing.assert_close(velocity, -regressed)  # x0 for all noise, the other way
    train("tiny", tmp_path / "full", pictures=pictures, steps=2, start=direct, **PARTS)
    on = train("tiny", tmp_path / "on", variant="direct", pictures=pictures, steps=1, start=direct, **PARTS)
    assert not json.loads((on / "semantic_encoder" / "config.json").read_text("utf-8"))["_name_or_path"]
    again, same_encoder = load_network(on, "direct", critic)
    with torch.no_grad():
        moved = regress(again, shown, tokens) - regressed
    assert 0 < moved.abs().mean() < regressed.abs().mean() / 2
    assert same_encoder is not None
    torch.testing.assert_close(encode_semantics(same_encoder, shown, 16, 16), tokens)
    with pytest.raises(ToolError, match="other sizes"):
        train("tiny", tmp_path / "plain", variant="plain", pictures=pictures, steps=2, start=direct, **PARTS)
    plain = train("tiny", tmp_path / "blind", variant="plain", pictures=pictures, steps=1, **PARTS)
    with pytest.raises(ToolError, match="without semantics"):
        train("tiny", tmp_path / "no", variant="direct", pictures=pictures, steps=1, start=plain, **PARTS)

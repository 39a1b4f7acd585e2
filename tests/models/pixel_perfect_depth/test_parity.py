"""The method against what the official code gave on small inputs (tests/goldens/ppd)."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from models.pixel_perfect_depth import alignment, metrics
from models.pixel_perfect_depth.blocks import sinusoid
from models.pixel_perfect_depth.convert import read_official
from models.pixel_perfect_depth.folders import new_scheduler
from models.pixel_perfect_depth.geometry import Intrinsics, unproject
from models.pixel_perfect_depth.losses import training_loss
from models.pixel_perfect_depth.modeling import PixelPerfectTransformer2DModel
from models.pixel_perfect_depth.normalisation import normalise
from models.pixel_perfect_depth.resizing import resize_picture, size_by_area
from models.pixel_perfect_depth.rotary import rotate, rotation
from models.pixel_perfect_depth.schedule import (
    add_noise,
    clean_of,
    noise_of,
    sigmas,
    steps_of,
    timestep_grid,
)
from models.pixel_perfect_depth.semantics import (
    dino_pixels,
    encode_semantics,
    interpolate_positions,
    read_depth_anything,
)
from models.pixel_perfect_depth.stitching import stitch

GOLDENS = Path(__file__).parents[2] / "goldens" / "ppd"
TOLD: dict[str, Any] = json.loads((GOLDENS / "goldens.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def network() -> PixelPerfectTransformer2DModel:
    return PixelPerfectTransformer2DModel.from_official(GOLDENS / "network.safetensors")


@pytest.fixture(scope="module")
def painted() -> dict[str, torch.Tensor]:
    return load_file(GOLDENS / "sampling.safetensors")


@pytest.fixture(scope="module")
def arrays() -> Any:
    return np.load(GOLDENS / "align.npz")


@torch.no_grad()
def test_velocities(network: PixelPerfectTransformer2DModel, painted: dict[str, torch.Tensor]) -> None:
    inputs = torch.cat([painted["noise"], painted["image"] - 0.5], 1)
    sample = network(inputs, torch.tensor([1000], dtype=torch.int32), painted["semantics"]).sample
    torch.testing.assert_close(sample, painted["pred_step0_of4"], atol=2e-5, rtol=1e-4)
    scalar = network(inputs, 1000, 7 * painted["semantics"], return_dict=False)[0]
    torch.testing.assert_close(scalar, sample, atol=2e-5, rtol=1e-4)  # only directions of tokens count


@pytest.mark.parametrize("steps", [4, 10])
@torch.no_grad()
def test_samples(
    network: PixelPerfectTransformer2DModel, painted: dict[str, torch.Tensor], steps: int
) -> None:
    given = network.prepare(painted["image"] - 0.5, painted["semantics"])
    grid, latent = timestep_grid(steps), painted["noise"]
    scheduler, other = new_scheduler(), painted["noise"]
    scheduler.set_timesteps(sigmas=sigmas(steps))
    for (now, then), modulation, timestep in zip(
        steps_of(grid), network.modulate(grid), scheduler.timesteps, strict=True
    ):
        velocity = network.denoise(latent, given, modulation)
        latent = latent + (then - now) / 1000 * velocity
        other = scheduler.step(velocity, timestep, other, return_dict=False)[0]
    torch.testing.assert_close(latent + 0.5, painted[f"depth_steps{steps}"], atol=1e-4, rtol=0)
    torch.testing.assert_close(other, latent, atol=1e-4, rtol=0)


def test_schedule() -> None:
    for steps, grid in TOLD["timesteps"].items():
        assert timestep_grid(int(steps)) == grid
    golden = {
        name[9:]: value
        for name, value in load_file(GOLDENS / "rope_schedule.safetensors").items()
        if name.startswith("schedule.")
    }
    noisy = add_noise(golden["x0"], golden["xT"], golden["t"])
    torch.testing.assert_close(noisy, golden["x_t"], atol=2e-6, rtol=0)
    clean = clean_of(golden["x_t"], golden["v"], golden["t"])
    torch.testing.assert_close(clean, golden["pred_x0"], atol=2e-6, rtol=0)
    noise = noise_of(golden["x_t"], golden["v"], golden["t"])
    torch.testing.assert_close(noise, golden["pred_xT"], atol=2e-6, rtol=0)


def test_positions_and_times() -> None:
    golden = load_file(GOLDENS / "rope_schedule.safetensors")
    turned = rotate(golden["rope.q"], rotation(3, 5, 64))
    torch.testing.assert_close(turned, golden["rope.q_rot"], atol=2e-6, rtol=0)
    torch.testing.assert_close(sinusoid(golden["rope.temb_t"]), golden["rope.temb"], atol=2e-6, rtol=0)


def test_targets() -> None:
    golden = load_file(GOLDENS / "loss.safetensors")
    latent, mask = normalise(golden["depth"], golden["mask"]), golden["mask"].bool()
    torch.testing.assert_close(latent[mask], golden["latent"][mask], atol=1e-6, rtol=0)
    assert bool((latent[2][mask[2]] == -0.5).all())  # a constant depth


@pytest.mark.parametrize("stage", ["pretrain", "finetune"])
def test_losses_and_gradients(stage: str) -> None:
    network = read_official(GOLDENS / "network.safetensors")
    golden, told = load_file(GOLDENS / "loss.safetensors"), TOLD["loss"]
    at, clean = golden["timesteps"], golden["latent"]
    noisy = add_noise(clean, golden["noise"], at)
    velocity = network(torch.cat([noisy, golden["image"] - 0.5], 1), at, golden["semantics"]).sample
    torch.testing.assert_close(clean_of(noisy, velocity, at), golden["pred_x0"], atol=2e-5, rtol=1e-4)
    losses = training_loss(
        velocity, noisy, clean, golden["noise"], at, golden["mask"], gradients=stage == "finetune"
    )
    total = torch.stack(list(losses.values())).sum()
    total.backward()
    assert float(total.detach()) == pytest.approx(told[stage], rel=1e-5)
    names = {
        "final_layer.linear.weight": "proj_out.weight",
        "proj_fusion.0.weight": "fusion.0.weight",
        "blocks.0.attn.qkv.weight": "blocks.0.attn.to_qkv.weight",
        "x_embedder.proj.weight": "patch_embed.weight",
    }
    parameters = dict(network.named_parameters())
    for theirs, norm in told[f"{stage}_gradnorm"].items():
        assert float(parameters[names[theirs]].grad.norm()) == pytest.approx(norm, rel=1e-3)


@torch.no_grad()
def test_semantics_of_depth_anything() -> None:
    golden = load_file(GOLDENS / "dinov2.safetensors")
    encoder = read_depth_anything(golden, heads=2)
    assert torch.equal(dino_pixels(golden["io.image"], 4, 6), golden["io.preprocessed"])
    positions = interpolate_positions(encoder.embeddings.position_embeddings, 4, 6)
    torch.testing.assert_close(positions, golden["io.pos_embed_interp"], atol=1e-5, rtol=0)
    tokens = encode_semantics(encoder, golden["io.image"], 4, 6)
    torch.testing.assert_close(tokens, golden["io.semantics"], atol=1e-5, rtol=0)


def test_a_clean_depth_is_aligned_as_theirs(arrays: Any) -> None:
    mask = arrays["mask"] > 0
    for method in alignment.METHODS:
        fit = alignment.align(arrays["pred_clean"], arrays["gt"], mask, method)
        ours, theirs = fit.metric(arrays["pred_clean"])[mask], arrays["metric_clean"][mask]
        np.testing.assert_allclose(ours, theirs, rtol=1e-4)


def test_metrics(arrays: Any) -> None:
    names = {"d0.5": "delta05", "d1": "delta1", "d2": "delta2", "d3": "delta3", "abs_rel": "abs_rel"}
    for case, told in TOLD["metrics"].items():
        errors = metrics.depth_errors(arrays[f"metric_{case}"], arrays["gt"], arrays["mask"] > 0)
        for theirs, ours in names.items():
            assert getattr(errors, ours) == pytest.approx(told[theirs], rel=1e-5)


def test_points(arrays: Any) -> None:
    k = arrays["pcd_K"]
    camera = Intrinsics(k[0, 0], k[1, 1], k[0, 2], k[1, 2])
    points = unproject(arrays["gt"], camera, pixel_centres=False)[arrays["mask"] > 0]
    np.testing.assert_allclose(points, arrays["pcd_points"], atol=1e-5)


def test_windows_become_one_sequence(arrays: Any) -> None:
    found = stitch([arrays[f"vda_window{number}"][:, 0] for number in range(3)])
    np.testing.assert_allclose(found, arrays["vda_aligned"], atol=1e-5)


def test_sizes() -> None:
    for told, size in TOLD["resize_keep_aspect"].items():
        height, width = map(int, told.split("x"))
        assert list(size_by_area(height, width)) == size


def test_a_picture_of_the_right_size_is_left_alone() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 48, 3)).astype(np.uint8)
    resized = resize_picture(Image.fromarray(pixels), 32, 48)
    assert np.array_equal((resized * 255).round().permute(1, 2, 0).numpy().astype(np.uint8), pixels)

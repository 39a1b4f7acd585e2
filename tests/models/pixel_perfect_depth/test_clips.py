"""Videos of any length: windows, one noise, one scale, and neither crash of the official code."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from models.pixel_perfect_depth.clips import estimate_clip
from models.pixel_perfect_depth.schedule import steps_of, timestep_grid
from models.pixel_perfect_depth.stitching import stitch, windows
from models.pixel_perfect_depth.video import VideoDepthTransformer

SIDE = 32


@pytest.fixture(scope="module")
def network() -> VideoDepthTransformer:
    torch.manual_seed(0)
    made = VideoDepthTransformer(
        hidden_size=16, num_layers=8, num_heads=2, mlp_ratio=2, semantic_dim=12, patch_size=8,
        sample_size=SIDE, num_reference_layers=2, num_temporal_layers=1,
    )  # fmt: skip
    with torch.no_grad():
        for value in made.parameters():
            value.normal_(0, 0.1)
    return made.eval()


def encode(pictures: Tensor, rows: int, columns: int) -> Tensor:
    """Tokens from colours alone: mean and spread of each cell, and where it is."""
    cells = torch.nn.functional.adaptive_avg_pool2d(pictures, (rows, columns)).flatten(2).transpose(1, 2)
    return torch.cat([cells, cells**2, 1 - cells, cells.flip(-1)], -1)


def film(count: int, size: tuple[int, int] = (40, 30)) -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [
        Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)) for _ in range(count)
    ]


@pytest.mark.parametrize("count", [1, 2, 3, 16, 18])
def test_every_frame_gets_a_depth(network: VideoDepthTransformer, count: int) -> None:
    told: list[tuple[int, int]] = []
    depth = estimate_clip(
        network,
        encode,
        film(count),
        steps=1,
        generator=torch.Generator().manual_seed(0),
        match_input_resolution=True,
        on_window=lambda *at: told.append(at),
    )
    assert depth.shape == (count, 30, 40) and depth.dtype == np.float32 and np.isfinite(depth).all()
    assert told == [(number + 1, len(windows(count))) for number in range(len(windows(count)))]


@torch.no_grad()
def test_windows_share_their_noise_and_are_stitched(network: VideoDepthTransformer) -> None:
    frames = film(20, (SIDE, SIDE))
    found = estimate_clip(network, encode, frames, steps=2, generator=torch.Generator().manual_seed(3))
    pixels = torch.stack([torch.from_numpy(np.array(frame)).permute(2, 0, 1) / 255 for frame in frames])
    noise = torch.randn(16, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(3))
    painted: list[np.ndarray] = []
    for window in windows(20):
        latent = noise
        for at, after in steps_of(timestep_grid(2)):
            inputs = torch.cat([latent, pixels[window] - 0.5], 1)
            velocity = network(inputs, at, encode(pixels[window], 2, 2)).sample
            latent = latent + (after - at) / 1000 * velocity
        painted.append((latent[:, 0] + 0.5).numpy())
    np.testing.assert_allclose(found, stitch(painted, 20), atol=1e-5)


def test_colours_may_come_the_other_way_round(network: VideoDepthTransformer) -> None:
    frames = film(3, (SIDE, SIDE))
    turned = [Image.fromarray(np.asarray(frame)[:, :, ::-1].copy()) for frame in frames]

    def blind(pictures: Tensor, rows: int, columns: int) -> Tensor:
        return torch.ones(len(pictures), rows * columns, 12)

    one, other = (
        estimate_clip(network, blind, shown, channels=channels, generator=torch.Generator().manual_seed(0))
        for shown, channels in ((frames, "bgr"), (turned, "rgb"))
    )
    np.testing.assert_allclose(one, other, atol=1e-6)


def test_what_does_not_suit(network: VideoDepthTransformer) -> None:
    with pytest.raises(ValueError, match="without frames"):
        estimate_clip(network, encode, [])
    with pytest.raises(ValueError, match="one size, not"):
        estimate_clip(network, encode, [*film(1), *film(1, (20, 20))])
    with pytest.raises(ValueError, match="tokens of 12 channels, not 6"):
        estimate_clip(network, lambda *given: encode(*given)[..., :6], film(1))

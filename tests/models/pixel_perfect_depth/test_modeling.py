"""The networks: one path, free sizes, half precision, no hidden state."""

import pytest
import torch
from torch import Tensor

from models.pixel_perfect_depth.blocks import unpatchify, unshuffle
from models.pixel_perfect_depth.rotary import rotate, rotation, sine_positions
from models.pixel_perfect_depth.video import VideoDepthTransformer
from tests.models.pixel_perfect_depth.conftest import tiny_network


def inputs(side: int = 32, token: int = 8, width: int = 16) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    tokens = (side // token) ** 2
    return (
        torch.randn(2, 4, side, side, generator=generator),
        torch.randn(2, tokens, width, generator=generator),
    )


@torch.no_grad()
def test_what_is_prepared_once_changes_nothing() -> None:
    network, (x, tokens) = tiny_network(), inputs()
    given = network.prepare(x[:, 1:], tokens)
    for timestep, modulation in zip((1000, 250), network.modulate([1000, 250]), strict=True):
        whole = network(x, timestep, tokens).sample
        torch.testing.assert_close(network.denoise(x[:, :1], given, modulation), whole)
        each = network(x, torch.tensor([timestep, timestep]), tokens).sample
        torch.testing.assert_close(each, whole)


@torch.no_grad()
def test_pictures_in_one_batch_do_not_see_each_other() -> None:
    network, (x, tokens) = tiny_network(), inputs()
    both = network(x, 500, tokens).sample
    torch.testing.assert_close(network(x[1:], 500, tokens[1:]).sample, both[1:])
    times = network(x, torch.tensor([500, 100]), tokens).sample
    torch.testing.assert_close(times[:1], both[:1])
    assert not torch.allclose(times[1], both[1])


@torch.no_grad()
def test_half_precision_is_near() -> None:
    network, (x, tokens) = tiny_network(), inputs()
    wanted = network(x, 500, tokens).sample
    half = network.to(torch.bfloat16)
    found = half(x.bfloat16(), 500, tokens.bfloat16()).sample
    assert found.dtype == torch.bfloat16
    assert (found.float() - wanted).abs().mean() < 0.05 * wanted.abs().mean()


@torch.no_grad()
@pytest.mark.parametrize("cascade", [True, False])
def test_without_cascade_or_semantics(cascade: bool) -> None:
    x, _ = inputs()
    plain = tiny_network(cascade=cascade, semantic_dim=0)
    assert plain.token_size == (8 if cascade else 4)
    assert plain(x, 500).sample.shape == (2, 1, 32, 32)
    seeing = tiny_network(cascade=cascade)
    tokens = torch.randn(2, 16, 16, generator=torch.Generator().manual_seed(2))
    assert seeing(x, 500, tokens).sample.shape == (2, 1, 32, 32)
    assert not torch.allclose(seeing(x, 500, tokens).sample, seeing(x, 500, tokens.roll(1, 1)).sample)


def test_gradient_checkpointing_changes_no_gradient() -> None:
    network, (x, tokens) = tiny_network().train(), inputs()
    network(x, 500, tokens).sample.square().mean().backward()
    wanted = {name: value.grad.clone() for name, value in network.named_parameters()}
    network.zero_grad()
    network.enable_gradient_checkpointing()
    network(x, 500, tokens).sample.square().mean().backward()
    for name, value in network.named_parameters():
        torch.testing.assert_close(value.grad, wanted[name])


def test_what_does_not_fit_is_told() -> None:
    network, (x, tokens) = tiny_network(), inputs()
    with pytest.raises(ValueError, match="multiples of 8 pixels, not 30x32"):
        network(x[..., :30], 500, tokens)
    with pytest.raises(ValueError, match="made for semantic tokens of 16 channels, not 12"):
        network(x, 500, tokens[..., :12])
    with pytest.raises(ValueError, match="takes semantic tokens of 16 channels; none were given"):
        network(x, 500)
    with pytest.raises(ValueError, match="9 semantic tokens for a grid of 4x4"):
        network(x, 500, tokens[:, :9])
    with pytest.raises(ValueError, match="30 with 2 heads"):
        tiny_network(hidden_size=30)
    with pytest.raises(ValueError, match="2 of 2 blocks before the fusion"):
        tiny_network(num_coarse_layers=2)


def test_tokens_become_finer_where_they_are() -> None:
    rows, columns, width = 2, 3, 5
    coarse = torch.arange(rows * columns * 4 * width).view(1, rows * columns, 4 * width)
    fine = unshuffle(coarse, rows, columns).view(2 * rows, 2 * columns, width)
    token = coarse.view(rows, columns, 2, 2, width)
    for y in range(2 * rows):
        for x in range(2 * columns):
            assert torch.equal(fine[y, x], token[y // 2, x // 2, y % 2, x % 2])
    pixels = unpatchify(torch.arange(6 * 16).view(1, 6, 16), 2, 3, 4)
    assert pixels[0, 0, 5, 9] == 5 * 16 + 1 * 4 + 1


def test_positions() -> None:
    x = torch.randn(1, 1, 6, 8, generator=torch.Generator().manual_seed(0))
    turned = rotate(x, rotation(2, 3, 8))
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))
    torch.testing.assert_close(turned[..., 0, :], x[..., 0, :])
    assert rotate(x.bfloat16(), rotation(2, 3, 8)).dtype == torch.bfloat16
    with pytest.raises(ValueError, match="multiple of 4, not 6"):
        rotation(2, 2, 6)
    positions = sine_positions(2, 3, 8)[0]
    assert positions.shape == (6, 8)
    torch.testing.assert_close(positions[0], torch.tensor([0, 0, 1, 1, 0, 0, 1, 1.0]))
    assert torch.equal(positions[1, 4:], positions[0, 4:])  # the next column, the same row


@torch.no_grad()
def test_frames_of_a_clip_see_the_references() -> None:
    torch.manual_seed(0)
    network = VideoDepthTransformer(
        hidden_size=16, num_layers=8, num_heads=2, mlp_ratio=2, semantic_dim=12, sample_size=64,
        num_reference_layers=2, num_temporal_layers=1,
    )  # fmt: skip
    for value in network.parameters():
        value.normal_(0, 0.1)
    frames, tokens = torch.randn(5, 4, 64, 64), torch.randn(5, 16, 12)
    before = network(frames, 750, tokens).sample
    assert before.shape == (5, 1, 64, 64)
    frames[0] += 1
    after = network(frames, 750, tokens).sample
    assert not torch.allclose(before[4], after[4])
    with pytest.raises(ValueError, match="3 or more frames of 64x64"):
        network(frames[:2], 750, tokens[:2])
    with pytest.raises(ValueError, match="do not divide"):
        VideoDepthTransformer(sample_size=60, patch_size=8)

"""A wider autoencoder begins as the narrower one that it starts from."""

import pytest
import torch

from models.embedded.painter import build_autoencoder, decode, encode
from models.embedded.training.widening import NoMultiple, widen


@pytest.mark.parametrize("times", [1, 2, 3])
def test_it_does_what_the_narrow_one_does(times: int) -> None:
    torch.manual_seed(0)
    narrow = build_autoencoder((4, 8, 8, 12)).eval()
    wide = build_autoencoder(tuple(times * width for width in (4, 8, 8, 12))).eval()
    widen(wide, narrow)
    x, z = torch.randn(2, 3, 32, 32), torch.randn(2, 16, 4, 4)
    with torch.inference_mode():
        assert torch.allclose(encode(wide, x), encode(narrow, x), atol=1e-4)
        assert torch.allclose(decode(wide, z), decode(narrow, z), atol=1e-4)


def test_copies_of_a_channel_come_apart() -> None:
    torch.manual_seed(0)
    narrow, wide = build_autoencoder((4, 4, 4, 4)), build_autoencoder((8, 8, 8, 8))
    widen(wide, narrow)
    wide.decoder(torch.randn(1, 16, 4, 4)).square().mean().backward()
    slope = wide.decoder.conv_in.weight.grad
    assert slope is not None and not torch.allclose(slope[0::2], slope[1::2], rtol=1e-2)


@pytest.mark.parametrize("widths", [(6, 8, 8, 8), (8, 8, 8, 4), (2, 2, 2, 2)])
def test_other_widths_are_refused_with_the_way_out(widths: tuple[int, ...]) -> None:
    with pytest.raises(NoMultiple, match="whole multiple"):
        widen(build_autoencoder(widths), build_autoencoder((4, 4, 4, 4)))

"""Wider autoencoders that do at first what a narrower one has learnt (Net2Net's wider student, arXiv
1511.05641, section 2.2).

Every channel is there several times, and what read it reads each of the copies with a share of its weight.
Shares are random, so that copies come apart as soon as they learn. A norm over all channels sees the mean and
the variance that it saw.
"""

from collections.abc import Mapping

import torch
from diffusers import AutoencoderKL
from torch import Tensor

UNEQUAL = 0.25
"""How far from equal the shares are."""


class NoMultiple(ValueError):
    """Widths that are no common multiple of those that were learnt."""


def widen(wide: AutoencoderKL, narrow: AutoencoderKL, seed: int = 0) -> None:
    """Give `wide` the function of `narrow`, whose widths times some whole number it has.

    Raises:
        NoMultiple: it has others.
    """
    ours, theirs = (tuple(each.config["block_out_channels"]) for each in (wide, narrow))
    times = ours[0] // theirs[0]
    if times < 1 or tuple(times * width for width in theirs) != ours:
        raise NoMultiple(
            f"an autoencoder of widths {ours} cannot begin as one of {theirs}: "
            "take a whole multiple of these, or begin without --start"
        )
    random = torch.Generator().manual_seed(seed)
    learnt: Mapping[str, Tensor] = narrow.state_dict()
    sizes = {name: value.shape for name, value in wide.state_dict().items()}
    wide.load_state_dict({name: _widened(learnt[name], size, times, random) for name, size in sizes.items()})


def _widened(learnt: Tensor, size: torch.Size, times: int, random: torch.Generator) -> Tensor:
    if learnt.shape[0] != size[0]:
        learnt = learnt.repeat_interleave(times, 0)
    if learnt.ndim < 4 or learnt.shape[1] == size[1]:
        return learnt
    uneven = torch.randn(*learnt.shape[:2], times, 1, 1, generator=random) * UNEQUAL
    shares = 1 / times + uneven - uneven.mean(2, keepdim=True)
    return (learnt[:, :, None] * shares).flatten(1, 2)

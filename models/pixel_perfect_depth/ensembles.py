"""Several relative depths of one picture brought to one scale, and their mean.

Each sample is fitted to the first by a plain line: relative depths have no scale of their own.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from models.pixel_perfect_depth.alignment import scale_and_shift


def average(samples: Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
    """The mean of depths (N, 1, H, W) fitted to the first, and their standard deviation; one has none."""
    if len(samples) == 1:
        return samples[0], None
    stacked = torch.stack([samples[0], *(fitted(sample, samples[0]) for sample in samples[1:])])
    return stacked.mean(0), stacked.std(0, correction=0)


def fitted(depth: Tensor, target: Tensor) -> Tensor:
    """Each depth (N, 1, H, W) by the scale and shift that bring it nearest to its target."""
    rows: list[Tensor] = []
    for one, other in zip(depth, target, strict=True):
        scale, shift = scale_and_shift(one.float().cpu().numpy(), other.float().cpu().numpy())
        # A falling line would turn the picture inside out; a flat depth has no line at all.
        rows.append(scale * one + shift if scale > 0 else one + (other.mean() - one.mean()))
    return torch.stack(rows)

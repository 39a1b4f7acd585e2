"""Large pictures in overlapping tiles, and one depth of their depths. Knows no network."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

OVERLAP = 0.25
"""The least share of a tile that it has in common with the next one."""


@dataclass(frozen=True, slots=True)
class Tile:
    """A part of a picture, in pixels."""

    top: int
    left: int
    height: int
    width: int

    def of(self, picture: Tensor) -> Tensor:
        """This part of (..., H, W)."""
        return picture[..., self.top : self.top + self.height, self.left : self.left + self.width]


def tiles(height: int, width: int, size: int, multiple: int) -> list[Tile]:
    """Tiles of at most `size` pixels a side, multiples of `multiple`, that cover a picture of such sides.

    Raises:
        ValueError: `size` is smaller than two multiples.
    """
    side = size // multiple * multiple
    if side < 2 * multiple:
        raise ValueError(f"tiles of {size} pixels are too small: {2 * multiple} at least")
    return [
        Tile(top, left, min(side, height), min(side, width))
        for top in _starts(height, side, multiple)
        for left in _starts(width, side, multiple)
    ]


def _starts(length: int, side: int, multiple: int) -> list[int]:
    if length <= side:
        return [0]
    count = -(-(length - side) // max(multiple, int(side * (1 - OVERLAP)) // multiple * multiple)) + 1
    last = length - side
    return [round(last * number / (count - 1) / multiple) * multiple for number in range(count - 1)] + [last]


def blend(depths: Sequence[Tensor], cut: Sequence[Tile], height: int, width: int) -> Tensor:
    """One depth (N, 1, height, width) of the tiles', each weighing less towards its borders.

    Tiles were fitted to one whole before; what is left of a difference is spread over the overlap.
    """
    first = depths[0]
    total = first.new_zeros(*first.shape[:2], height, width)
    weights = torch.zeros_like(total)
    for depth, tile in zip(depths, cut, strict=True):
        weight = _ramp(tile.height, first)[:, None] * _ramp(tile.width, first)[None]
        tile.of(total).add_(depth * weight)
        tile.of(weights).add_(weight)
    return total / weights


def _ramp(length: int, like: Tensor) -> Tensor:
    """Rises from the border on over the overlap, then stays at one."""
    places = torch.arange(length, device=like.device, dtype=like.dtype) + 0.5
    return (torch.minimum(places, length - places) / (length * OVERLAP)).clamp(max=1)

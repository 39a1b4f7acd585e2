"""Where a token is: rotary angles by row and column, and the fixed sines that the video network adds instead.

Tables are float32 whatever the network computes in: angles rounded to bf16 are other angles.
"""

import torch
from torch import Tensor

Rotation = tuple[Tensor, Tensor]
"""Cosines, and sines with the sign that a channel's partner comes with: each (tokens, head dim), float32."""


def rotation(
    rows: int, columns: int, head_dim: int, theta: float = 100.0, device: torch.device | str = "cpu"
) -> Rotation:
    """The rotary table of a grid, row-major: half of the channels turn with the row, half with the column.

    Within a half of m channels, pair j turns by position * theta^(-2j/m); positions are plain indices of this
    grid, from 0 (official code, `rope.py`; the paper says nothing of it).

    Raises:
        ValueError: the head's width is no multiple of 4.
    """
    if head_dim % 4:
        raise ValueError(f"two-dimensional rotary positions want heads of a multiple of 4, not {head_dim}")
    half = head_dim // 2
    rates = theta ** (-torch.arange(0, half, 2, dtype=torch.float32, device=device) / half)
    by_row = _angles(rows, rates).repeat_interleave(columns, 0)
    by_column = _angles(columns, rates).repeat(rows, 1)
    angles = torch.cat([by_row, by_column], 1)
    signs = torch.tensor([-1.0, 1.0, -1.0, 1.0], device=device).repeat_interleave(half // 2)
    return angles.cos(), angles.sin() * signs


def _angles(count: int, rates: Tensor) -> Tensor:
    angles = torch.arange(count, dtype=torch.float32, device=rates.device)[:, None] * rates
    return torch.cat([angles, angles], 1)


def rotate(x: Tensor, table: Rotation) -> Tensor:
    """Turn queries or keys (N, heads, tokens, head dim), in float32; the result has x's type."""
    cos, sin = table
    wide = x.float()
    first, second, third, fourth = wide.chunk(4, -1)
    partners = torch.cat([second, first, fourth, third], -1).mul_(sin)
    return (wide * cos).add_(partners).to(x.dtype)


def sine_positions(rows: int, columns: int, width: int) -> Tensor:
    """Fixed positions (1, rows * columns, width): sines, then cosines of the column, then of the row.

    Base 10000, as masked autoencoders have it (arXiv 2111.06377); computed in float64.

    Raises:
        ValueError: `width` is no multiple of 4.
    """
    if width % 4:
        raise ValueError(f"two-dimensional sine positions want a width of a multiple of 4, not {width}")
    quarter = width // 4
    rates = 10000.0 ** (-torch.arange(quarter, dtype=torch.float64) / quarter)
    row = torch.arange(rows, dtype=torch.float64).repeat_interleave(columns)[:, None] * rates
    column = torch.arange(columns, dtype=torch.float64).repeat(rows)[:, None] * rates
    return torch.cat([column.sin(), column.cos(), row.sin(), row.cos()], 1)[None].float()

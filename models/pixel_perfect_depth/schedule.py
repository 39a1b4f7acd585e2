"""Flow matching on depth: x_t = (1 - t/T) x0 + (t/T) xT, velocity xT - x0, T = 1000 (paper, section 3.1)."""

from collections.abc import Sequence

import torch
from torch import Tensor

TIMESTEPS = 1000


def timestep_grid(steps: int) -> list[int]:
    """The official grid: 1000 - i * 1001 / steps in float32, rounded half to even; after it comes 0.

    Float32 since a half, as the 10th of 20 steps is, falls to one side or the other by it.

    Raises:
        ValueError: fewer than one step or more than 1000.
    """
    if not 1 <= steps <= TIMESTEPS:
        raise ValueError(f"depth is painted in 1 to {TIMESTEPS} steps, not {steps}")
    grid = torch.arange(TIMESTEPS, -1, -(TIMESTEPS + 1) / steps, dtype=torch.float32)[:steps]
    return [int(timestep) for timestep in grid.round()]


def sigmas(steps: int) -> list[float]:
    """The grid as noise shares, for `FlowMatchEulerDiscreteScheduler(shift=1).set_timesteps(sigmas=...)`."""
    return [timestep / TIMESTEPS for timestep in timestep_grid(steps)]


def add_noise(clean: Tensor, noise: Tensor, timestep: Tensor) -> Tensor:
    """x_t (N, ...) of clean depths and noise of that shape at timesteps (N,)."""
    share = _share(timestep, clean)
    return (1 - share) * clean + share * noise


def clean_of(noisy: Tensor, velocity: Tensor, timestep: Tensor) -> Tensor:
    """The clean depth that a velocity at x_t means: x_t - t/T v."""
    return noisy - _share(timestep, noisy) * velocity


def noise_of(noisy: Tensor, velocity: Tensor, timestep: Tensor) -> Tensor:
    """The noise that a velocity at x_t means: x_t + (1 - t/T) v."""
    return noisy + (1 - _share(timestep, noisy)) * velocity


def draw_timesteps(count: int, generator: torch.Generator | None = None) -> Tensor:
    """Training timesteps (count,): 1000 sigmoid(N(0, 1)), rounded."""
    return (TIMESTEPS * torch.randn(count, generator=generator).sigmoid()).round().long()


def _share(timestep: Tensor, like: Tensor) -> Tensor:
    return (timestep.to(like.device).float() / TIMESTEPS).view(-1, *[1] * (like.ndim - 1))


def steps_of(grid: Sequence[int]) -> list[tuple[int, int]]:
    """(timestep, the one after it) for each step of a grid."""
    return list(zip(grid, [*grid[1:], 0], strict=True))

"""The official procedure of OBS-Diff, done the straightforward way, as what ours is measured against.

As the published code does it (docs/obs_diff.md): packages of as many units each, a Hessian for every layer,
summed up whole with each call, for each package the whole pipeline over all prompts with pictures decoded;
single weights are chosen by sorting them and taken out by SparseGPT's loop, and in structured pruning the
inverse is made anew in every round. No layer's error is measured. Masks and weights come out as ours do by
the rule "official".
"""

import math
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast
from unittest.mock import patch

import torch

from models.obs_diff import Order, find_units
from models.obs_diff.columns import OnlineColumns
from models.obs_diff.families import Unit
from models.obs_diff.hessian import LayerHessian
from models.obs_diff.hooks import Hooks
from models.obs_diff.inverse import Inverse, invert
from models.obs_diff.packages import cut
from models.obs_diff.pruning import count_parts, prune_unit
from models.obs_diff.replay import StepCounter
from models.obs_diff.schedules import timestep_weights
from models.obs_diff.unstructured import PrunedWeights
from models.painting import _pixels  # pyright: ignore[reportPrivateUsage]
from models.prune_backend import PipelineCalibration


def prune_officially(denoiser: Any, order: Order, calibration: PipelineCalibration) -> int:
    """Prune in place; gives the bytes of the largest package's Hessians."""
    units = [_alone(unit) for unit in find_units(denoiser, structured=order.structured)]
    counts = count_parts(denoiser, units, order)
    largest = 0
    for package in cut(denoiser, units, order):
        with patch("models.obs_diff.hooks.LayerHessian", RunningHessian):
            hooks = Hooks(denoiser, package, getattr(torch, order.precision))
        largest = max(largest, sum(hessian.matrix_bytes for hessian in hooks.hessians.values()))
        _run_pipeline(denoiser, order, calibration, hooks)
        with as_published():
            for unit in package:
                prune_unit(denoiser, unit, hooks.hessians, order, counts).apply(denoiser)
    return largest


def _alone(unit: Unit) -> Unit:
    return replace(unit, inlets=tuple((name,) for name in unit.layers))


def _run_pipeline(denoiser: Any, order: Order, calibration: PipelineCalibration, hooks: Hooks) -> None:
    """All prompts from text to pictures."""
    counter = StepCounter(calibration)

    def before(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        step, steps = counter.count(args, kwargs)
        hooks.weight = timestep_weights(steps, order.schedule, order.low, order.high)[step]

    handle = denoiser.register_forward_pre_hook(before, with_kwargs=True)
    try:
        with hooks.listening():
            for start in range(0, len(calibration.prompts), calibration.batch):
                counter.restart()
                part = list(calibration.prompts[start : start + calibration.batch])
                seeds = [calibration.seed + start + number for number in range(len(part))]
                _pixels(calibration.painter, part, seeds, calibration.settled)
    finally:
        handle.remove()


class RunningHessian(LayerHessian):
    """H itself, kept up with every call, by products of all its entries."""

    def update(self, inputs: torch.Tensor, weight: float = 1.0) -> None:
        """As the published code does, but for weighting in the layer's own precision."""
        fresh = weight * inputs.shape[:-2].numel()
        tokens = inputs.reshape(-1, self.in_features).to(self._sum)
        self._sum *= self.samples / (self.samples + fresh)
        self.samples += fresh
        tokens = tokens * math.sqrt(2 * weight / self.samples)
        self._sum += tokens.T @ tokens

    @property
    def matrix(self) -> torch.Tensor:
        """H, (in_features, in_features)."""
        return self._sum  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]


def sweep(
    weight: torch.Tensor,
    hessian: torch.Tensor,
    sparsity: float,
    *,
    inverse: Inverse,
    block_size: int = 128,
    **_: Any,
) -> PrunedWeights:
    """Single weights out of (out, in), as SparseGPT does it (arXiv 2301.00774)."""
    work, upper = weight.to(hessian).clone(), inverse.factor
    work[:, inverse.dead] = 0
    gone = torch.zeros_like(work, dtype=torch.bool)
    losses = torch.zeros_like(work)
    for start in range(0, work.shape[1], block_size):
        end = min(start + block_size, work.shape[1])
        block, own = work[:, start:end].clone(), upper[start:end, start:end]
        scores = block**2 / own.diagonal() ** 2
        limit = scores.flatten().sort().values[int(scores.numel() * sparsity)]
        mask = gone[:, start:end] = scores <= limit
        pruned, errors = torch.zeros_like(block), torch.zeros_like(block)
        for j in range(end - start):
            column = block[:, j]
            pruned[:, j] = column.masked_fill(mask[:, j], 0)
            error = (column - pruned[:, j]) / own[j, j]
            losses[:, start + j] = error**2 / 2
            block[:, j:] -= error[:, None] @ own[j, j:][None]
            errors[:, j] = error
        work[:, start:end] = pruned
        work[:, end:] -= errors @ upper[start:end, end:]
    return PrunedWeights(work.to(weight.dtype), gone, losses.sum(1), 0.0, 0.0)


class Reinverted(OnlineColumns):
    """Columns that go with the inverse of what is left made anew each time."""

    damped: torch.Tensor

    def remove(self, columns: torch.Tensor, *, compensate: bool = True) -> None:
        """As the published code does."""
        inverse, linalg = self.inverse, cast(Any, torch.linalg)
        shares = linalg.solve(inverse[columns][:, columns], inverse[columns])
        if compensate:
            self.weight -= self.weight[:, columns] @ shares
        self.removed += cast(list[int], cast(Any, columns).tolist())
        self.weight[:, self.removed] = 0
        self.damped[columns, :] = 0
        self.damped[:, columns] = 0
        self.damped[columns, columns] = 1
        self.inverse = torch.cholesky_inverse(linalg.cholesky(self.damped))


def _no_errors(*_: object) -> tuple[float, float]:
    return 0.0, 0.0


@contextmanager
def as_published() -> Generator[None]:
    """Have our pruning of layers go the published way."""
    last: list[torch.Tensor] = []

    def remember(hessian: torch.Tensor, damping: float = 0.01, name: str = "") -> Inverse:
        damped = hessian.clone()
        damped[damped.diagonal() == 0, damped.diagonal() == 0] = 1
        damped.diagonal().add_(damping * damped.diagonal().mean())
        last[:] = [damped]
        return invert(hessian, damping, name)

    def make(weight: torch.Tensor, inverse: torch.Tensor, dead: torch.Tensor) -> Reinverted:
        state = Reinverted(weight, inverse, dead)
        state.damped = last[0]
        return state

    places = ("columns", "heads", "parallel")
    ours = {"invert": remember, "OnlineColumns": make}
    names: dict[str, Any] = {
        f"models.obs_diff.{place}.{name}": new for place in places for name, new in ours.items()
    }
    names["models.obs_diff.columns.relative_errors"] = _no_errors
    names["models.obs_diff.pruning.prune_unstructured"] = sweep
    patches = [patch(name, new) for name, new in names.items()]
    for one in patches:
        one.start()
    try:
        yield
    finally:
        for one in patches:
            one.stop()

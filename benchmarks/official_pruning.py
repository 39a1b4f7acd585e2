"""The official procedure of OBS-Diff, done the straightforward way, as what ours is measured against.

As the published code does it (docs/obs_diff.md): packages of as many units each, a Hessian for every layer,
for each package the whole pipeline over all prompts with pictures decoded, and in structured pruning an
inverse made anew in every round. Masks and weights come out as ours do by the rule "official".
"""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast
from unittest.mock import patch

import torch

from models.obs_diff import Order, find_units
from models.obs_diff.columns import OnlineColumns
from models.obs_diff.families import Unit
from models.obs_diff.hooks import Hooks
from models.obs_diff.inverse import Inverse, invert
from models.obs_diff.packages import cut
from models.obs_diff.pruning import count_parts, prune_unit
from models.obs_diff.replay import StepCounter
from models.obs_diff.schedules import timestep_weights
from models.painting import _pixels  # pyright: ignore[reportPrivateUsage]
from models.prune_backend import PipelineCalibration


def prune_officially(denoiser: Any, order: Order, calibration: PipelineCalibration) -> int:
    """Prune in place; gives the bytes of the largest package's Hessians."""
    units = [_alone(unit) for unit in find_units(denoiser, structured=order.structured)]
    counts = count_parts(denoiser, units, order)
    largest = 0
    for package in cut(denoiser, units, order):
        hooks = Hooks(denoiser, package, getattr(torch, order.precision))
        largest = max(largest, sum(hessian.matrix_bytes for hessian in hooks.hessians.values()))
        _run_pipeline(denoiser, order, calibration, hooks)
        with _reinverting():
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


@contextmanager
def _reinverting() -> Generator[None]:
    """Have structured pruning make its inverses anew."""
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
    names = {f"models.obs_diff.{place}.{name}": new for place in places for name, new in ours.items()}
    patches = [patch(name, new) for name, new in names.items()]
    for one in patches:
        one.start()
    try:
        yield
    finally:
        for one in patches:
            one.stop()

"""Module packages: a denoiser pruned piece by piece, each piece calibrated on what comes before it, pruned.

A package is a run of units in the order of the data flow whose Hessians fit the memory. Everything that is
done is on disk before the next begins, so a killed pruning goes on at the package where it was.
"""

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import torch

from models.obs_diff.families import Part, Unit, find_blocks, find_family, find_units
from models.obs_diff.hessian import LayerHessian
from models.obs_diff.hooks import Hooks
from models.obs_diff.order import Order
from models.obs_diff.pruning import Changes, Counts, LayerReport, check_layers, count_parts, prune_unit
from models.obs_diff.replay import (
    Calibration,
    Call,
    Placement,
    Player,
    Recording,
    StepCounter,
    Stop,
    write_atomically,
)
from models.obs_diff.schedules import timestep_weights
from models.tool import ToolError


class Watch(Protocol):
    """Who hears how far it is, and may end it by raising."""

    def __call__(self, done: int, total: int, unit: str) -> None:
        """`unit` is "batch" (of calibration) or "layer"; also called between them with what was last."""
        ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """What pruning a denoiser did."""

    reports: list[LayerReport]
    masks: dict[str, torch.Tensor]
    packages: int
    hessian_bytes: int
    """Of the largest package."""


@dataclass(slots=True)
class Shared:
    """The Hessians of the first package, which several sparsities have in common: nothing is pruned yet."""

    sums: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])


def prune_denoiser(
    denoiser: Any,
    order: Order,
    calibration: Calibration,
    *,
    state: Path | None = None,
    recording: Path | None = None,
    placement: Placement = "memory",
    shared: Shared | None = None,
    watch: Watch = lambda done, total, unit: None,
) -> Outcome:
    """Prune a denoiser in place, package by package.

    `state` keeps finished packages, and a pruning that finds some goes on after them; `recording` keeps the
    calls of the dense denoiser, which prunings with the same calibration may share.

    Raises:
        ToolError: the family is unknown, a layer does not suit the pattern, the memory does not hold one
            unit, a layer got no inputs or such that are not finite, or a Hessian cannot be inverted.
    """
    units = find_units(denoiser, structured=order.structured, blocks=order.blocks)
    check_layers(denoiser, units, order)
    if not calibration.batches:
        raise ToolError("there are no prompts to calibrate with: give at least one")
    packages = cut(denoiser, units, order)
    with tempfile.TemporaryDirectory() as temporary:
        work = _Work(
            denoiser,
            order,
            calibration,
            packages,
            count_parts(denoiser, units, order),
            state or Path(temporary) / "state",
            recording or Path(temporary) / "calls",
            placement,
            shared,
            watch,
        )
        return work.run()


def cut(denoiser: Any, units: Sequence[Unit], order: Order) -> list[list[Unit]]:
    """Units as packages: as many as the memory holds, or `order.packages` of as many units each (the first
    take one more where it does not divide).

    Raises:
        ToolError: one unit alone takes more than the memory.
    """
    if order.packages is not None:
        number = min(order.packages, len(units))
        size, more = divmod(len(units), number)
        ends = [0]
        for index in range(number):
            ends.append(ends[-1] + size + (index < more))
        return [list(units[a:b]) for a, b in pairwise(ends)]
    packages: list[list[Unit]] = []
    left = 0
    for unit in units:
        needed = hessian_bytes(denoiser, [unit], order)
        if needed > order.memory:
            raise ToolError(
                f"the Hessians of {unit.layers[0]} and the layers beside it take {needed / 2**20:.1f} MiB, "
                f"more than the memory of {order.memory / 2**20:.1f} MiB: give it more"
            )
        if needed > left:
            packages.append([])
            left = order.memory
        packages[-1].append(unit)
        left -= needed
    return packages


def hessian_bytes(denoiser: Any, units: Sequence[Unit], order: Order) -> int:
    """What the Hessians of these units take."""
    size = 8 if order.precision == "float64" else 4
    widths = [denoiser.get_submodule(inlet[0]).in_features for unit in units for inlet in unit.inlets]
    return sum(size * width**2 for width in widths)


@dataclass(slots=True)
class _Work:
    denoiser: Any
    order: Order
    calibration: Calibration
    packages: list[list[Unit]]
    counts: Mapping[Part, Counts]
    state: Path
    calls: Path
    placement: Placement
    shared: Shared | None
    watch: Watch

    def run(self) -> Outcome:
        self._check_state()
        largest = max(hessian_bytes(self.denoiser, package, self.order) for package in self.packages)
        whole = Changes()
        layers = sum(len(unit.inlets) for package in self.packages for unit in package)
        done = 0
        recording = Recording(self.calls, self.calibration)
        player = self._open_player(recording)
        if player is not None and self._read(0) is not None:
            self._record(recording)  # before the denoiser changes
        for number, package in enumerate(self.packages):
            changes = self._read(number)
            if changes is None:
                hessians = self._gather(number, package, recording, player)
                changes = self._prune(package, hessians, done, layers)
                self._write(number, changes)
            changes.apply(self.denoiser)
            whole.reports.extend(changes.reports)
            whole.masks.update(changes.masks)
            done += sum(len(unit.inlets) for unit in package)
            self.watch(done, layers, "layer")
        return Outcome(whole.reports, whole.masks, len(self.packages), largest)

    def _open_player(self, recording: Recording) -> Player | None:
        """Who plays the dense path again; nobody needs to for a single package."""
        if self.order.trajectory == "pruned" or len(self.packages) == 1:
            return None
        family = find_family(self.denoiser)
        return Player(
            self.denoiser,
            recording,
            [name for name, _ in find_blocks(self.denoiser, family)],
            chained=family.chained,
            placement=self.placement,
            folder=self.state,
        )

    def _record(self, recording: Recording, hooks: Hooks | None = None) -> None:
        """Walk the dense denoiser's path, batch by batch, unless it was walked before. `hooks` hear it."""

        def watch(call: Call) -> None:
            if hooks is not None:
                self._weigh(hooks, call.step, call.steps)

        def ended() -> None:
            if hooks is not None:
                hooks.end_call()

        for batch in range(recording.made, len(recording)):
            self.watch(batch, len(recording), "batch")
            recording.record(self.denoiser, batch, watch, ended)
        self.watch(len(recording), len(recording), "batch")

    def _gather(
        self, number: int, package: list[Unit], recording: Recording, player: Player | None
    ) -> dict[str, LayerHessian]:
        hooks = Hooks(self.denoiser, package, getattr(torch, self.order.precision))
        shared = self.shared if number == 0 else None
        if shared is not None and shared.sums.keys() == hooks.hessians.keys():
            for name, sums in shared.sums.items():
                hooks.hessians[name].load_state_dict(sums)
            return hooks.hessians
        if player is None:
            self._walk(hooks)
        elif recording.made == 0:
            with hooks.listening():  # the first package hears the path while it is walked
                self._record(recording, hooks)
        else:
            self._record(recording)
            with hooks.listening(stop=Stop):
                player.play(package[0].block, lambda call: self._weigh(hooks, call.step, call.steps), hooks)
        if shared is not None:
            shared.sums = {name: hessian.state_dict() for name, hessian in hooks.hessians.items()}
        return hooks.hessians

    def _walk(self, hooks: Hooks) -> None:
        """Feed the hooks by the path of the denoiser as it is now."""
        counter = StepCounter(self.calibration)

        def before(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            self._weigh(hooks, *counter.count(args, kwargs))

        def after(*_: Any) -> None:
            hooks.end_call()

        handles = [
            self.denoiser.register_forward_pre_hook(before, with_kwargs=True),
            self.denoiser.register_forward_hook(after),
        ]
        try:
            with hooks.listening():
                for batch in range(self.calibration.batches):
                    self.watch(batch, self.calibration.batches, "batch")
                    counter.restart()
                    self.calibration.run(batch)
        finally:
            for handle in handles:
                handle.remove()

    def _weigh(self, hooks: Hooks, step: int, steps: int) -> None:
        order = self.order
        hooks.weight = timestep_weights(steps, order.schedule, order.low, order.high)[step]

    def _prune(
        self, package: list[Unit], hessians: dict[str, LayerHessian], done: int, layers: int
    ) -> Changes:
        changes = Changes()
        for unit in package:

            def tick(done: int = done) -> None:
                self.watch(done, layers, "layer")

            fresh = prune_unit(self.denoiser, unit, hessians, self.order, self.counts, tick)
            changes.linears.update(fresh.linears)
            changes.heads.update(fresh.heads)
            changes.masks.update(fresh.masks)
            changes.reports.extend(fresh.reports)
            done += len(unit.inlets)
            for inlet in unit.inlets:
                del hessians[inlet[0]]
        return changes

    def _check_state(self) -> None:
        """Find out whether what lies in the folder belongs to this pruning."""
        told = self.order.model_dump_json()
        path = self.state / "order.json"
        if path.is_file():
            if path.read_text("utf-8") != told:
                raise ToolError(f"{self.state} holds another pruning: name another folder, or remove it")
            return
        self.state.mkdir(parents=True, exist_ok=True)
        path.write_text(told, "utf-8")

    def _path(self, number: int) -> Path:
        return self.state / f"package-{number:04d}.pt"

    def _write(self, number: int, changes: Changes) -> None:
        told = {
            "linears": changes.linears,
            "heads": changes.heads,
            "masks": changes.masks,
            "reports": [json.dumps(asdict(report)) for report in changes.reports],
        }
        write_atomically(told, self._path(number))

    def _read(self, number: int) -> Changes | None:
        if not self._path(number).is_file():
            return None
        told: dict[str, Any] = torch.load(self._path(number), weights_only=True)
        told["reports"] = [LayerReport(**json.loads(report)) for report in told["reports"]]
        return Changes(**told)


def forget_state(state: Path) -> None:
    """Remove what a finished pruning kept to go on."""
    shutil.rmtree(state, ignore_errors=True)

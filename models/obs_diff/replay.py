"""Calls of a denoiser recorded on disk and played again, through as few blocks as need be.

The denoising path is walked once, by the dense denoiser, and its calls are kept, a file a batch. A package of
layers is then calibrated by playing the calls again: blocks before it give what they gave last time, blocks
after it do not run.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, cast

import torch

from models.obs_diff.hooks import Hooks
from models.tool import ToolError
from models.whole_file import whole_file

Placement = Literal["memory", "disk"]


class Calibration(Protocol):
    """What a denoiser is fed: batches of prompts that are denoised from noise to latents."""

    @property
    def batches(self) -> int:
        """How many there are."""
        ...

    def run(self, batch: int) -> None:
        """Denoise one batch with the denoiser as it is now."""
        ...

    def steps(self) -> int:
        """How many noise levels the run in progress visits; known from its first call of the denoiser."""
        ...


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the denoiser: at which noise level of how many, and with what."""

    step: int
    steps: int
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class Stop(Exception):
    """Nothing behind this layer is wanted."""


class StepCounter:
    """Tells the noise level of a call by its timestep: a new one is the next level."""

    def __init__(self, calibration: Calibration) -> None:
        self._calibration = calibration
        self._last: float | None = None
        self._step = -1

    def restart(self) -> None:
        """A new batch begins."""
        self._last, self._step = None, -1

    def count(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[int, int]:
        """(level, levels) of a call. Families pass the timestep by name, U-Nets as the second argument."""
        given = kwargs["timestep"] if "timestep" in kwargs else args[1]
        value = float(torch.as_tensor(given).flatten()[0])
        if value != self._last:
            self._last, self._step = value, self._step + 1
        return self._step, self._calibration.steps()


class Recording:
    """The calls of the dense denoiser, batch by batch, in a folder. Finished batches are not made again."""

    def __init__(self, folder: Path, calibration: Calibration) -> None:
        self._folder, self._calibration = folder, calibration

    def __len__(self) -> int:
        return self._calibration.batches

    @property
    def made(self) -> int:
        """How many batches are on disk, from the first without a gap."""
        return next((n for n in range(len(self)) if not self._path(n).is_file()), len(self))

    def record(
        self,
        denoiser: Any,
        batch: int,
        watch: Callable[[Call], None] = lambda call: None,
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        """Run one batch, and keep its calls. `watch` hears of each before it runs, `ended` after it."""
        calls: list[Call] = []
        counter = StepCounter(self._calibration)

        def keep(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            step, steps = counter.count(args, kwargs)
            calls.append(Call(step, steps, args, kwargs))
            watch(calls[-1])

        def after(*_: Any) -> None:
            ended()

        handles = [
            denoiser.register_forward_pre_hook(keep, with_kwargs=True),
            denoiser.register_forward_hook(after),
        ]
        try:
            self._calibration.run(batch)
        finally:
            for handle in handles:
                handle.remove()
        told = [(call.step, call.steps, call.args, call.kwargs) for call in calls]
        write_atomically(told, self._path(batch))

    def play(self) -> Iterator[tuple[int, Call]]:
        """All calls with a number of their own, in order."""
        number = 0
        for batch in range(len(self)):
            # Tensors that calls share, such as a prompt's embedding, lie in the file once.
            for told in cast(list[Any], torch.load(self._path(batch), weights_only=True)):
                yield number, Call(*told)
                number += 1

    def _path(self, batch: int) -> Path:
        return self._folder / f"calls-{batch:05d}.pt"


class Player:
    """Plays a recording through a denoiser whose blocks become final one after another."""

    def __init__(
        self,
        denoiser: Any,
        recording: Recording,
        blocks: Sequence[str],
        *,
        chained: bool,
        placement: Placement = "memory",
        folder: Path | None = None,
    ) -> None:
        """`blocks` in the order of the data flow. With `placement` "disk" outputs wait in `folder`."""
        self._denoiser, self._recording = denoiser, recording
        self._blocks, self._chained = list(blocks), chained
        self._outputs = _Outputs(folder if placement == "disk" else None)
        self._final = 0
        """Blocks before this one have their outputs kept."""

    def play(self, first: str, watch: Callable[[Call], None], hooks: Hooks) -> None:
        """Play all calls up to the last layer of `hooks`. Blocks before `first` are final; `watch` hears of
        each call before it runs.
        """
        start = self._blocks.index(first)
        for number, call in self._recording.play():
            watch(call)
            args, kwargs = _on(call.args, self._denoiser), _on(call.kwargs, self._denoiser)
            with suppress(Stop), self._stubs(number), self._keeping(number, start), torch.inference_mode():
                self._denoiser(*args, **kwargs)
            hooks.end_call()
        self._outputs.forget(range(start - 1) if self._chained else ())
        self._final = start

    @contextmanager
    def _stubs(self, number: int) -> Generator[None]:
        """Have blocks whose outputs are kept give them without running."""
        with ExitStack() as stack:
            for index in range(self._final):
                # In a chain nobody looks at what a block gave whose next block gives what is kept.
                kept = self._final - 1 if self._chained else index
                stack.enter_context(self._stub(index, number, kept))
            yield

    @contextmanager
    def _stub(self, index: int, number: int, kept: int) -> Generator[None]:
        block = self._denoiser.get_submodule(self._blocks[index])

        def give(*args: Any, **kwargs: Any) -> Any:
            return _on(self._outputs.get(number, kept), self._denoiser)

        block.forward = give
        try:
            yield
        finally:
            del block.forward  # the class's own shows again

    @contextmanager
    def _keeping(self, number: int, start: int) -> Generator[None]:
        """Keep the outputs of blocks that have become final."""
        fresh = range(self._final, start)
        with ExitStack() as stack:
            for index in fresh[-1:] if self._chained else fresh:

                def keep(module: Any, args: Any, output: Any, index: int = index) -> None:
                    self._outputs.put(number, index, output)

                block = self._denoiser.get_submodule(self._blocks[index])
                stack.callback(block.register_forward_hook(keep).remove)
            yield


class _Outputs:
    """What blocks gave, by call and block: in main memory, or in files."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._kept: dict[tuple[int, int], Any] = {}

    def put(self, call: int, block: int, output: Any) -> None:
        if self._folder is None:
            self._kept[call, block] = _moved(output, "cpu")
        else:
            write_atomically(_moved(output, "cpu"), self._path(call, block))
            self._kept[call, block] = None

    def get(self, call: int, block: int) -> Any:
        if self._folder is None:
            return self._kept[call, block]
        return torch.load(self._path(call, block), weights_only=True)

    def forget(self, blocks: Sequence[int]) -> None:
        for call, block in [key for key in self._kept if key[1] in blocks]:
            del self._kept[call, block]
            if self._folder is not None:
                self._path(call, block).unlink()

    def _path(self, call: int, block: int) -> Path:
        assert self._folder is not None
        return self._folder / f"output-{block:04d}-{call:06d}.pt"


def write_atomically(value: Any, path: Path) -> None:
    """`torch.save`, so that the file is there whole or not at all.

    Raises:
        ToolError: it could not be written.
    """
    try:
        with whole_file(path) as new:
            torch.save(value, new)
    except (OSError, RuntimeError) as error:  # torch tells of a full disk by the latter
        raise ToolError(f"{path} could not be written (is the disk full?): {error}") from error


def _on(value: Any, denoiser: Any) -> Any:
    return _moved(value, next(denoiser.parameters()).device)


def _moved(value: Any, device: Any) -> Any:
    """The tensors of a nested value on a device; nothing is copied that is there."""
    if isinstance(value, torch.Tensor):
        return value.detach().to(device)
    if isinstance(value, dict):
        return {key: _moved(part, device) for key, part in cast(dict[str, Any], value).items()}
    if isinstance(value, tuple | list):
        moved = [_moved(part, device) for part in cast(Sequence[Any], value)]
        return tuple(moved) if isinstance(value, tuple) else moved
    return value

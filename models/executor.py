"""Runs tools on the devices of this process: queues requests, batches them, keeps models resident.

Knows nothing about what a tool does, and imports torch only to look for accelerators or after a tool has
loaded a model with it.
"""

from collections.abc import Sequence
from types import TracebackType
from typing import Literal, Protocol, Self

from pydantic import BaseModel

from models.artifact import ArtifactStore
from models.batch_queue import ExecutorClosed, QueueFull
from models.device import find_devices
from models.device_worker import DeviceWorker
from models.dispatch import Dispatch, ToolStats, UnknownTool
from models.residency import AnyTool, Residency
from models.threads import choose_threads
from models.worker import OnProgress, Worker

__all__ = [
    "Executor",
    "ExecutorClosed",
    "LocalExecutor",
    "QueueFull",
    "ToolStats",
    "UnknownTool",
    "find_devices",
]


class Executor(Protocol):
    """Where tools run. Close it, or use it as an async context manager."""

    async def submit(self, tool: str, request: BaseModel, on_progress: OnProgress | None = None) -> BaseModel:
        """Run one request and return its result; requests that wait at the same time may share a batch.

        `on_progress` is called on the caller's event loop. Cancelling the awaiting task withdraws the
        request. A request whose worker dies is run again by another; it may then have run more than once.

        Raises:
            UnknownTool: no tool has this name.
            TypeError: the tool takes another kind of request.
            QueueFull: too many requests wait.
            ExecutorClosed: the executor is closed.
            ToolError: the tool could not do it, or no worker is left.
            ToolCancelled: the executor was closed while the request ran.
        """
        ...

    def stats(self) -> dict[str, ToolStats]:
        """What each tool has cost so far, by name."""
        ...

    async def close(self) -> None:
        """Stop: what runs is cancelled, what waits fails with ExecutorClosed, models are freed."""
        ...

    async def __aenter__(self) -> Self:
        """The executor itself."""
        ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        ...


class LocalExecutor(Dispatch):
    """Runs tools in this process, one worker thread per device.

    A thread that a tool ends goes on with the next batch. A device that a fault took from the process is
    left out; its work goes to the others.
    """

    def __init__(
        self,
        tools: Sequence[AnyTool],
        artifacts: ArtifactStore,
        devices: Sequence[str] | Literal["auto"] = "auto",
        memory_budget: int | None = None,
        max_queue: int = 256,
        batch_wait: float = 0.01,
        threads: int | None = None,
    ) -> None:
        """Threads start with the first request.

        Args:
            tools: what may be asked for, by `tool.name`.
            artifacts: the store that tools read pictures from and save them to.
            devices: one worker each, such as `("cuda:0", "cuda:1")` or `("cpu:0", "cpu:1")`; "auto" takes
                every CUDA device, or one CPU worker where there is none.
            memory_budget: bytes of memory that models may take while they stay loaded, per accelerator and
                for all CPU workers together; None means unlimited.
            max_queue: requests that may wait.
            batch_wait: seconds that a request may wait for batch mates.
            threads: CPU threads of each worker; by default `MAULSTICK_THREADS`, or what the load leaves.
        """
        super().__init__(tools, max_queue, batch_wait)
        self._artifacts = artifacts
        self._devices = devices
        self._cpu_threads = threads
        self._residency = Residency(memory_budget)

    def resident(self) -> list[tuple[str, str, str]]:
        """(device, tool, model) of the loaded models, least recently used first."""
        return list(self._residency.taken())

    def _open_workers(self) -> Sequence[Worker]:
        devices = find_devices() if self._devices == "auto" else self._devices
        threads = self._cpu_threads or choose_threads(workers=len(devices))
        return [DeviceWorker(device, self._residency, self._artifacts, threads) for device in devices]

    def _close_workers(self) -> None:
        self._residency.free()

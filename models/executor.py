"""Runs tools on devices: queues requests, batches them, keeps models resident, survives a lack of memory.

Knows nothing about what a tool does, and imports torch only after a tool has loaded a model with it.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Literal, Protocol, Self

from pydantic import BaseModel, ConfigDict

from models.artifact import ArtifactStore
from models.batch_queue import BatchQueue, ExecutorClosed, QueueFull, Waiter
from models.device import find_devices, inference, is_out_of_memory, return_memory
from models.residency import AnyTool, Residency
from models.threads import choose_threads
from models.tool import Progress, ToolCancelled, ToolContext, ToolError, ToolUnavailable

__all__ = [
    "Executor",
    "ExecutorClosed",
    "LocalExecutor",
    "QueueFull",
    "ToolStats",
    "UnknownTool",
    "find_devices",
]

OnProgress = Callable[[Progress], None]


class UnknownTool(LookupError):
    """No tool of this name was given to the executor."""


class ToolStats(BaseModel):
    """What a tool has cost so far. Seconds are wall time of the workers, summed over devices."""

    model_config = ConfigDict(frozen=True)

    calls: int = 0
    """Requests accepted."""
    batches: int = 0
    """Times that the tool ran, each on one batch."""
    load_seconds: float = 0.0
    """Spent until the model was at hand; almost nothing when it was resident."""
    run_seconds: float = 0.0


class Executor(Protocol):
    """Where tools run. Close it, or use it as an async context manager."""

    async def submit(self, tool: str, request: BaseModel, on_progress: OnProgress | None = None) -> BaseModel:
        """Run one request and return its result; requests that wait at the same time may share a batch.

        `on_progress` is called on the caller's event loop. Cancelling the awaiting task withdraws the
        request.

        Raises:
            UnknownTool: no tool has this name.
            TypeError: the tool takes another kind of request.
            QueueFull: too many requests wait.
            ExecutorClosed: the executor is closed.
            ToolError: the tool could not do it.
            ToolCancelled: the executor was closed while the request ran.
        """
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


class LocalExecutor:
    """Runs tools in this process, one worker thread per device.

    A request that fails in a batch is run again alone, as are its mates, so that an error reaches only who
    caused it. May be used from several event loops, one after another or at once.
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
            memory_budget: bytes of declared memory that may stay loaded, per accelerator and for all CPU
                workers together; None means unlimited.
            max_queue: requests that may wait.
            batch_wait: seconds that a request may wait for batch mates.
            threads: CPU threads of each worker; by default `MAULSTICK_THREADS`, or what the load leaves.
        """
        self._tools = {tool.name: tool for tool in tools}
        self._artifacts = artifacts
        self._devices = devices
        self._threads = threads
        self._queue = BatchQueue(max_queue, batch_wait)
        self._residency = Residency(memory_budget)
        self._stats = {tool.name: ToolStats() for tool in tools}
        self._workers: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._smaller: dict[tuple[str, Any], int] = {}
        """(device, batch key) -> the batch size that fitted after running out of memory."""
        self._aborted = False

    async def submit(self, tool: str, request: BaseModel, on_progress: OnProgress | None = None) -> BaseModel:
        """See `Executor.submit`."""
        if tool not in self._tools:
            known = ", ".join(sorted(self._tools)) or "none"
            raise UnknownTool(f"no tool is called {tool!r}; known tools: {known}")
        asked = self._tools[tool]
        if not isinstance(request, asked.request_type):
            raise TypeError(
                f"{tool} takes a {asked.request_type.__name__}, not a {type(request).__name__}: {request!r}"
            )
        if not self._workers:
            await self._start()
        loop = asyncio.get_running_loop()
        waiter = Waiter(request, tool, asked.model_key(request), asked.batch_key(request), loop, on_progress)
        self._queue.put(waiter)
        self._count(tool, calls=1)
        try:
            return await asyncio.wrap_future(waiter.future)
        except asyncio.CancelledError:
            waiter.future.cancel()
            self._queue.withdraw(waiter)
            raise

    async def close(self, *, drain: bool = False) -> None:
        """Stop the workers and free the models. With `drain`, what was accepted is finished first."""
        self._aborted = not drain
        for waiter in self._queue.close(drain=drain):
            waiter.fail(ExecutorClosed(f"the executor was closed before {waiter.tool} ran"))
        for worker in self._workers:
            await asyncio.to_thread(worker.join)
        self._residency.free()

    async def __aenter__(self) -> Self:
        """The executor itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close, without draining."""
        await self.close()

    def stats(self) -> dict[str, ToolStats]:
        """What each tool has cost so far."""
        with self._lock:
            return dict(self._stats)

    def resident(self) -> list[tuple[str, str, str]]:
        """(device, tool, model) of the loaded models, least recently used first."""
        return self._residency.names()

    def waiting(self) -> int:
        """How many requests wait for a worker."""
        return len(self._queue)

    async def _start(self) -> None:
        # Looking for accelerators imports torch, which takes seconds: not on the event loop.
        devices = await asyncio.to_thread(find_devices) if self._devices == "auto" else self._devices
        with self._lock:
            if self._workers:
                return
            threads = self._threads or choose_threads(workers=len(devices))
            self._workers = [
                threading.Thread(
                    target=self._work, args=(device, threads), name=f"maulstick {device}", daemon=True
                )
                for device in devices
            ]
        for worker in self._workers:
            worker.start()

    def _work(self, device: str, threads: int) -> None:
        while batch := self._queue.take(partial(self._limit, device)):
            tool = self._tools[batch[0].tool]
            began = time.perf_counter()
            try:
                with self._residency.hold(tool, batch[0].model_key, device) as model:
                    self._count(tool.name, load_seconds=time.perf_counter() - began)
                    with inference(threads):
                        self._run_batch(tool, model, batch, device)
            except Exception as error:
                for waiter in batch:
                    waiter.fail(_as_tool_error(tool, error))

    def _limit(self, device: str, waiter: Waiter) -> int:
        return self._smaller.get((device, waiter.key), self._tools[waiter.tool].max_batch)

    def _run_batch(self, tool: AnyTool, model: Any, batch: list[Waiter], device: str) -> None:
        size = len(batch)
        while batch := [waiter for waiter in batch if not waiter.future.done()]:
            part = batch[:size]
            error = self._run_part(tool, model, part)
            if error is None:
                continue
            if isinstance(error, ToolCancelled) or len(part) == 1:
                for waiter in part:
                    waiter.fail(_as_tool_error(tool, error))
            elif not isinstance(error, ToolError) and is_out_of_memory(error):
                size = len(part) // 2
                self._smaller[device, part[0].key] = size
                return_memory()
            else:
                size = 1  # so that the error reaches only the request that caused it

    def _run_part(self, tool: AnyTool, model: Any, part: list[Waiter]) -> Exception | None:
        began = time.perf_counter()
        try:
            context = ToolContext(self._artifacts, partial(_tell, part), partial(self._check_cancelled, part))
            results = tool.run(model, [waiter.request for waiter in part], context)
            if len(results) != len(part):
                raise ToolError(f"{tool.name} gave {len(results)} results for {len(part)} requests")
        except Exception as error:
            # The traceback keeps the failed batch's tensors alive, which a smaller batch needs the room of.
            return error.with_traceback(None) if is_out_of_memory(error) else error
        finally:
            self._count(tool.name, batches=1, run_seconds=time.perf_counter() - began)
        for waiter, result in zip(part, results, strict=True):
            waiter.succeed(result)
        return None

    def _check_cancelled(self, part: list[Waiter]) -> None:
        if self._aborted:
            raise ToolCancelled(f"{part[0].tool} was stopped because the executor was closed")
        if all(waiter.gone for waiter in part):
            raise ToolCancelled(
                f"nobody waits for this batch of {len(part)} {part[0].tool} requests any more"
            )

    def _count(self, tool: str, **more: float) -> None:
        with self._lock:
            before = self._stats[tool]
            self._stats[tool] = before.model_copy(update={k: getattr(before, k) + v for k, v in more.items()})


def _tell(part: list[Waiter], progress: Progress) -> None:
    for waiter in part:
        waiter.tell(progress)


def _as_tool_error(tool: AnyTool, error: Exception) -> Exception:
    if isinstance(error, ToolError | ToolCancelled):
        return error
    if is_out_of_memory(error):
        wrapped = ToolError(f"{tool.name} ran out of memory: {error}; use a smaller model or size")
    elif isinstance(error, ConnectionError | TimeoutError):
        wrapped = ToolUnavailable(f"{tool.name} got no answer ({type(error).__name__}: {error}): try again")
    else:
        wrapped = ToolError(f"{tool.name} failed with {type(error).__name__}: {error}")
    wrapped.__cause__ = error
    return wrapped

"""What all executors share: a queue in front, workers behind, and what becomes of a batch that fails.

Knows neither devices nor processes: a worker is something that runs a batch of one tool's requests, and may
die of it.
"""

import asyncio
import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import partial
from types import TracebackType
from typing import Any, Self

from pydantic import BaseModel, ConfigDict

from models.batch_queue import BatchQueue, ExecutorClosed, Waiter
from models.device import is_out_of_memory, return_memory
from models.residency import AnyTool
from models.tool import Progress, ToolCancelled, ToolError
from models.worker import CannotLoad, OnProgress, Worker, WorkerDied, WorkerLost, as_tool_error

_LOG = logging.getLogger(__name__)

MAX_DEATHS = 3
"""A request that was running when this many workers died is not tried again: it is what kills them."""


class UnknownTool(LookupError):
    """No tool of this name was given to the executor."""


class ToolStats(BaseModel):
    """What a tool has cost so far. Seconds are wall time of the workers, summed over devices."""

    model_config = ConfigDict(frozen=True)

    calls: int = 0
    """Requests accepted."""
    batches: int = 0
    """Times that the tool ran to its end, each on one batch."""
    load_seconds: float = 0.0
    """Spent until the model was at hand; almost nothing when it was resident."""
    run_seconds: float = 0.0
    deaths: int = 0
    """Workers that died while they ran it."""


class Dispatch(ABC):
    """An executor but for its workers. May be used from several event loops, one after another or at once.

    A request that fails in a batch is run again alone, as are its mates, so that an error reaches only who
    caused it. What a worker was doing when it died is done again by whoever is free, request by request.
    """

    def __init__(self, tools: Sequence[AnyTool], max_queue: int, batch_wait: float) -> None:
        """Workers start with the first request.

        Args:
            tools: what may be asked for, by `tool.name`.
            max_queue: requests that may wait.
            batch_wait: seconds that a request may wait for batch mates.
        """
        self._tools = {tool.name: tool for tool in tools}
        self._queue = BatchQueue(max_queue, batch_wait)
        self._stats = {tool.name: ToolStats() for tool in tools}
        self._threads: list[threading.Thread] = []
        self._working = 0
        self._lost: Exception | None = None
        """Why no worker is left."""
        self._lock = threading.Lock()
        self._starting = threading.Lock()
        self._smaller: dict[tuple[str, Any], int] = {}
        """(device, batch key) -> the batch size that fitted after running out of memory."""
        self._aborted = False

    @abstractmethod
    def _open_workers(self) -> Sequence[Worker]:
        """Make the workers; may take seconds. Called once, in a thread.

        Raises:
            ToolError: there can be none.
        """

    @abstractmethod
    def _close_workers(self) -> None:
        """Free what the workers hold, if there are any. Called when none of them works any more."""

    async def submit(self, tool: str, request: BaseModel, on_progress: OnProgress | None = None) -> BaseModel:
        """See `models.executor.Executor.submit`."""
        if tool not in self._tools:
            known = ", ".join(sorted(self._tools)) or "none"
            raise UnknownTool(f"no tool is called {tool!r}; known tools: {known}")
        asked = self._tools[tool]
        if not isinstance(request, asked.request_type):
            raise TypeError(
                f"{tool} takes a {asked.request_type.__name__}, not a {type(request).__name__}: {request!r}"
            )
        loop = asyncio.get_running_loop()
        waiter = Waiter(request, tool, asked.model_key(request), asked.batch_key(request), loop, on_progress)
        if self._lost is not None:
            raise self._nobody(tool)
        self._queue.put(waiter)  # before the workers start, so that the order of arrival stands
        self._count(tool, calls=1)
        try:
            if not self._threads:
                await asyncio.to_thread(self._start)
            return await asyncio.wrap_future(waiter.future)
        except asyncio.CancelledError:
            waiter.future.cancel()
            self._queue.withdraw(waiter)
            raise

    async def close(self, *, drain: bool = False) -> None:
        """Stop the workers and free the models. With `drain`, what was accepted is finished first."""
        self._aborted = not drain
        for waiter in self._queue.close(drain=drain):
            waiter.fail(_closed(waiter))
        await asyncio.to_thread(self._stop)

    def _stop(self) -> None:
        with self._starting:  # workers that are being made right now have to be freed too
            for thread in self._threads:
                thread.join()
            self._close_workers()

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

    def waiting(self) -> int:
        """How many requests wait for a worker."""
        return len(self._queue)

    def _start(self) -> None:
        with self._starting:
            if self._threads or self._queue.closed:
                return
            try:
                workers = self._open_workers()
            except Exception as error:
                self._give_up(error)
                return
            self._working = len(workers)
            self._threads = [
                threading.Thread(
                    target=self._work, args=(worker,), name=f"maulstick {worker.device}", daemon=True
                )
                for worker in workers
            ]
            self._queue.expect(len(workers))
            for thread in self._threads:
                thread.start()

    def _work(self, worker: Worker) -> None:
        """What each worker's thread does until the executor is closed or the worker is lost."""
        while batch := self._queue.take(partial(self._limit, worker.device)):
            try:
                self._run_batch(worker, batch)
            except WorkerDied as death:
                self._take_back(batch, worker, death)
                try:
                    if isinstance(death, WorkerLost):
                        raise death
                    worker.recover()
                except WorkerLost as loss:
                    self._retire(worker, loss)
                    return
            except BaseException as error:  # a mistake of ours must not leave anyone waiting for ever
                _LOG.exception("the worker of %s failed", worker.device)
                for waiter in batch:
                    waiter.fail(ToolError(f"{waiter.tool} failed with {type(error).__name__}: {error}"))
        with self._lock:
            self._working -= 1

    def _limit(self, device: str, waiter: Waiter) -> int:
        return self._smaller.get((device, waiter.key), self._tools[waiter.tool].max_batch)

    def _run_batch(self, worker: Worker, batch: list[Waiter]) -> None:
        tool = self._tools[batch[0].tool]
        size = len(batch)
        while batch := [waiter for waiter in batch if not waiter.future.done()]:
            part = batch[:size]
            error = self._run_part(worker, tool, part)
            if error is None:
                continue
            if isinstance(error, CannotLoad):
                for waiter in batch:
                    waiter.fail(error.error)
            elif isinstance(error, ToolCancelled) or len(part) == 1:
                for waiter in part:
                    waiter.fail(as_tool_error(tool, error))
            elif is_out_of_memory(error):
                size = len(part) // 2
                self._smaller[worker.device, part[0].key] = size
                return_memory()
            else:
                size = 1  # so that the error reaches only the request that caused it

    def _run_part(self, worker: Worker, tool: AnyTool, part: list[Waiter]) -> Exception | None:
        requests = [waiter.request for waiter in part]
        check = partial(self._check_cancelled, part)
        try:
            done = worker.run(tool, part[0].model_key, requests, partial(_tell, part), check)
            self._count(tool.name, batches=1, load_seconds=done.load_seconds, run_seconds=done.run_seconds)
            if len(done.results) != len(part):
                raise ToolError(f"{tool.name} gave {len(done.results)} results for {len(part)} requests")
        except WorkerDied:
            self._count(tool.name, deaths=1)
            for waiter in part:
                waiter.deaths += 1
            raise
        except Exception as error:
            # The traceback keeps the failed batch's tensors alive, which a smaller batch needs the room of.
            return error.with_traceback(None) if is_out_of_memory(error) else error
        for waiter, result in zip(part, done.results, strict=True):
            waiter.succeed(result)
        return None

    def _take_back(self, batch: list[Waiter], worker: Worker, death: WorkerDied) -> None:
        """Queue again what the dead worker did not finish, unless it is what kills workers."""
        again: list[Waiter] = []
        for waiter in batch:
            if waiter.future.done():
                continue
            if waiter.deaths >= MAX_DEATHS:
                waiter.fail(
                    ToolError(
                        f"{waiter.tool} ended its worker {waiter.deaths} times, the last time on "
                        f"{worker.device}: {death}; it is not tried again"
                    )
                )
            else:
                again.append(waiter)
        _LOG.warning(
            "the worker of %s died (%s); %d requests are done again", worker.device, death, len(again)
        )
        if not self._queue.put_back(again):
            for waiter in again:
                waiter.fail(_closed(waiter))

    def _retire(self, worker: Worker, loss: WorkerLost) -> None:
        """Go on without a worker; without any, what waits fails."""
        with self._lock:
            self._working -= 1
            left = self._working
        _LOG.error("%s is lost (%s); workers left: %d", worker.device, loss, left)
        if not left:
            self._give_up(loss)

    def _give_up(self, reason: Exception) -> None:
        self._lost = reason
        for waiter in self._queue.close(drain=False):
            waiter.fail(self._nobody(waiter.tool))

    def _nobody(self, tool: str) -> ToolError:
        return ToolError(f"{tool} has no worker: {self._lost}; mend that and open another executor")

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


def _closed(waiter: Waiter) -> ExecutorClosed:
    return ExecutorClosed(f"the executor was closed before {waiter.tool} ran")


def _tell(part: list[Waiter], progress: Progress) -> None:
    for waiter in part:
        waiter.tell(progress)

"""The bounded queue in front of the workers: arrival order, and batches of requests with equal keys.

Knows nothing about tools, models or devices.
"""

import asyncio
import math
import threading
import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field

from pydantic import BaseModel

from models.tool import Progress


class QueueFull(RuntimeError):
    """The executor already holds as many waiting requests as it may."""


class ExecutorClosed(RuntimeError):
    """The executor no longer takes requests, or was closed before this one ran."""


@dataclass(eq=False, slots=True)
class Waiter:
    """A request, and the event loop on which somebody waits for its result.

    `future` is cancelled exactly when nobody waits any more.
    """

    request: BaseModel
    tool: str
    model_key: str
    batch_key: Hashable
    loop: asyncio.AbstractEventLoop
    on_progress: Callable[[Progress], None] | None
    arrived: float = field(default_factory=time.monotonic)
    future: "Future[BaseModel]" = field(default_factory=lambda: Future[BaseModel]())
    deaths: int = 0
    """Workers that died while they ran it."""

    @property
    def key(self) -> Hashable:
        """Waiters with equal keys may run in one batch. One whose worker died runs alone from then on: it may
        have been what killed it.
        """
        return self.tool, self.model_key, self.batch_key, id(self) if self.deaths else None

    @property
    def gone(self) -> bool:
        """Whether nobody waits for the result any more."""
        return self.future.cancelled()

    def succeed(self, result: BaseModel) -> None:
        """Hand the result over, if somebody still waits."""
        with suppress(InvalidStateError):  # cancelled in this very moment
            self.future.set_result(result)

    def fail(self, error: Exception) -> None:
        """Hand the error over, if somebody still waits."""
        with suppress(InvalidStateError):
            self.future.set_exception(error)

    def tell(self, progress: Progress) -> None:
        """Call `on_progress` on the waiter's own event loop."""
        if self.on_progress is None or self.future.done():
            return
        try:
            self.loop.call_soon_threadsafe(self.on_progress, progress)
        except RuntimeError:
            if not self.loop.is_closed():  # a closed loop has nobody left to tell
                raise


class BatchQueue:
    """At most `bound` waiting requests. Threads call `take`; anyone calls the rest."""

    def __init__(self, bound: int, batch_wait: float) -> None:
        """`batch_wait` is how long, in seconds, a request may wait for batch mates once a worker is free.

        Mates come in bursts: a third of that without a new one ends the waiting.
        """
        self._bound = bound
        self._batch_wait = batch_wait
        self._waiting: list[Waiter] = []
        self._changed = threading.Condition()
        self._idle = 0
        self._expected = 0
        self._closed = False
        self._draining = False

    def put(self, waiter: Waiter) -> None:
        """Queue a request.

        Raises:
            QueueFull: `bound` requests wait already.
            ExecutorClosed: the queue was closed.
        """
        with self._changed:
            if self._closed:
                raise ExecutorClosed(f"{waiter.tool} was asked of a closed executor: open another one")
            if len(self._waiting) >= self._bound:
                raise QueueFull(
                    f"{len(self._waiting)} requests wait already and at most {self._bound} may: "
                    f"submit {waiter.tool} again once some have finished, or raise max_queue"
                )
            self._waiting.append(waiter)
            self._changed.notify_all()

    def expect(self, workers: int) -> None:
        """Count so many workers as idle that will call `take` in a moment: what waits already is for all."""
        with self._changed:
            self._idle += workers
            self._expected += workers

    def put_back(self, waiters: list[Waiter]) -> bool:
        """Queue again, before all others, what a worker could not finish; it was accepted, so that the bound
        does not count. False: the queue was closed and nobody will run them.
        """
        with self._changed:
            if self._closed and not self._draining:
                return False
            self._waiting = [*waiters, *self._waiting]
            self._changed.notify_all()
            return True

    def withdraw(self, waiter: Waiter) -> None:
        """Forget a request that nobody waits for. One that runs already learns it from its future."""
        with self._changed:
            self._waiting = [other for other in self._waiting if other is not waiter]
            self._changed.notify_all()

    def take(self, limit: Callable[[Waiter], int]) -> list[Waiter] | None:
        """The oldest request and its batch mates in arrival order; None once closed and empty.

        At most `limit(oldest)` of them. Idle workers share the mates evenly: two devices take eight as four
        and four.
        """
        with self._changed:
            if self._expected:
                self._expected -= 1
            else:
                self._idle += 1
            try:
                while True:
                    if not self._waiting:
                        if self._closed:
                            return None
                        self._changed.wait()
                        continue
                    oldest = self._waiting[0]
                    mates = [waiter for waiter in self._waiting if waiter.key == oldest.key]
                    most = limit(oldest)
                    patience = (
                        min(oldest.arrived + self._batch_wait, mates[-1].arrived + self._batch_wait / 3)
                        - time.monotonic()
                    )
                    if len(mates) < most and patience > 0 and not self._closed:
                        self._changed.wait(patience)
                        continue
                    batch = mates[: min(most, math.ceil(len(mates) / self._idle))]
                    self._waiting = [waiter for waiter in self._waiting if waiter not in batch]
                    return batch
            finally:
                self._idle -= 1

    def close(self, *, drain: bool) -> list[Waiter]:
        """Take no more requests. Without `drain`, what still waits is given back and will never run."""
        with self._changed:
            self._closed, self._draining = True, drain
            left = [] if drain else self._waiting
            if not drain:
                self._waiting = []
            self._changed.notify_all()
            return left

    @property
    def closed(self) -> bool:
        """Whether requests are refused."""
        with self._changed:
            return self._closed

    def __len__(self) -> int:
        """How many requests wait."""
        with self._changed:
            return len(self._waiting)

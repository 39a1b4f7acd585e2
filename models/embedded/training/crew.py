"""Processes that make numbered things ahead of a training: pictures, while an accelerator learns from those
before.

What is made depends on its number alone, so that a training with a crew sees what one without sees.
"""

import multiprocessing
import pickle
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing.context import BaseContext
from types import TracebackType
from typing import Generic, Self, TypeVar

import torch

T = TypeVar("T")

PRELOADED = [
    "models.embedded.training.stream",
    "models.embedded.training.latents",
    "models.embedded.training.perception",
]
AHEAD = 3
"""Things per process that are made before they are asked for."""


def _context() -> BaseContext:
    """Processes forked from one that has imported what they need and never touched the accelerator."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


_make: Callable[[int], object] | None = None
"""What this process of a crew makes, handed over when it begins."""


def _begin(make: bytes) -> None:
    global _make
    torch.set_num_threads(1)
    _make = pickle.loads(make)


def _pack(number: int) -> bytes:
    """Pickled here, a tensor is its bytes; by the pool it would be an open file, of which few are allowed."""
    assert _make is not None
    return pickle.dumps(_make(number), protocol=pickle.HIGHEST_PROTOCOL)


class Crew(Generic[T]):
    """Calls `make` for number after number in `processes` processes; 0 makes each when it is asked for.

    `make` and what it returns must pickle. Leave a `with` block to end the processes.
    """

    def __init__(self, make: Callable[[int], T], processes: int) -> None:
        self.make = make
        self.ahead = AHEAD * processes
        self.pool = (
            ProcessPoolExecutor(processes, _context(), _begin, (pickle.dumps(make),)) if processes else None
        )
        self.made: deque[tuple[int, Future[bytes]]] = deque()

    def __call__(self, number: int) -> T:
        """What `make` gives for `number`. The numbers after it are made next."""
        if self.pool is None:
            return self.make(number)
        if not self.made or self.made[0][0] != number:
            for _, future in self.made:
                future.cancel()
            self.made.clear()
        following = self.made[-1][0] + 1 if self.made else number
        for ahead in range(following, number + self.ahead):
            self.made.append((ahead, self.pool.submit(_pack, ahead)))
        return pickle.loads(self.made.popleft()[1].result())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.pool is not None:
            self.pool.shutdown(wait=True, cancel_futures=True)

"""What one layer takes as it gets wider: ours against the published procedure done the straightforward way.

A random layer with as many outputs as inputs, in float32 on one thread. Each piece of work is done once, in a
fork of its own, so that memory is measured from the same start: how much the process grew at its largest,
beside the weights, the inputs and the Hessian that it is given.
"""

import multiprocessing
import resource
import time
from collections.abc import Callable
from multiprocessing.connection import Connection

import torch

from benchmarks.official_pruning import RunningHessian, as_published, sweep
from models.obs_diff import LayerHessian, prune_columns, prune_unstructured
from models.obs_diff.inverse import invert
from models.threads import fixed_threads

TOKENS = 1024
ENOUGH = 120.0
"""Seconds of a piece of work above which wider layers are not tried."""
Work = Callable[[], object]
Took = tuple[float, float]
"""Seconds, and bytes grown."""


def widths(largest: int) -> None:
    """Widths from 256, doubled up to `largest`."""
    print(f"| width | work | straightforward | ours | times as fast |\n{'|---' * 5}|", flush=True)
    tired: set[str] = set()
    width = 256
    while width <= largest:
        with fixed_threads(1):
            for name, (theirs, ours) in _works(width).items():
                fast = in_a_fork(ours)
                slow = None if name in tired else in_a_fork(theirs)
                if slow is not None and slow[0] > ENOUGH:
                    tired.add(name)
                times = "-" if slow is None else f"{slow[0] / fast[0]:.1f}"
                print(f"| {width} | {name} | {_tell(slow)} | {_tell(fast)} | {times} |", flush=True)
        width *= 2


def _works(width: int) -> dict[str, tuple[Work, Work]]:
    """(the straightforward way, ours) by what is done."""
    _ = torch.manual_seed(width)  # pyright: ignore[reportUnknownMemberType]
    weight = torch.randn(width, width) / width**0.5
    mixing = torch.randn(width, width) / width**0.5
    inputs = torch.randn(4, TOKENS // 4, width) @ mixing
    gathered = RunningHessian(width)
    for _ in range(max(2, 2 * width // TOKENS)):
        gathered.update(torch.randn(4, TOKENS // 4, width) @ mixing)
    hessian = gathered.matrix
    sums = LayerHessian(width)

    def take_columns() -> object:
        with as_published():
            return prune_columns(weight, hessian, 0.3)

    return {
        f"Hessian, {TOKENS} tokens": (lambda: gathered.update(inputs), lambda: sums.update(inputs)),
        "single weights, 50 %": (
            lambda: sweep(weight, hessian, 0.5, inverse=invert(hessian)),
            lambda: prune_unstructured(weight, hessian, 0.5),
        ),
        "neurons, 30 %": (take_columns, lambda: prune_columns(weight, hessian, 0.3)),
    }


def in_a_fork(work: Work) -> Took:
    """Do it in a process that starts with what this one has."""
    context = multiprocessing.get_context("fork")
    end, other = context.Pipe(duplex=False)
    child = context.Process(target=_measure, args=(work, other))
    child.start()
    other.close()
    took: Took = end.recv()
    child.join()
    return took


def _measure(work: Work, end: Connection) -> None:
    _ = torch.eye(64) @ torch.eye(64)  # what a first product allocates is no cost of pruning
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    work()
    seconds = time.perf_counter() - began
    end.send((seconds, 1024.0 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)))


def _tell(took: Took | None) -> str:
    if took is None:
        return f"over {ENOUGH / 60:g} minutes before"
    return f"{took[0]:.3f} s, {took[1] / 2**20:.0f} MiB"

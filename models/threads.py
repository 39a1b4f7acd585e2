"""How many CPU threads an operation may use.

Two threads on two busy cores were measured 5 to 35 times slower than one (barriers wait for a preempted
peer), and another thread count changes the low bits of CPU kernels. So a count is chosen once per process,
and what must replay to the bit names its own. Knows nothing about tools or models.
"""

import os
from collections.abc import Generator
from contextlib import contextmanager

VARIABLE = "MAULSTICK_THREADS"


def choose_threads(workers: int = 1) -> int:
    """Threads for each of `workers` CPU workers: `MAULSTICK_THREADS`, or what the machine's load leaves.

    Without the variable: 1 if the 1-minute load average exceeds half the cores, else the workers' share of
    the cores.

    Raises:
        ValueError: the variable is set to something other than a positive whole number.
    """
    if (setting := os.environ.get(VARIABLE)) is not None:
        if not setting.isascii() or not setting.isdigit() or int(setting) < 1:
            raise ValueError(
                f"{VARIABLE}={setting!r} is not a number of threads: set it to 1 or more, or unset it"
            )
        return int(setting)
    cores = os.cpu_count() or 1
    return 1 if os.getloadavg()[0] > cores / 2 else max(1, cores // workers)


@contextmanager
def fixed_threads(count: int | None) -> Generator[None]:
    """Runs torch operations of the calling thread on `count` threads; None leaves the count as it is."""
    import torch

    before = torch.get_num_threads()
    # Only a change is set: setting it also touches MKL's process-wide count, which other workers read.
    if count is None or count == before:
        yield
        return
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)

"""Lets a person stop a run with Ctrl-C: once to finish the present step, twice to stop at once."""

import asyncio
import signal
from collections.abc import Generator
from contextlib import contextmanager

from langgraph.runtime import RunControl


@contextmanager
def drained_by_signals(control: RunControl) -> Generator[None]:
    """While the block lasts, SIGINT and SIGTERM drain the run of `control`; a second one cancels the
    current task.

    To be entered inside the task that awaits the run, in the main thread.
    """
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()

    def stop(name: str) -> None:
        if control.drain_requested and task is not None:
            task.cancel()
        control.request_drain(name)

    signals = (signal.SIGINT, signal.SIGTERM)
    for number in signals:
        loop.add_signal_handler(number, stop, signal.Signals(number).name)
    try:
        yield
    finally:
        for number in signals:
            loop.remove_signal_handler(number)

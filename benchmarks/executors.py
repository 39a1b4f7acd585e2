"""What an executor costs around a tool that takes no time, and how soon work goes on after a worker's death.

    python -m benchmarks.executors [--kinds local,ray] [--calls 200]

A call goes from `submit` through the queue, a batch and a worker back to the caller. "alone": one call after
the other, each in a batch of its own; "together": all at once. Recovery is measured from the moment that a
worker's process is killed in the middle of a request, until that request's result is there, less the time
that the request takes.
"""

import argparse
import asyncio
import os
import signal
import statistics
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from memory.artifacts import Artifacts
from models.executor import LocalExecutor
from models.picture_request import GenerateRequest
from models.ray_executor import RayExecutor
from models.tool import Tool, ToolContext
from models.tools import builtin_tools

PICTURES = 16
WORK = 2.0
"""Seconds of the request whose worker is killed."""


class Nap(BaseModel):
    """Sleep for so many seconds; `signs` is a file to write the process's id to."""

    seconds: float = 0.0
    signs: Path | None = None


class Napped(BaseModel):
    """Which process slept."""

    pid: int


class Napper(Tool[Nap, Napped, None]):
    """Sleeps."""

    name = "nap"
    summary = "Sleep."
    request_type = Nap
    result_type = Napped
    max_batch = 8

    def model_key(self, request: Nap) -> str:
        """There is one."""
        return "bed"

    def memory_bytes(self, model_key: str) -> int:
        """None."""
        return 0

    def load(self, model_key: str, device: str) -> None:
        """Nothing to load."""

    def run(self, model: None, requests: Sequence[Nap], context: ToolContext) -> list[Napped]:
        """One nap per request, one after the other."""
        for request in requests:
            if request.signs is not None:
                request.signs.write_text(str(os.getpid()))
            time.sleep(request.seconds)
        return [Napped(pid=os.getpid()) for _ in requests]


async def measure_calls(executor: Any, calls: int) -> tuple[float, float]:
    """Milliseconds a call: median of lone ones, and the mean of as many at once."""
    await executor.submit("nap", Nap())
    alone: list[float] = []
    for _ in range(calls):
        began = time.perf_counter()
        await executor.submit("nap", Nap())
        alone.append(time.perf_counter() - began)
    began = time.perf_counter()
    await asyncio.gather(*(executor.submit("nap", Nap()) for _ in range(calls)))
    return 1000 * statistics.median(alone), 1000 * (time.perf_counter() - began) / calls


async def measure_painting(executor: Any) -> float:
    """Seconds for `PICTURES` of the embedded painter, asked for at once, once it is loaded."""
    asked = [GenerateRequest(prompt="a photo of a red cube", seed=seed) for seed in range(PICTURES + 1)]
    await executor.submit("generate_image", asked[-1])
    began = time.perf_counter()
    await asyncio.gather(*(executor.submit("generate_image", request) for request in asked[:PICTURES]))
    return time.perf_counter() - began


async def measure_recovery(executor: Any, folder: Path) -> float:
    """Seconds that the death of the process at work adds to a request."""
    signs = folder / f"pid-{time.monotonic_ns()}"
    await executor.submit("nap", Nap())
    working = asyncio.create_task(executor.submit("nap", Nap(seconds=WORK, signs=signs)))
    while not signs.exists() or not signs.read_text():
        await asyncio.sleep(0.01)
    os.kill(int(signs.read_text()), signal.SIGKILL)
    killed = time.perf_counter()
    await working
    return time.perf_counter() - killed - WORK


async def main(kinds: list[str], calls: int) -> None:
    """Print the figures, the kinds of executor one below the other."""
    tools = [Napper(), *builtin_tools()]
    makers: dict[str, Any] = {"local": LocalExecutor, "ray": RayExecutor}
    for kind in kinds:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            make = partial(makers[kind], tools, Artifacts(folder / "artifacts"), threads=1)
            began = time.perf_counter()
            async with make(devices=("cpu",)) as executor:
                await executor.submit("nap", Nap())
                started = time.perf_counter() - began
                alone, together = await measure_calls(executor, calls)
                painting = await measure_painting(executor)
            print(f"{kind}: first result after {started:.1f} s")
            print(f"{kind}: a call {alone:.2f} ms alone, {together:.2f} ms together")
            print(f"{kind}: {PICTURES} embedded pictures in {painting:.2f} s")
            if kind != "ray":
                continue  # a thread cannot be killed
            for devices in (("cpu",), ("cpu:0", "cpu:1")):
                async with make(devices=devices) as executor:
                    seconds = [await measure_recovery(executor, folder) for _ in range(3)]
                said = ", ".join(f"{one:.2f}" for one in seconds)
                print(f"{kind}: {len(devices)} workers, one killed at work, three times: {said} s more")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kinds", default="local,ray")
    parser.add_argument("--calls", type=int, default=200)
    arguments = parser.parse_args()
    asyncio.run(main(arguments.kinds.split(","), arguments.calls))

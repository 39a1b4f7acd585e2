"""What a refinement costs beside its models: wall time, orchestration, pictures per second, peak memory.

    python -m benchmarks.refinement [--pictures 24] [--runs 3]

Orchestration is everything that is not a tool at work on a device: graph, minds' grammar, clustering, memory,
checkpoints, files. The baseline of the batches is as many pictures painted one at a time in the same run.
"""

import os

from app import ENVIRONMENT

os.environ.update(ENVIRONMENT)  # before torch: batches are only exact, and only then used, with it

import argparse
import asyncio
import resource
import tempfile
import time
from pathlib import Path

from graphs.request import Budget, RefineRequest
from graphs.run import refine
from models.picture_request import GenerateRequest
from serving.assembly import Workshop, open_workshop
from settings import Settings

PROMPT = "There is a cube and a sphere. The former is red, the latter is blue."
"""Clumsy enough that the first painting is mostly wrong."""


async def measure_runs(workshop: Workshop, runs: int, pictures: int) -> tuple[float, float, int]:
    """(wall seconds, seconds of tools at work, pictures) of that many runs."""
    before = tool_seconds(workshop)
    began = time.perf_counter()
    painted = 0
    for seed in range(runs):
        request = RefineRequest(prompt=PROMPT, seed=seed, satisfied_at=5.0, budget=Budget(pictures=pictures))
        painted += (await refine(request, workshop.studio, workshop.home)).pictures
    return time.perf_counter() - began, tool_seconds(workshop) - before, painted


async def measure_batches(workshop: Workshop, pictures: int = 8) -> tuple[float, float]:
    """Seconds for `pictures` pictures: together, and one after the other with other seeds."""
    requests = [GenerateRequest(prompt="a photo of a red cube", seed=seed) for seed in range(2 * pictures)]
    began = time.perf_counter()
    await asyncio.gather(*(workshop.executor.submit("generate_image", r) for r in requests[:pictures]))
    together = time.perf_counter() - began
    began = time.perf_counter()
    for request in requests[pictures:]:
        await workshop.executor.submit("generate_image", request)
    return together, time.perf_counter() - began


def tool_seconds(workshop: Workshop) -> float:
    """Seconds that tools were at work so far, loading included."""
    return sum(stats.load_seconds + stats.run_seconds for stats in workshop.executor.stats().values())


async def main(runs: int, pictures: int) -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(home=Path(folder), device="cpu")
        began = time.perf_counter()
        async with open_workshop(settings, "embedded", "embedded") as workshop:
            await measure_runs(workshop, 1, pictures)
            first = time.perf_counter() - began
            wall, tools, painted = await measure_runs(workshop, runs, pictures)
            together, alone = await measure_batches(workshop)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"first run, models loaded on the way   {first:6.1f} s for {pictures} pictures")
    print(f"a run after that                      {wall / runs:6.1f} s, {painted / wall:.2f} pictures/s")
    print(f"orchestration                         {100 * (wall - tools) / wall:6.1f} % of the wall time")
    print(f"eight pictures in one batch           {alone / together:6.2f} x as fast as one at a time")
    print(f"peak memory                           {peak:6.2f} GiB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--pictures", type=int, default=24)
    arguments = parser.parse_args()
    asyncio.run(main(arguments.runs, arguments.pictures))

"""Is the simulation right? Real refinements on this machine against simulated ones, in the same run.

    python -m benchmarks.validation [--runs 8] [--scale 0.2]

"Slow" runs are around a painter and a mind that take time and nothing else (`benchmarks/synthetic.py`), on
one worker and on two, with a mind that has a few places; "embedded" runs paint and look for real. What single
batches and the graph's own work take is measured first, alone; then several runs begin at once, and the
simulation has to say how long they take.
"""

import os

from app import ENVIRONMENT

os.environ.update(ENVIRONMENT)  # before torch: batches are only exact, and only then used, with it

import argparse
import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel

from benchmarks.refinement import tool_seconds
from benchmarks.simulation import PAINT, Batches, Simulation, World
from benchmarks.synthetic import MAX_BATCH, PROMPT, Latency, SleepingMind, SleepingPainter
from benchmarks.traces import Trace, record
from diorama.families import cases
from diorama.vocabulary import load_vocabulary
from graphs.context import Studio
from graphs.request import Budget, RefineRequest
from graphs.run import Home
from memory.artifacts import Artifacts
from memory.ledger import Ledger
from models.critique_image import CritiqueRequest
from models.executor import Executor, LocalExecutor
from models.picture_request import GenerateRequest, GenerateResult
from serving.assembly import Workshop, open_workshop
from settings import Settings

ROLES = (
    "decompose", "question", "caption", "check_caption", "answer", "rate", "integrate", "locate", "propose",
    "explain",
)  # fmt: skip
PLACES = 8
"""Calls that the slow mind answers at once."""
LOOK = "look"
PICTURES = 24


@dataclass(frozen=True, slots=True)
class Compared:
    """One experiment: seconds until all runs had ended, and their mean latency; real and simulated."""

    name: str
    real: tuple[float, float]
    simulated: tuple[float, float]

    @property
    def errors(self) -> tuple[float, float]:
        """Relative errors of the simulation."""
        return (
            self.simulated[0] / self.real[0] - 1,
            self.simulated[1] / self.real[1] - 1,
        )


async def run_together(
    requests: Sequence[RefineRequest], studio: Studio, home: Home
) -> tuple[list[Trace], tuple[float, float]]:
    """(traces, seconds until all had ended, mean latency) of refinements that begin at once."""

    async def one(request: RefineRequest) -> tuple[Trace, float]:
        began = time.perf_counter()
        return await record(request, studio, home), time.perf_counter() - began

    began = time.perf_counter()
    done = await asyncio.gather(*map(one, requests))
    seconds = time.perf_counter() - began
    return [trace for trace, _ in done], (seconds, sum(latency for _, latency in done) / len(done))


def simulate(traces: Sequence[Trace], world: World) -> tuple[float, float]:
    """The same of simulated ones."""
    outcome = Simulation(world).run([(0.0, trace) for trace in traces])
    return outcome.seconds, sum(outcome.latencies) / len(outcome.latencies)


async def slow_studio(
    folder: Path, latency: Latency, workers: int, use: Callable[[Studio, Home], Awaitable[Any]]
) -> Any:
    """Use a studio that takes this long."""
    folder.mkdir(parents=True)
    artifacts, painter = Artifacts(folder / "artifacts"), SleepingPainter(latency)
    devices = tuple(f"cpu:{number}" for number in range(workers))
    with Ledger(folder / "ledger.db") as ledger:
        async with LocalExecutor([painter], artifacts, devices=devices, threads=1) as executor:
            mind = SleepingMind(latency, places=PLACES)
            studio = Studio(executor=executor, artifacts=artifacts, mind=mind, patterns=("there_is",))
            return await use(studio, Home(folder, ledger))


def _slow_requests(runs: int) -> list[RefineRequest]:
    return [
        RefineRequest(prompt=PROMPT, candidates=8, seed=seed, budget=Budget(pictures=PICTURES))
        for seed in range(runs)
    ]


async def measure_painting(executor: Executor) -> Batches:
    """What painting takes, by batches of several sizes; each size twice, the quicker one counts."""
    seconds: dict[int, float] = {}
    for size in (1, 4, MAX_BATCH):
        for turn in range(2):
            first = 1000 * size + 100 * turn
            asked = [GenerateRequest(prompt="a photo of a red apple", seed=first + n) for n in range(size)]
            took = await _time(executor, "generate_image", asked)
            seconds[size] = min(took, seconds.get(size, took))
    return _fit(seconds, MAX_BATCH)


async def _time(executor: Executor, tool: str, requests: Sequence[BaseModel]) -> float:
    began = time.perf_counter()
    await asyncio.gather(*(executor.submit(tool, request) for request in requests))
    return time.perf_counter() - began


async def measure_overhead(folder: Path) -> float:
    """Seconds of the graph's own work per node, from runs whose models take no time."""

    async def use(studio: Studio, home: Home) -> float:
        await run_together(_slow_requests(1), studio, home)
        traces, (seconds, _) = await run_together(_slow_requests(4), studio, home)
        nodes = sum(getattr(step, "nodes", 1) for trace in traces for step in trace)
        return seconds / nodes

    return await slow_studio(folder, Latency(0.0, 0.0, 0.0), 1, use)


async def compare_slow(folder: Path, latency: Latency, runs: int, workers: int, overhead: float) -> Compared:
    """Slow runs at once."""

    async def measure(studio: Studio, home: Home) -> Batches:
        return await measure_painting(studio.executor)

    async def use(studio: Studio, home: Home) -> Any:
        return await run_together(_slow_requests(runs), studio, home)

    painting = await slow_studio(folder / "alone", latency, 1, measure)
    traces, real = await slow_studio(folder / "runs", latency, workers, use)
    world = World(
        devices=((PAINT,),) * workers,
        batches={PAINT: painting},
        calls=dict.fromkeys(ROLES, latency.call),
        places=PLACES,
        overhead=overhead,
    )
    return Compared(f"slow, {runs} runs, {workers} workers", real, simulate(traces, world))


async def compare_embedded(folder: Path, runs: int) -> Compared:
    """Runs that paint and look for real, on one worker."""
    settings = Settings(home=folder, device="cpu")
    vocabulary = load_vocabulary("cpu_names")
    asked = [
        RefineRequest(prompt=case.prompt, seed=seed, budget=Budget(pictures=PICTURES))
        for seed, case in enumerate(cases("heldout", ("two_object",), runs + 1, 5, vocabulary))
    ]
    async with open_workshop(settings, "embedded", "embedded") as workshop:
        await run_together(asked[-1:], workshop.studio, workshop.home)  # loads the models
        batches = await measure_batches(workshop)
        before = tool_seconds(workshop)
        traces: list[Trace] = []
        seconds = 0.0
        for request in asked[:3]:
            again = request.model_copy(update={"seed": request.seed + 100})
            more, (took, _) = await run_together([again], workshop.studio, workshop.home)
            traces, seconds = traces + more, seconds + took
        nodes = sum(getattr(step, "nodes", 1) for trace in traces for step in trace)
        overhead = (seconds - (tool_seconds(workshop) - before)) / nodes
        traces, real = await run_together(asked[:-1], workshop.studio, workshop.home)
    world = World(devices=((PAINT, LOOK),), batches=batches, calls={"answer": LOOK}, overhead=overhead)
    return Compared(f"embedded, {runs} runs", real, simulate(traces, world))


async def measure_batches(workshop: Workshop) -> dict[str, Batches]:
    """What painting and looking take, by batches of one and of several."""
    executor = workshop.executor
    request = GenerateRequest(prompt="a photo of a red apple", seed=1)
    painted = GenerateResult.model_validate(await executor.submit("generate_image", request))
    look = CritiqueRequest(picture=painted.picture)
    looking = {size: await _time(executor, "critique_image", [look] * size) for size in (1, 4)}
    return {PAINT: await measure_painting(executor), LOOK: _fit(looking, 16)}


def _fit(seconds: dict[int, float], most: int) -> Batches:
    """The line through the measured sizes."""
    further, first = np.polyfit([size - 1 for size in seconds], list(seconds.values()), 1)
    return Batches(float(first), max(0.0, float(further)), most)


async def main(runs: int, scale: float) -> None:
    """Print the table."""
    latency = Latency().scaled(scale)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        overhead = await measure_overhead(folder / "overhead")
        print(f"the graph's own work: {1000 * overhead:.1f} ms a node")
        experiments = [
            await compare_slow(folder / "one", latency, 1, 1, overhead),
            await compare_slow(folder / "several", latency, runs, 1, overhead),
            await compare_slow(folder / "two", latency, runs, 2, overhead),
            await compare_embedded(folder / "embedded", max(2, runs // 2)),
        ]
    print(f"{'':28}{'all ended after':>24}{'mean latency':>24}")
    for one in experiments:
        (real, latency_real), (simulated, latency_simulated) = one.real, one.simulated
        first, second = (f"{error:+.0%}" for error in one.errors)
        print(
            f"{one.name:28}{real:8.1f} {simulated:8.1f} {first:>6}{latency_real:8.1f} "
            f"{latency_simulated:8.1f} {second:>6}"
        )
    print("(seconds: real, simulated, error)")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=8)
    parser.add_argument("--scale", type=float, default=0.2)
    arguments = parser.parse_args()
    asyncio.run(main(arguments.runs, arguments.scale))

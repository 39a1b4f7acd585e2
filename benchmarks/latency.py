"""The loop's wall time around slow models, against the order of the paper's code in the same run.

    python -m benchmarks.latency [--scale 0.2] [--candidates 20] [--pictures 47]

The baseline paints as many pictures, one at a time; asks each question in a call of its own, rates once (the
paper's code rates three times), and makes one call to rewrite and one to merge per candidate, all one after
the other (specs of GenPilot's code, A.6 21 to 23). It waits for real, as the loop does.
"""

import argparse
import asyncio
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.synthetic import PROMPT, QUESTIONS, THINGS, Latency, SleepingMind, SleepingPainter
from graphs.context import Studio
from graphs.request import Budget, RefineRequest
from graphs.run import Home, load_state, refine
from memory.artifacts import Artifacts
from memory.ledger import Ledger
from models.executor import LocalExecutor


@dataclass(frozen=True, slots=True)
class Measured:
    """One refinement: wall seconds, pictures and candidates painted, batches and calls that they took."""

    seconds: float
    pictures: int
    candidates: int
    batches: int
    calls: int


async def run_loop(folder: Path, latency: Latency, candidates: int, pictures: int) -> Measured:
    """Refine once."""
    mind, painter, artifacts = (
        SleepingMind(latency),
        SleepingPainter(latency),
        Artifacts(folder / "artifacts"),
    )
    request = RefineRequest(prompt=PROMPT, candidates=candidates, budget=Budget(pictures=pictures))
    with Ledger(folder / "ledger.db") as ledger:
        async with LocalExecutor([painter], artifacts, devices=("cpu",), threads=1) as executor:
            studio = Studio(executor=executor, artifacts=artifacts, mind=mind, patterns=("there_is",))
            began = time.perf_counter()
            home = Home(folder, ledger)
            result = await refine(request, studio, home)
            seconds = time.perf_counter() - began
            state = await load_state(result.run_id, home)
    proposed = len(state.candidates) - 1  # beside the original
    return Measured(seconds, result.pictures, proposed, len(painter.batches), sum(mind.calls.values()))


async def run_in_sequence(latency: Latency, pictures: int, candidates: int) -> tuple[float, int]:
    """(wall seconds, calls to the mind) of the paper's order for as many pictures and candidates."""
    calls = 1 + len(THINGS)  # taken apart; the questions of each sentence
    calls += 1 + len(THINGS)  # the caption, held against each sentence
    calls += pictures * (QUESTIONS + 1)  # each question; one rating
    calls += 2 * candidates  # rewritten; merged
    began = time.perf_counter()
    for _ in range(pictures):
        await asyncio.sleep(latency.picture)
    for _ in range(calls):
        await asyncio.sleep(latency.call)
    return time.perf_counter() - began, calls


async def main(scale: float, candidates: int, pictures: int) -> None:
    """Print the table."""
    latency = Latency().scaled(scale)
    with tempfile.TemporaryDirectory() as folder:
        loop = await run_loop(Path(folder), latency, candidates, pictures)
    seconds, calls = await run_in_sequence(latency, loop.pictures, loop.candidates)
    print(f"a picture {latency.picture:g} s, eight {latency.batch_of_8:g} s, a call {latency.call:g} s")
    print(
        f"the loop           {loop.seconds:7.1f} s: {loop.pictures} pictures in {loop.batches} batches, "
        f"{loop.calls} calls"
    )
    print(f"the paper's order  {seconds:7.1f} s: {loop.pictures} pictures one by one, {calls} calls")
    print(f"{seconds / loop.seconds:.1f} x as fast; calls saved: {1 - loop.calls / calls:.0%}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scale", type=float, default=0.2)
    parser.add_argument("--candidates", type=int, default=20)
    parser.add_argument("--pictures", type=int, default=47)
    arguments = parser.parse_args()
    asyncio.run(main(arguments.scale, arguments.candidates, arguments.pictures))

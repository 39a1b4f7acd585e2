"""What becomes of runs whose minds and painter fail at random: how they end, and what it costs.

    python -m benchmarks.faults [--runs 50] [--out docs/images/faults.png]

Faults strike 0, 10, 30 and 60 % of all calls to the mind and of all batches painted, decided by a seed.
A mind that is struck is asked once more, as minds that read are; a painter's fault is a worker that could not
be reached, which the graph tries again by itself. A run that is not over after a minute counts as stuck.
"""

import argparse
import asyncio
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from benchmarks.synthetic import PROMPT, Faults, Latency, SleepingMind, SleepingPainter
from graphs.context import Studio
from graphs.request import Budget, RefineRequest
from graphs.run import Home, refine
from memory.artifacts import Artifacts
from memory.ledger import Ledger
from models.executor import LocalExecutor
from models.tool import ToolError

RATES = (0.0, 0.1, 0.3, 0.6)
PICTURES = 10
PATIENCE = 60.0
COLOURS = {"done": "#4c9f70", "degraded": "#e0a94a", "failed": "#b5483f", "stuck": "#222222"}


@dataclass(slots=True)
class Ends:
    """How the runs at one rate of faults ended."""

    rate: float
    ends: Counter[str] = field(default_factory=Counter[str])
    calls: list[int] = field(default_factory=list[int])
    seconds: list[float] = field(default_factory=list[float])
    notes: int = 0


async def measure(rate: float, runs: int) -> Ends:
    """Refine `runs` times with faults at `rate`."""
    found = Ends(rate)
    for seed in range(runs):
        began = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            found.ends[await _run(Path(folder), Faults(rate, seed), found)] += 1
        found.seconds.append(time.perf_counter() - began)
    return found


async def _run(folder: Path, faults: Faults, found: Ends) -> str:
    """One run: done, degraded (it says what it did without), failed, or stuck."""
    none = Latency(0.0, 0.0, 0.0)
    mind, artifacts = SleepingMind(none, faults), Artifacts(folder / "artifacts")
    request = RefineRequest(prompt=PROMPT, budget=Budget(pictures=PICTURES), seed=faults.seed)
    with Ledger(folder / "ledger.db") as ledger:
        painter = SleepingPainter(none, faults)
        async with LocalExecutor([painter], artifacts, devices=("cpu",), threads=1) as executor:
            studio = Studio(executor=executor, artifacts=artifacts, mind=mind, patterns=("there_is",))
            try:
                result = await asyncio.wait_for(refine(request, studio, Home(folder, ledger)), PATIENCE)
            except TimeoutError:
                return "stuck"
            except ToolError:
                return "failed"
    found.calls.append(sum(mind.calls.values()))
    found.notes += len(result.notes)
    if result.status == "failed":
        return "failed"
    return "degraded" if result.notes else "done"


def draw(rows: list[Ends], path: Path) -> None:
    """A bar per rate, its parts as long as the shares of how runs ended."""
    font = ImageFont.load_default(15)
    picture = Image.new("RGB", (760, 60 + 46 * len(rows)), "white")
    pen = ImageDraw.Draw(picture)
    for index, row in enumerate(rows):
        top, left = 16 + 46 * index, 150
        calls = sum(row.calls) / max(len(row.calls), 1)
        pen.text((10, top + 6), f"{row.rate:.0%} of calls fail", "black", font)
        for end, colour in COLOURS.items():
            width = round(440 * row.ends[end] / row.ends.total())
            pen.rectangle((left, top, left + width, top + 28), colour)
            left += width
        pen.text((604, top + 6), f"{calls:.0f} calls a run", "black", font)
    left = 150
    for end, colour in COLOURS.items():
        pen.rectangle((left, picture.height - 30, left + 14, picture.height - 16), colour)
        pen.text((left + 20, picture.height - 33), end, "black", font)
        left += 100
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)


async def main(runs: int, out: Path) -> None:
    """Print the table and draw it."""
    rows = [await measure(rate, runs) for rate in RATES]
    print("faults   done  degraded  failed  stuck   calls a run   notes a run   s a run")
    for row in rows:
        ends = "".join(f"{row.ends[end]:8d}" for end in COLOURS)
        calls = sum(row.calls) / max(len(row.calls), 1)
        seconds = sum(row.seconds) / runs
        print(f"{row.rate:5.0%} {ends} {calls:12.1f} {row.notes / runs:13.1f} {seconds:9.2f}")
    draw(rows, out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--out", type=Path, default=Path("docs/images/faults.png"))
    arguments = parser.parse_args()
    asyncio.run(main(arguments.runs, arguments.out))

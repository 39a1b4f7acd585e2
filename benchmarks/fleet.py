"""What refinements cost on 1, 8 and 64 GPUs, and how many a million prompts a day take: simulated.

    python -m benchmarks.fleet [--picture 1] [--batch-of-8 3] [--call 0.5] [--prompts 36] [--out PICTURE]

The runs are traces of real ones on held-out prompts, so rounds, pictures and calls are as the loop makes
them; the times of a GPU are what the options say: one that paints, and one whose model answers up to 16 calls
at once. Some GPUs paint and the others answer, in the proportion that gets most prompts done (a single one
does both in turn). Runs arrive by chance, at a share of what the fleet can do at most.
`benchmarks/validation.py` says how far the model can be trusted.
"""

import os

from app import ENVIRONMENT

os.environ.update(ENVIRONMENT)  # before torch: batches are only exact, and only then used, with it

import argparse
import asyncio
import random
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from rich.progress import track

from benchmarks.simulation import PAINT, Batches, Outcome, Simulation, World
from benchmarks.traces import Paint, Think, Trace, record
from benchmarks.validation import ROLES
from diorama.families import FAMILIES, cases
from diorama.vocabulary import load_vocabulary
from graphs.request import Budget, RefineRequest
from serving.assembly import open_workshop
from settings import Settings

ANSWER = "answer"
"""The kind of job on a device whose model answers calls."""
FLEETS = (1, 8, 64)
LOADS = (0.2, 0.4, 0.6, 0.7, 0.8, 0.9)
USUAL_LOAD = 0.7
A_DAY = 1_000_000
PER_SERVER = 4
"""GPUs for each process that runs graphs."""
COLOURS = ("#b85c38", "#33658a", "#4a7c59")


@dataclass(frozen=True, slots=True)
class Speeds:
    """Seconds on one GPU: a picture, eight in a batch, and a call to a mind, of which it answers
    `calls_at_once`; of the graph's own work per node.
    """

    picture: float
    batch_of_8: float
    call: float
    calls_at_once: int = 16
    overhead: float = 0.004

    def world(self, painters: int, answerers: int) -> World:
        """A fleet of so many GPUs of each kind; with no answerers the painters answer too."""
        devices = ((PAINT,) if answerers else (PAINT, ANSWER),) * painters + ((ANSWER,),) * answerers
        return World(
            devices=devices,
            batches={
                PAINT: Batches(self.picture, (self.batch_of_8 - self.picture) / 7, 8),
                ANSWER: Batches(self.call, 0.0, self.calls_at_once),
            },
            calls=dict.fromkeys((*ROLES, "merge"), ANSWER),
            overhead=self.overhead,
            interpreters=max(1, len(devices) // PER_SERVER),
        )


@dataclass(frozen=True, slots=True)
class Fleet:
    """GPUs by what they do, and prompts a second that they can do at most."""

    painters: int
    answerers: int
    most: float

    @property
    def size(self) -> int:
        """All GPUs."""
        return self.painters + self.answerers

    @property
    def words(self) -> str:
        """How the work is shared out."""
        return f"{self.painters} paint, {self.answerers} answer" if self.answerers else "does both"


async def record_runs(prompts: int) -> list[Trace]:
    """Refine held-out prompts of all families on the embedded backend, one after the other."""
    vocabulary = load_vocabulary("cpu_names")
    each = -(-prompts // len(FAMILIES))
    asked = cases("heldout", FAMILIES, each, 1, vocabulary)[:prompts]
    traces: list[Trace] = []
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(home=Path(folder), device="cpu")
        async with open_workshop(settings, "embedded", "embedded") as workshop:
            studio = replace(workshop.studio, learning=False)
            for seed, case in enumerate(track(asked, "refining for real")):
                request = RefineRequest(prompt=case.prompt, seed=seed, budget=Budget(pictures=12))
                traces.append(await record(request, studio, workshop.home))
    return traces


def draw_runs(traces: Sequence[Trace], count: int, seed: int) -> list[Trace]:
    """That many runs, each as one of the traces."""
    return random.Random(seed).choices(traces, k=count)


def find_fleet(size: int, traces: Sequence[Trace], speeds: Speeds) -> Fleet:
    """The split of this many GPUs that gets most done, with always a run at hand."""
    if size == 1:
        return Fleet(1, 0, _most(speeds.world(1, 0), traces, size))
    answerers = sorted({max(1, round(size * share)) for share in np.linspace(0.05, 0.6, 12)})
    found = [
        Fleet(size - count, count, _most(speeds.world(size - count, count), traces, size))
        for count in answerers
        if count < size
    ]
    return max(found, key=lambda fleet: fleet.most)


def scale(fleet: Fleet, most: float) -> Fleet:
    """A fleet of the same proportions for so many prompts a second at most."""
    size = ceil(fleet.size * most / fleet.most)
    answerers = round(size * fleet.answerers / fleet.size)
    return Fleet(size - answerers, answerers, most)


def _most(world: World, traces: Sequence[Trace], size: int) -> float:
    """Prompts a second while all are busy: those of the middle half of a burst."""
    runs = draw_runs(traces, 60 * size, seed=size)
    ends = sorted(Simulation(world).run([(0.0, trace) for trace in runs]).latencies)
    first, last = len(ends) // 4, 3 * len(ends) // 4
    return (last - first) / (ends[last] - ends[first])


def serve(fleet: Fleet, load: float, traces: Sequence[Trace], speeds: Speeds, runs: int) -> Outcome:
    """Let runs arrive by chance at `load` times the most that the fleet can do."""
    rng = np.random.default_rng(round(1000 * load) + fleet.size)
    times = np.cumsum(rng.exponential(1 / (load * fleet.most), runs))
    arrivals = list(zip(times.tolist(), draw_runs(traces, runs, seed=7), strict=True))
    return Simulation(speeds.world(fleet.painters, fleet.answerers)).run(arrivals)


def percentiles(outcome: Outcome) -> tuple[float, float]:
    """Median and 95th percentile of the latencies, in seconds, without the first fifth (an idle fleet)."""
    settled = outcome.latencies[len(outcome.latencies) // 5 :]
    return float(np.percentile(settled, 50)), float(np.percentile(settled, 95))


def draw(curves: dict[str, list[tuple[float, float]]], path: Path) -> None:
    """Median (line) and 95th percentile (dots) of the latency over the load, a colour for each fleet."""
    font = ImageFont.load_default(15)
    picture = Image.new("RGB", (760, 380), "white")
    pen = ImageDraw.Draw(picture)
    left, right, top, bottom = 70, 600, 30, 330
    highest = 20 * ceil(max(value for curve in curves.values() for pair in curve for value in pair) / 20)

    def place(load: float, seconds: float) -> tuple[float, float]:
        return left + (right - left) * load, bottom - (bottom - top) * seconds / highest

    for step in range(5):
        seconds = highest * step / 4
        pen.line((*place(0, seconds), *place(1, seconds)), "#dddddd")
        pen.text((10, place(0, seconds)[1] - 9), f"{seconds:.0f} s", "black", font)
    for load in LOADS:
        pen.text((place(load, 0)[0] - 14, bottom + 8), f"{load:.0%}", "black", font)
    pen.text((left, bottom + 28), "share of the most that the fleet can do", "black", font)
    for index, (name, curve) in enumerate(curves.items()):
        colour = COLOURS[index]
        pen.line([place(load, pair[0]) for load, pair in zip(LOADS, curve, strict=True)], colour, 3)
        for load, pair in zip(LOADS, curve, strict=True):
            x, y = place(load, pair[1])
            pen.ellipse((x - 4, y - 4, x + 4, y + 4), colour)
        pen.text((614, 40 + 24 * index), name, colour, font)
    pen.text((614, 40 + 24 * len(curves)), "line: median", "black", font)
    pen.text((614, 64 + 24 * len(curves)), "dots: 95th percentile", "black", font)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)


def describe(traces: Sequence[Trace]) -> str:
    """Means of the recorded runs, in one line."""
    pictures = [sum(step.pictures for step in trace if isinstance(step, Paint)) for trace in traces]
    calls = [
        sum(len(chain) for step in trace if isinstance(step, Think) for chain in step.chains)
        for trace in traces
    ]
    return (
        f"{len(traces)} recorded runs: {np.mean(pictures):.1f} pictures and {np.mean(calls):.1f} calls each"
    )


def row(fleet: Fleet, outcome: Outcome, price: float) -> str:
    """A line of the table."""
    median, most = percentiles(outcome)
    a_second = USUAL_LOAD * fleet.most
    cost = fleet.size * price / 3600 / a_second
    return (
        f"{fleet.size:5d} {fleet.words:26}{3600 * a_second:12,.0f}{median:9.0f}{most:9.0f}"
        f"{np.mean(outcome.busy):8.0%}{outcome.batch:8.1f}{1000 * cost:12.2f}"
    )


def main(speeds: Speeds, prompts: int, price: float, out: Path) -> None:
    """Print the table and draw it."""
    traces = asyncio.run(record_runs(prompts))
    print(describe(traces))
    print(
        f"a GPU paints one picture in {speeds.picture:g} s and eight in {speeds.batch_of_8:g} s, or answers "
        f"{speeds.calls_at_once} calls in {speeds.call:g} s; ${price:g} an hour; arrivals at {USUAL_LOAD:.0%}"
    )
    print(" GPUs work                       prompts/h   median   95th %    busy   batch  $/1000 prompts")
    curves: dict[str, list[tuple[float, float]]] = {}
    fleets = [find_fleet(size, traces, speeds) for size in FLEETS]
    for fleet in fleets:
        outcomes = [serve(fleet, load, traces, speeds, max(400, 25 * fleet.size)) for load in LOADS]
        curves["1 GPU" if fleet.size == 1 else f"{fleet.size} GPUs"] = [
            percentiles(outcome) for outcome in outcomes
        ]
        print(row(fleet, outcomes[LOADS.index(USUAL_LOAD)], price))
    large = scale(fleets[-1], A_DAY / 86_400 / USUAL_LOAD)
    print(row(large, serve(large, USUAL_LOAD, traces, speeds, 8000), price), " a million prompts a day")
    draw(curves, out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--picture", type=float, default=1.0)
    parser.add_argument("--batch-of-8", type=float, default=3.0)
    parser.add_argument("--call", type=float, default=0.5)
    parser.add_argument("--prompts", type=int, default=36)
    parser.add_argument("--price", type=float, default=2.5, help="dollars for a GPU's hour")
    parser.add_argument("--out", type=Path, default=Path("docs/images/fleet.png"))
    arguments = parser.parse_args()
    speeds = Speeds(arguments.picture, arguments.batch_of_8, arguments.call)
    main(speeds, arguments.prompts, arguments.price, arguments.out)

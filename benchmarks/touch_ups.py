"""What touching up does to pictures that satisfy: what is right, how near they come to real ones, and time.

    python -m benchmarks.touch_ups [--count 12] [--judge JUDGE]

Every held-out prompt, in GenEval's own wording, is painted once by the shipped painter. Those that the critic
finds right at once are touched up, as `maulstick refine` does. Right is what shows exactly what was asked, by
the judge. The distance is that of `benchmarks.samplers`, to renders of the same prompts; other renders are
the first row. "All" are the pictures as they were touched up, "kept" those that were delivered: where the
critic found the outcome wrong, the picture as it was found. Needs the sprite atlas (`make sprites`).
"""

import os

from app import ENVIRONMENT

os.environ.update(ENVIRONMENT)

import argparse
import asyncio
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.samplers import Real, draw_cases, render_all
from diorama.families import Case
from diorama.scene import Scene
from diorama.vocabulary import load_vocabulary
from diorama.wording import say
from graphs.events import Event, Stepped, TouchedUp
from graphs.request import Budget, RefineRequest
from graphs.run import refine
from models.artifact import ArtifactRef
from models.backends import WEIGHTS
from models.embedded.perception import load_perceiver, stack_pictures
from models.embedded.training.replacing import find_vocabulary
from models.embedded.training.samples import judge_picture
from models.threads import fixed_threads
from serving.assembly import Workshop, open_workshop
from settings import Settings

SEED = 9014


@dataclass(frozen=True, slots=True)
class Touched:
    """A picture that satisfied: as it was found, touched up, and delivered."""

    case: Case
    scenes: tuple[Scene, Scene]
    found: Image.Image
    touched: Image.Image
    delivered: Image.Image
    kept: bool
    seconds: float
    """That touching up took."""


async def touch_up(workshop: Workshop, case: Case, scenes: tuple[Scene, Scene], seed: int) -> Touched | None:
    """Paint a case once; None where the picture does not satisfy or nothing in it is touched up."""
    events: list[Event] = []
    request = RefineRequest(prompt=say(case.graph), seed=seed, budget=Budget(pictures=1), touch_up=True)
    studio = replace(workshop.studio, learning=False, episodes=None, posterior=None, seeds=None)
    result = await refine(request, studio, workshop.home, events.append)
    done = [event for event in events if isinstance(event, TouchedUp) and event.picture]
    if not done or result.picture is None:
        return None
    [began] = [event.at for event in events if isinstance(event, Stepped) and event.node == "touch_up"]

    def load(ref: ArtifactRef | None) -> Image.Image:
        assert ref is not None
        return workshop.artifacts.load_image(ref)

    kept = result.found_picture is not None
    found = load(result.found_picture or result.picture)
    seconds = done[0].at - began
    return Touched(case, scenes, found, load(done[0].picture), load(result.picture), kept, seconds)


async def touch_all(count: int) -> list[Touched]:
    """Touch up what satisfies of `count` cases of each family."""
    words = load_vocabulary(find_vocabulary(WEIGHTS / "painter"))
    drawn = draw_cases(words, count, SEED)
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(home=Path(folder), device="cpu")
        async with open_workshop(settings, "embedded", "embedded") as workshop:
            console = Console(stderr=True)
            found = [
                await touch_up(workshop, case, scenes, SEED + number)
                for number, (case, scenes) in enumerate(track(drawn, "painted", console=console))
            ]
    return [touched for touched in found if touched is not None]


def tabulate(done: Sequence[Touched], judge: Path) -> Table:
    """A row for other renders, for the pictures as found, as touched up, and as delivered."""
    eyes = load_perceiver(judge)
    real = Real(eyes, render_all([touched.scenes[0] for touched in done]))
    table = Table("pictures", "right", "distance")

    def add(name: str, pictures: torch.Tensor) -> None:
        verdicts = [
            judge_picture(touched.case, report)[0]
            for touched, report in zip(done, eyes.perceive_tensor(pictures), strict=True)
        ]
        table.add_row(name, f"{sum(verdicts) / len(verdicts):.3f}", f"{real.distance(pictures):.1f}")

    add("rendered", render_all([touched.scenes[1] for touched in done]))
    add("as found", stack_pictures([touched.found for touched in done]))
    add("touched up, all", stack_pictures([touched.touched for touched in done]))
    add("touched up, kept", stack_pictures([touched.delivered for touched in done]))
    kept, seconds = sum(touched.kept for touched in done), sum(touched.seconds for touched in done)
    table.caption = f"{len(done)} pictures, {kept} kept; {seconds / len(done):.1f} s each to touch up"
    return table


def main(arguments: Sequence[str] | None = None) -> None:
    """The benchmark's command; see the module."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--judge", type=Path, default=WEIGHTS / "judge")
    parser.add_argument("--count", type=int, default=12)
    asked = parser.parse_args(arguments)
    done = asyncio.run(touch_all(asked.count))
    if not done:
        raise SystemExit("no picture satisfied at once: ask for more with --count")
    with fixed_threads(1):
        Console(width=100).print(tabulate(done, asked.judge))


if __name__ == "__main__":
    main()

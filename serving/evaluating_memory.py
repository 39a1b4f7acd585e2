"""The command `evaluate memory`: warms a memory on training prompts and measures what it saves on others."""

import asyncio
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from evaluation.diorama import Experiment
from evaluation.remembering import MemoryReport, compare, warm, write_memory_report
from memory.episodes import Episodes
from memory.ledger import Ledger
from memory.patterns import PatternPosterior
from memory.seeds import SeedPosterior
from serving.assembly import open_workshop
from serving.configuration import configure
from serving.evaluating import check_same, find_taught_vocabulary, hash_weights
from serving.home import DataFolder, check_writable
from settings import Settings


def evaluate_memory(train: int, count: int, images: int, seed: int, out: Path, as_json: bool) -> int:
    """Warm on `train` prompts, compare on `count`; a second call goes on with the warming that `out` holds.

    The memory is warmed on training scenes, said in the manner of the held-out prompts: what helps against a
    wording can be learnt only where it is met.

    Raises:
        UserError: weights are missing, `out` takes no files or holds an evaluation with another warming.
    """
    check_writable(out, "--out")
    held_out = Experiment(vocabulary=find_taught_vocabulary(), count=count, images=images, seed=seed)
    training = replace(held_out, split="train", wordings="heldout", count=train, seed=seed + 1)
    warming = {f"warming_{name}": value for name, value in training.facts().items()}
    own = {"home": out / "home", "database": None, "chroma": None}  # what is measured is nobody else's memory
    settings = configure().model_copy(update=own)
    check_same(out, held_out.facts() | warming | {"weights": hash_weights(), "depth": settings.depth})
    report = asyncio.run(_measure(settings, training, held_out, out))
    write_memory_report(report, out)
    print(report.model_dump_json() if as_json else report)
    return 0


async def _measure(settings: Settings, training: Experiment, held_out: Experiment, out: Path) -> MemoryReport:
    empty = DataFolder(out / "empty")
    empty.root.mkdir(parents=True, exist_ok=True)
    async with open_workshop(settings, settings.mind, held_out.backend) as workshop:
        with (
            Ledger(empty.ledger) as ledger,
            Episodes(ledger, empty.vectors) as episodes,
            Progress(console=Console(stderr=True), transient=True) as progress,
        ):
            warming = progress.add_task("warming", total=len(training.cases()))
            comparing = progress.add_task("comparing", total=len(held_out.cases()))
            await warm(training, workshop.studio, workshop.home, lambda _: progress.advance(warming))
            forgetful = replace(
                workshop.studio,
                episodes=episodes,
                posterior=PatternPosterior(ledger),
                seeds=SeedPosterior(ledger),
            )
            return await compare(
                held_out, forgetful, workshop.studio, workshop.home, lambda _: progress.advance(comparing)
            )

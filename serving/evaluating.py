"""The command `evaluate diorama`: opens a studio, runs the benchmark, prints and keeps its report."""

import asyncio
import json
from pathlib import Path
from typing import get_args

from pydantic import JsonValue
from rich.console import Console
from rich.progress import Progress

from evaluation.diorama import ARMS, Arm, Experiment, Prompts, evaluate
from evaluation.outcome import Outcome, Rows
from evaluation.report import make_report, write_report
from serving.assembly import open_workshop
from serving.configuration import configure
from serving.doctor import find_vocabulary, find_weights
from serving.failures import UserError
from serving.home import check_writable
from settings import Settings


def evaluate_diorama(
    prompts: str, images: int, count: int, arms: str, seed: int, out: Path, as_json: bool
) -> int:
    """Measure arms at equal picture budgets, by the judge. Goes on with what `out` holds.

    Raises:
        UserError: prompts or an arm are unknown, the painter knows none of their words, weights are missing
            or `out` takes no files.
    """
    settings = configure()
    split = next((name for name in get_args(Prompts) if name == prompts), None)
    if split is None:
        raise UserError(f"no prompts are called {prompts!r}: use --prompts {' or '.join(get_args(Prompts))}")
    chosen = _read_arms(arms)
    check_writable(out, "--out")
    experiment = Experiment(
        vocabulary=find_taught_vocabulary(),
        split=split,
        count=count,
        images=images,
        arms=chosen,
        seed=seed,
    )
    try:
        experiment.cases()
    except ValueError as error:
        raise UserError(str(error)) from error
    rows, episodes = asyncio.run(_measure(settings, experiment, out))
    title = f"diorama, {prompts} prompts, {images} pictures each, seed {seed}, {episodes} episodes remembered"
    report = make_report(rows, title)
    write_report(report, out)
    print(report.model_dump_json() if as_json else report.markdown(), end="\n" if as_json else "")
    return 0


async def _measure(settings: Settings, experiment: Experiment, out: Path) -> tuple[Rows, int]:
    """The rows, and how many episodes the loop's memory held."""
    total = len(experiment.cases()) * len(experiment.arms)
    async with open_workshop(settings, settings.mind, experiment.backend) as workshop:
        memory = workshop.studio.episodes
        episodes = memory.count() if memory else 0
        trials = workshop.studio.seeds.count() if workshop.studio.seeds else 0
        known: dict[str, JsonValue] = {"episodes": episodes, "seed_trials": trials, "depth": settings.depth}
        check_same(out, experiment.facts() | known | {"weights": hash_weights()})
        with Progress(console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task("prompts x arms", total=total)

            def count_row(_row: Outcome) -> None:
                progress.advance(task)

            return await evaluate(experiment, workshop.studio, workshop.home, out, count_row), episodes


def check_same(out: Path, facts: dict[str, JsonValue]) -> None:
    """Keep the facts of the evaluation in `out`, or see that they are those of the one that it holds.

    Raises:
        UserError: `out` holds rows of another evaluation.
    """
    path = out / "experiment.json"
    if not path.exists():
        out.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(facts, indent=2) + "\n", "utf-8")
        return
    kept = json.loads(path.read_text("utf-8"))
    differing = [
        f"{key} is {kept.get(key)!r} there and {facts[key]!r} now"
        for key in facts
        if kept.get(key) != facts[key]
    ]
    if differing:
        raise UserError(f"{out} holds another evaluation ({'; '.join(differing)}): name another --out")


def hash_weights() -> JsonValue:
    """Which painter, critic, judge and depth network an evaluation used."""
    return {part.name: part.sha256 for part in find_weights([])}


def _read_arms(names: str) -> tuple[Arm, ...]:
    wanted = [name.strip() for name in names.split(",")]
    if unknown := next((name for name in wanted if name not in ARMS), None):
        raise UserError(
            f"no arm is called {unknown!r}: use --arms with a comma between any of {', '.join(ARMS)}"
        )
    return tuple(arm for arm in ARMS if arm in wanted)


def find_taught_vocabulary() -> str:
    """The name of the vocabulary that the shipped painter was trained on."""
    problems: list[str] = []
    painter, *_ = find_weights(problems)
    find_vocabulary(painter, problems)
    if problems or painter.vocabulary is None:
        raise UserError(problems[0])
    return painter.vocabulary

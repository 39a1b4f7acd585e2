"""Does memory pay? The loop with a memory warmed on training prompts against the loop with an empty one.

Both read only while they are measured, on the same held-out prompts and seeds. Two things are counted: the
pictures spent until the critic is satisfied (or the budget ends), and the pictures until the mean of the best
ratings is the same, whatever the rating. Knows neither how memory works nor what it keeps.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from evaluation.diorama import Experiment
from evaluation.statistics import Interval, best_so_far, bootstrap, bootstrap_over, pictures_to_reach
from graphs.context import Studio
from graphs.request import Budget, RefineRequest
from graphs.run import Home, load_state, refine, resume
from graphs.seeds import derive_seed


@dataclass(frozen=True, slots=True)
class Spent:
    """What a run took: its ratings in the order of its pictures, and whether it was satisfied."""

    ratings: tuple[float, ...]
    satisfied: bool


class MemoryReport(BaseModel):
    """Means over the same prompts. `saved` is the paired share of pictures that the warm memory saves.

    `saved_at_same_rating` compares the curves of the mean best rating after 1, 2, ... pictures: after n
    pictures the empty memory has some rating, which the warm one has after m; it is 1 - sum(m) / sum(n) over
    the budget. One n alone, the last say, tells little, since the curves end nearly flat.
    """

    model_config = ConfigDict(frozen=True)

    prompts: int
    pictures_empty: Interval
    pictures_warm: Interval
    saved: Interval
    rating_empty: float
    rating_warm: float
    satisfied_empty: float
    satisfied_warm: float
    saved_at_same_rating: Interval
    episodes: int

    def __str__(self) -> str:
        return (
            f"{self.prompts} held-out prompts, {self.episodes} episodes remembered\n"
            f"pictures until satisfied: empty {self.pictures_empty}, warm {self.pictures_warm}, "
            f"saved {self.saved}\n"
            f"mean rating: empty {self.rating_empty:.3f}, warm {self.rating_warm:.3f}\n"
            f"satisfied: empty {self.satisfied_empty:.2f}, warm {self.satisfied_warm:.2f}\n"
            f"pictures until the mean best rating is the same: saved {self.saved_at_same_rating}"
        )


async def warm(
    experiment: Experiment, studio: Studio, home: Home, on_run: Callable[[int], None] | None = None
) -> None:
    """Refine the experiment's prompts one after the other, learning from each. Prompts done before are not
    done again.
    """
    known = _run_ids(home)
    for index, case in enumerate(experiment.cases()):
        run_id = f"warm-{experiment.seed}-{index:04d}"
        if run_id in known:
            continue
        request = RefineRequest(
            prompt=case.prompt,
            backend=experiment.backend,
            seed=derive_seed(experiment.seed, "warm", index),
            budget=Budget(pictures=experiment.images),
        )
        await refine(request, studio, home, run_id=run_id)
        if on_run is not None:
            on_run(index)


async def compare(
    experiment: Experiment,
    empty: Studio,
    warmed: Studio,
    home: Home,
    on_run: Callable[[int], None] | None = None,
) -> MemoryReport:
    """Measure both on the experiment's prompts, neither learning. Runs that were done before are not done
    again.
    """
    places = asyncio.Semaphore(experiment.side_by_side)
    known = _run_ids(home)

    async def spend(name: str, studio: Studio, prompt: str, index: int) -> Spent:
        run_id = f"{name}-{experiment.seed}-{index:04d}"
        request = RefineRequest(
            prompt=prompt,
            backend=experiment.backend,
            seed=derive_seed(experiment.seed, "case", index),
            budget=Budget(pictures=experiment.images),
        )
        reader = replace(studio, learning=False)
        async with places:
            if run_id in known:
                result = await resume(run_id, reader, home)
            else:
                result = await refine(request, reader, home, run_id=run_id)
            state = await load_state(run_id, home)
        ratings = tuple(view.rating.mean if view.rating else 1.0 for _, view in state.views)
        return Spent(ratings, result.status == "satisfied")

    async def pair(index: int, prompt: str) -> tuple[Spent, Spent]:
        both = await asyncio.gather(
            spend("compare-empty", empty, prompt, index), spend("compare-warm", warmed, prompt, index)
        )
        if on_run is not None:
            on_run(index)
        return both[0], both[1]

    pairs = await asyncio.gather(*(pair(index, case.prompt) for index, case in enumerate(experiment.cases())))
    episodes = warmed.episodes.count() if warmed.episodes else 0
    return summarise(pairs, experiment.images, episodes)


def summarise(pairs: Sequence[tuple[Spent, Spent]], images: int, episodes: int) -> MemoryReport:
    """The report on (empty, warm) runs of the same prompts with budgets of `images` pictures."""
    cold, hot = [a for a, _ in pairs], [b for _, b in pairs]
    curves = [np.stack([best_so_far(run.ratings, images) for run in runs]) for runs in (cold, hot)]

    def save(rows: NDArray[np.intp]) -> float:
        empty, warm = (curve[rows].mean(axis=0) for curve in curves)
        taken = [sum(pictures_to_reach(curve, float(level)) for level in empty) for curve in (empty, warm)]
        return 1 - taken[1] / taken[0]

    mean = fmean(len(run.ratings) for run in cold)
    return MemoryReport(
        prompts=len(pairs),
        pictures_empty=bootstrap([len(run.ratings) for run in cold]),
        pictures_warm=bootstrap([len(run.ratings) for run in hot]),
        saved=bootstrap([(len(a.ratings) - len(b.ratings)) / mean for a, b in pairs]),
        rating_empty=fmean(max(run.ratings) for run in cold),
        rating_warm=fmean(max(run.ratings) for run in hot),
        satisfied_empty=fmean(run.satisfied for run in cold),
        satisfied_warm=fmean(run.satisfied for run in hot),
        saved_at_same_rating=bootstrap_over(len(pairs), save),
        episodes=episodes,
    )


def _run_ids(home: Home) -> set[str]:
    return {row.run_id for row in home.ledger.list(limit=100_000)}


def write_memory_report(report: MemoryReport, out: Path) -> None:
    """`memory.json` in `out`."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "memory.json").write_text(report.model_dump_json(indent=2) + "\n", "utf-8")

"""Does memory pay? The loop with a memory warmed on training prompts against the loop with an empty one.

Both read only while they are measured, on the same held-out prompts and seeds; what is counted is the
pictures spent until the critic is satisfied (or the budget ends). Knows neither how memory works nor what it
keeps.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from evaluation.diorama import Experiment
from evaluation.statistics import Interval, bootstrap
from graphs.context import Studio
from graphs.request import Budget, RefineRequest
from graphs.run import Home, refine
from graphs.seeds import derive_seed
from memory.ledger import new_run_id


class MemoryReport(BaseModel):
    """Means over the same prompts. `saved` is the paired share of pictures that the warm memory saves."""

    model_config = ConfigDict(frozen=True)

    prompts: int
    pictures_empty: Interval
    pictures_warm: Interval
    saved: Interval
    rating_empty: float
    rating_warm: float
    satisfied_empty: float
    satisfied_warm: float
    episodes: int

    def __str__(self) -> str:
        return (
            f"{self.prompts} held-out prompts, {self.episodes} episodes remembered\n"
            f"pictures until satisfied: empty {self.pictures_empty}, warm {self.pictures_warm}, "
            f"saved {self.saved}\n"
            f"mean rating: empty {self.rating_empty:.3f}, warm {self.rating_warm:.3f}\n"
            f"satisfied: empty {self.satisfied_empty:.2f}, warm {self.satisfied_warm:.2f}"
        )


async def warm(
    experiment: Experiment, studio: Studio, home: Home, on_run: Callable[[int], None] | None = None
) -> None:
    """Refine the experiment's prompts one after the other, learning from each. Prompts done before are not
    done again.
    """
    for index, case in enumerate(experiment.cases()):
        run_id = f"warm-{experiment.seed}-{index:04d}"
        if run_id in {row.run_id for row in home.ledger.list(limit=100_000)}:
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
    """Measure both on the experiment's prompts, neither learning."""
    places = asyncio.Semaphore(experiment.side_by_side)

    async def spend(studio: Studio, prompt: str, seed: int) -> tuple[int, float, bool]:
        request = RefineRequest(
            prompt=prompt, backend=experiment.backend, seed=seed, budget=Budget(pictures=experiment.images)
        )
        async with places:
            result = await refine(request, replace(studio, learning=False), home, run_id=new_run_id())
        rating = result.final_rating.mean if result.final_rating else 1.0
        return result.pictures, rating, result.status == "satisfied"

    async def pair(index: int, prompt: str) -> tuple[tuple[int, float, bool], tuple[int, float, bool]]:
        seed = derive_seed(experiment.seed, "case", index)
        both = await asyncio.gather(spend(empty, prompt, seed), spend(warmed, prompt, seed))
        if on_run is not None:
            on_run(index)
        return both[0], both[1]

    cases = experiment.cases()
    pairs = await asyncio.gather(*(pair(index, case.prompt) for index, case in enumerate(cases)))
    count = len(pairs)
    mean_empty = sum(cold[0] for cold, _ in pairs) / count
    return MemoryReport(
        prompts=count,
        pictures_empty=bootstrap([cold[0] for cold, _ in pairs]),
        pictures_warm=bootstrap([hot[0] for _, hot in pairs]),
        saved=bootstrap([(cold[0] - hot[0]) / mean_empty for cold, hot in pairs]),
        rating_empty=sum(cold[1] for cold, _ in pairs) / count,
        rating_warm=sum(hot[1] for _, hot in pairs) / count,
        satisfied_empty=sum(cold[2] for cold, _ in pairs) / count,
        satisfied_warm=sum(hot[2] for _, hot in pairs) / count,
        episodes=warmed.episodes.count() if warmed.episodes else 0,
    )


def write_memory_report(report: MemoryReport, out: Path) -> None:
    """`memory.json` in `out`."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "memory.json").write_text(report.model_dump_json(indent=2) + "\n", "utf-8")

"""The diorama benchmark: prompts whose meaning is known exactly, judged by a model that the loop never sees.

Arms at equal picture budgets on the same seeds: `single`, `best_of_n`, `rewrite_best_of_n`, `loop`, and the
loop with a part switched off. Knows no painter and no mind by name.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import Literal, get_args

from pydantic import JsonValue

from diorama.families import (
    GENEVAL_FAMILIES,
    HARD_FAMILIES,
    Case,
    Family,
    Split,
    available_families,
    cases,
    geneval_cases,
)
from diorama.truth import Mismatch, Seen, geneval_correct, mismatches
from diorama.vocabulary import load_vocabulary
from evaluation.baselines import Chosen, best_of, rewrite
from evaluation.outcome import Outcome, Rows
from graphs.context import Studio
from graphs.request import Ablation, Budget, RefineRequest
from graphs.run import Home, refine
from graphs.seeds import derive_seed
from memory.ledger import new_run_id
from models.artifact import ArtifactRef
from models.critique_image import CritiqueRequest, CritiqueResult

Arm = Literal[
    "single",
    "best_of_n",
    "rewrite_best_of_n",
    "loop",
    "loop_no_clustering",
    "loop_no_memory",
    "loop_no_location",
]
ARMS: tuple[Arm, ...] = get_args(Arm)
Prompts = Literal["train", "heldout", "geneval"]
"""Prompts drawn as for training, prompts with what training never showed, or GenEval's own."""

_ABLATIONS = {
    "loop": Ablation(),
    "loop_no_clustering": Ablation(clustering=False),
    "loop_no_memory": Ablation(memory=False),
    "loop_no_location": Ablation(location=False),
}


@dataclass(frozen=True, slots=True)
class Experiment:
    """What to evaluate.

    `vocabulary` is the sub-vocabulary that the backend knows, `count` the prompts in all (the same number of
    each family, rounded up), `images` the picture budget per prompt.
    """

    vocabulary: str
    split: Prompts = "heldout"
    wordings: Split | None = None
    """Whose wordings drawn prompts have (None: those of their own split)."""
    families: tuple[Family, ...] = HARD_FAMILIES
    """What to draw; GenEval's prompts are of all its tags."""
    count: int = 200
    images: int = 12
    arms: tuple[Arm, ...] = ARMS[:4]
    backend: str = "embedded"
    seed: int = 0
    side_by_side: int = 8
    """Prompts worked on at once, so that their pictures share batches."""
    frozen_memory: bool = True
    """Whether the loop only reads memory: then prompts do not depend on each other, nor on their order."""

    def cases(self) -> list[Case]:
        """The prompts: the same for every arm, and on every machine.

        Raises:
            ValueError: a family has too few prompts, or GenEval none, in the vocabulary's words.
        """
        words = load_vocabulary(self.vocabulary)
        if self.split == "geneval":
            return self._official(geneval_cases(words))
        families: list[Family] = [family for family in available_families(words) if family in self.families]
        each = ceil(self.count / len(families))
        return cases(self.split, families, each, self.seed, words, self.wordings)

    def _official(self, known: list[Case]) -> list[Case]:
        """The first ones of each of GenEval's tags, as many as `count` asks for."""
        if not known:
            raise ValueError(
                f"no prompt of GenEval is in the words of the sub-vocabulary {self.vocabulary!r}: "
                'use one with names, such as "cpu_names" or "full"'
            )
        each = ceil(self.count / len(GENEVAL_FAMILIES))
        return [
            case for tag in GENEVAL_FAMILIES for case in [one for one in known if one.family == tag][:each]
        ]

    def facts(self) -> dict[str, JsonValue]:
        """What decides a row's outcome, beside the arm: rows made with other facts do not belong together."""
        return {
            "vocabulary": self.vocabulary,
            "split": self.split,
            "wordings": self.wordings or self.split,
            "families": list(self.families),
            "count": self.count,
            "images": self.images,
            "backend": self.backend,
            "seed": self.seed,
        }


async def evaluate(
    experiment: Experiment,
    studio: Studio,
    home: Home,
    out: Path,
    on_row: Callable[[Outcome], None] | None = None,
) -> Rows:
    """Run every arm on every prompt; rows that `out/outcomes.jsonl` already holds are not made again."""
    rows = Rows(out / "outcomes.jsonl")
    places = asyncio.Semaphore(experiment.side_by_side)

    async def work(index: int, case: Case, arm: Arm) -> None:
        async with places:
            row = await _evaluate_one(experiment, studio, home, index, case, arm)
        rows.add(row)
        if on_row is not None:
            on_row(row)

    todo = [
        work(index, case, arm)
        for arm in experiment.arms
        for index, case in enumerate(experiment.cases())
        if (case.id, arm) not in rows.rows
    ]
    async with asyncio.TaskGroup() as group:
        for task in todo:
            group.create_task(task)
    return rows


async def _evaluate_one(
    experiment: Experiment, studio: Studio, home: Home, index: int, case: Case, arm: Arm
) -> Outcome:
    began = time.monotonic()
    seed = derive_seed(experiment.seed, "case", index)
    status = ""
    if arm in _ABLATIONS:
        chosen, status = await _run_loop(experiment, studio, home, case.prompt, seed, arm)
    else:
        prompt = await rewrite(studio, case.prompt) if arm == "rewrite_best_of_n" else case.prompt
        count = 1 if arm == "single" else experiment.images
        chosen = await best_of(studio, experiment.backend, prompt, case.prompt, seed, count)
    found = await judge(studio, case, chosen.picture)
    return Outcome(
        case=case.id,
        family=case.family,
        arm=arm,
        prompt=case.prompt,
        final_prompt=chosen.prompt,
        picture=chosen.picture,
        rating=chosen.rating.mean,
        correct=not found,
        lenient=geneval_correct(found, case.family),
        wrong=tuple(sorted({mismatch.kind for mismatch in found})),
        pictures=chosen.pictures,
        seconds=round(time.monotonic() - began, 3),
        status=status,
    )


async def _run_loop(
    experiment: Experiment, studio: Studio, home: Home, prompt: str, seed: int, arm: Arm
) -> tuple[Chosen, str]:
    request = RefineRequest(
        prompt=prompt,
        backend=experiment.backend,
        seed=seed,
        budget=Budget(pictures=experiment.images),
        ablation=_ABLATIONS[arm],
    )
    if experiment.frozen_memory:
        studio = replace(studio, learning=False)
    result = await refine(request, studio, home, run_id=new_run_id())
    if result.picture is None or result.final_rating is None:
        raise RuntimeError(
            f"the loop ended {result.status} without a rated picture for {prompt!r}: {result.explanation}"
        )
    return Chosen(result.final_prompt, result.picture, result.final_rating, result.pictures), result.status


async def judge(studio: Studio, case: Case, picture: ArtifactRef) -> list[Mismatch]:
    """What the judge, who shares nothing with the critic, finds wrong."""
    result = await studio.executor.submit("critique_image", CritiqueRequest(picture=picture, model="judge"))
    assert isinstance(result, CritiqueResult)
    things = [Seen.of(thing) for thing in result.perception.things]
    return mismatches(case.graph, things, result.perception.setting)

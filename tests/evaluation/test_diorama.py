"""The benchmark on the shipped models: two prompts, every arm, stopped and continued."""

from dataclasses import replace
from pathlib import Path

import pytest

from diorama.families import GENEVAL_FAMILIES
from evaluation.diorama import Experiment, evaluate
from evaluation.outcome import Outcome
from evaluation.report import make_report
from serving.assembly import open_workshop
from settings import Settings

EXPERIMENT = Experiment(vocabulary="cpu", families=("two_object",), count=2, images=3, side_by_side=2)


def test_genevals_own_prompts_in_the_words_that_are_known() -> None:
    official = Experiment(vocabulary="full", split="geneval", count=600)
    assert len(official.cases()) == 553
    assert [case.family for case in replace(official, count=6).cases()] == list(GENEVAL_FAMILIES)
    assert official.facts()["split"] == "geneval"
    assert 30 < len(replace(official, vocabulary="cpu_names").cases()) < 60
    with pytest.raises(ValueError, match="no prompt of GenEval is in the words of the sub-vocabulary 'cpu'"):
        replace(official, vocabulary="cpu").cases()


async def test_every_arm_at_one_budget_and_no_row_twice(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", device="cpu")
    made: list[Outcome] = []
    async with open_workshop(settings, "embedded", "embedded") as workshop:
        studio, home = workshop.studio, workshop.home
        first = replace(EXPERIMENT, arms=("single", "best_of_n"))
        await evaluate(first, studio, home, tmp_path / "out", made.append)
        assert len(made) == 4
        whole = replace(
            EXPERIMENT, arms=("single", "best_of_n", "rewrite_best_of_n", "loop", "loop_no_location")
        )
        rows = await evaluate(whole, studio, home, tmp_path / "out", made.append)
        assert len(made) == len(rows.rows) == 10
        assert workshop.studio.episodes is not None
        assert workshop.studio.episodes.count() == 0, "an evaluation reads memory and teaches nothing"
    for case in EXPERIMENT.cases():
        single, best = rows.rows[case.id, "single"], rows.rows[case.id, "best_of_n"]
        assert single.rating <= best.rating
        assert (single.pictures, best.pictures) == (1, 3)
        loop = rows.rows[case.id, "loop"]
        assert loop.pictures <= 3
        assert loop.rating >= single.rating, "the loop begins with the single sample and never returns less"
    assert {arm.arm for arm in make_report(rows, "t").arms} == {row.arm for row in made}

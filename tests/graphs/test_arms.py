"""Clustering and posterior against GenPilot's own numbers, and arms that live across rounds."""

import json
from pathlib import Path
from typing import Any

import pytest

from agents.evidence import Edit, Rating, Span
from graphs.arms import best_member, cluster_official, draw_chances, posterior_official, update_arms
from graphs.state import ORIGINAL, Candidate, View, candidate_id
from models.artifact import ArtifactRef

GOLDENS: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "goldens" / "genpilot_cluster_posterior.json").read_text()
)


def partition(labels: list[int]) -> set[frozenset[int]]:
    return {frozenset(i for i, own in enumerate(labels) if own == label) for label in labels}


@pytest.mark.parametrize("case", GOLDENS["clusters"])
def test_clusters_as_the_paper_does(case: dict[str, Any]) -> None:
    assert partition(cluster_official(case["prompts"], case["num_clusters"])) == partition(case["labels"])


@pytest.mark.parametrize("case", GOLDENS["posterior"])
def test_updates_the_posterior_as_the_paper_does(case: dict[str, Any]) -> None:
    posterior = posterior_official(case["prior"], case["scores"], case["labels"], len(case["prior"]))
    assert posterior == pytest.approx(case["posterior"], abs=1e-9)
    assert max(range(len(posterior)), key=posterior.__getitem__) == case["best"]


def make(after: str, *scores: float, pattern: str = "reword", first_number: int = 1) -> Candidate:
    prompt = f"a photo of {after}"
    edit = Edit(before=Span(start=11, end=13, text="it"), after=after, pattern=pattern, error_ids=("e",))
    views = tuple(
        View(
            number=first_number + index,
            seed=index,
            round=1,
            picture=ArtifactRef(sha256=f"{first_number + index:064x}"),
            rating=Rating(attribute_binding=score, object_relationship=score, background_consistency=score),
        )
        for index, score in enumerate(scores)
    )
    return Candidate(
        id=candidate_id(prompt), prompt=prompt, base=ORIGINAL, edits=(edit,), round=1, views=views
    )


def gather(*candidates: Candidate) -> dict[str, Candidate]:
    original = Candidate(id=ORIGINAL, prompt="a photo of it", views=make("it", 3.0).views)
    return {ORIGINAL: original, **{candidate.id: candidate for candidate in candidates}}


RED = [make("a red cube at the left", 4.0), make("one red cube at the left side", 4.5)]
BLUE = [
    make("spheres, blue and shiny", 2.0, pattern="emphasis"),
    make("blue shiny spheres", 1.5, pattern="emphasis"),
]


def test_like_candidates_share_an_arm_and_the_original_is_alone() -> None:
    arms = update_arms((), gather(*RED, *BLUE[:1]), seed=0)
    assert arms[0].members == (ORIGINAL,)
    first = update_arms((), gather(RED[0], BLUE[0]), seed=0)
    second = update_arms(first, gather(*RED, *BLUE), seed=0)
    by_member = {key: arm.id for arm in second for key in arm.members}
    assert by_member[RED[0].id] == by_member[RED[1].id] != by_member[BLUE[0].id] == by_member[BLUE[1].id]
    assert {arm.id for arm in second} == {arm.id for arm in first}, "arms keep their numbers across rounds"


def test_better_rated_arms_have_better_chances() -> None:
    arms = update_arms(update_arms((), gather(RED[0], BLUE[0]), seed=0), gather(*RED, *BLUE), seed=0)
    best = max(arms, key=lambda arm: arm.chance)
    assert set(best.members) == {candidate.id for candidate in RED}
    assert sum(arm.chance for arm in arms) == pytest.approx(1.0)
    assert best_member(best, gather(*RED, *BLUE)).id == RED[1].id


def test_an_uncertain_arm_keeps_a_chance() -> None:
    often = make("a red cube", *[3.0] * 30)
    once = make("shiny blue spheres", 3.0, pattern="emphasis")
    arms = update_arms((), gather(often, once), seed=0)
    chance = {arm.members[0]: arm.chance for arm in arms}
    assert chance[once.id] > chance[often.id]


def test_without_clustering_all_chances_are_equal() -> None:
    arms = update_arms((), gather(*RED, *BLUE), seed=0, clustering=False)
    assert [arm.members for arm in arms] == [(key,) for key in gather(*RED, *BLUE)]
    assert {arm.chance for arm in arms} == {0.2}


def test_arms_never_outnumber_their_limit() -> None:
    many = [make(f"thing{n} word{n}", 3.0, pattern=f"p{n}") for n in range(12)]
    arms = update_arms((), gather(*many), seed=0)
    assert len(arms) == 6
    more = [*many, make("utterly else", 3.0, pattern="q")]
    assert len(update_arms(arms, gather(*more), seed=0)) == 6
    assert sum(len(arm.members) for arm in update_arms(arms, gather(*more), seed=0)) == 14


def test_the_same_seed_gives_the_same_chances() -> None:
    arms = update_arms((), gather(*RED, *BLUE), seed=5)
    assert draw_chances(arms, 5) == [arm.chance for arm in arms]

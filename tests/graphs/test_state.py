"""Reducers are idempotent, and order does not matter where it must not."""

from hypothesis import given
from hypothesis import strategies as st

from agents.evidence import Rating
from graphs.request import RefineRequest
from graphs.state import (
    ORIGINAL,
    Candidate,
    RefineState,
    View,
    candidate_id,
    merge_calls,
    merge_candidates,
    merge_notes,
)
from models.artifact import ArtifactRef


@st.composite
def updates(draw: st.DrawFn) -> dict[str, Candidate]:
    """What a node may return: some candidates, each with some of its views, looked at or not."""
    found: dict[str, Candidate] = {}
    for word in draw(st.sets(st.sampled_from("abc"))):
        views: list[View] = []
        for seed in draw(st.sets(st.integers(0, 3))):
            rating = Rating(attribute_binding=3, object_relationship=2, background_consistency=1)
            picture = ArtifactRef(sha256=f"{ord(word) * 10 + seed:064x}", seed=seed)
            looked_at = draw(st.booleans())
            views.append(
                View(
                    number=ord(word) * 10 + seed,
                    seed=seed,
                    round=1,
                    picture=picture,
                    rating=rating if looked_at else None,
                )
            )
        candidate = Candidate(
            id=candidate_id(word), prompt=word, views=tuple(sorted(views, key=lambda v: v.number))
        )
        found[candidate.id] = candidate
    return found


@given(updates(), updates())
def test_merging_candidates_twice_changes_nothing(
    old: dict[str, Candidate], new: dict[str, Candidate]
) -> None:
    once = merge_candidates(old, new)
    assert merge_candidates(once, new) == once


@given(updates(), updates(), updates())
def test_parallel_updates_may_come_in_any_order(
    old: dict[str, Candidate], left: dict[str, Candidate], right: dict[str, Candidate]
) -> None:
    one = merge_candidates(merge_candidates(old, left), right)
    other = merge_candidates(merge_candidates(old, right), left)
    assert one == other


@given(updates(), updates())
def test_nothing_that_was_seen_is_forgotten(old: dict[str, Candidate], new: dict[str, Candidate]) -> None:
    merged = merge_candidates(old, new)
    for source in (old, new):
        for key, candidate in source.items():
            for view in candidate.views:
                kept = merged[key].view_at(view.seed)
                assert kept is not None
                assert view.rating is None or kept.rating == view.rating


@given(st.lists(st.text()), st.lists(st.text()))
def test_notes_come_once(old: list[str], new: list[str]) -> None:
    merged = merge_notes(old, new)
    assert merge_notes(merged, new) == merged
    assert set(merged) == {*old, *new}


@given(st.dictionaries(st.text(), st.integers(0)), st.dictionaries(st.text(), st.integers(0)))
def test_calls_are_not_counted_twice(old: dict[str, int], new: dict[str, int]) -> None:
    assert merge_calls(merge_calls(old, new), new) == merge_calls(old, new)


def rated(number: int, score: float | None, seed: int = 0) -> View:
    rating = score and Rating(
        attribute_binding=score, object_relationship=score, background_consistency=score
    )
    return View(
        number=number, seed=seed, round=0, picture=ArtifactRef(sha256=f"{number:064x}"), rating=rating or None
    )


def test_the_incumbent_is_the_best_rated_and_then_the_earliest() -> None:
    original = Candidate(id=ORIGINAL, prompt="x", views=(rated(1, 3.0), rated(4, None, 1)))
    better = Candidate(id="b", prompt="y", base=ORIGINAL, views=(rated(2, 4.0), rated(3, 4.0, 1)))
    state = RefineState(
        run_id="r", request=RefineRequest(prompt="x"), candidates={ORIGINAL: original, "b": better}
    )
    assert state.incumbent == (better, better.views[0])
    assert state.pictures_left == 20
    unrated = state.model_copy(
        update={"candidates": {ORIGINAL: original.model_copy(update={"views": (rated(1, None),)})}}
    )
    assert unrated.incumbent is not None


def test_survives_its_own_json() -> None:
    original = Candidate(id=ORIGINAL, prompt="x", views=(rated(1, 3.0),))
    state = RefineState(run_id="r", request=RefineRequest(prompt="x"), candidates={ORIGINAL: original})
    assert RefineState.model_validate_json(state.model_dump_json()) == state

"""What a round takes from memory and what it gives back. Knows no node and no mind."""

from collections.abc import Iterator, Sequence

import numpy as np

from agents.evidence import Error, Lesson, Question
from agents.propose import PatternChoice
from graphs.context import Studio
from graphs.request import RefineRequest
from graphs.seeds import derive_seed
from graphs.state import Candidate, Experience, RefineState
from memory.episodes import Episode
from memory.seeds import Asked, SeedTrial
from models.backends import learnt_as

SHARPNESS = 4
"""A pattern is tried as often as its success rate to this power says: by the rate itself, what failed would
be tried almost as often as what helped (38 patterns between .2 and .65)."""
LESSONS_PER_ERROR = 3
SIMILAR = 0.3
"""Lessons whose words are less like the error's (cosine) are no lessons for it."""


def prepare_memory(request: RefineRequest, studio: Studio) -> None:
    """Open what `remember` will ask, while the first picture is painted; a run that asks nothing opens
    nothing.
    """
    if studio.episodes is not None and request.ablation.memory and studio.remembered is None:
        studio.episodes.open_ahead()


def remember(state: RefineState, studio: Studio, round_number: int) -> Experience:
    """What memory says at the beginning of a round; a replay hears what was said the first time.

    Without memory there are no lessons and all patterns weigh the same.
    """
    if not state.request.ablation.memory:
        return Experience(patterns=_weigh_equally(studio))
    if studio.remembered is not None:
        return studio.remembered.get(str(round_number)) or Experience(patterns=_weigh_equally(studio))
    errors = state.to_answer
    patterns = _weigh_patterns(state, studio, round_number) if errors else _weigh_equally(studio)
    lessons = {
        lesson: None
        for error in errors
        for lesson in _recall(error, studio, learnt_as(state.request.backend))
    }
    return Experience(
        lessons=tuple(lessons), patterns=patterns, seeds=_rank_seeds(state, studio, round_number)
    )


def remember_start(state: RefineState, studio: Studio) -> Experience:
    """What memory says before the first picture: seeds that are expected to suit, no others, since a first
    picture is no place to try something.
    """
    if not state.request.ablation.memory:
        return Experience()
    if studio.remembered is not None:
        return studio.remembered.get("0") or Experience()
    asked = describe(state.questions)
    if studio.seeds is None or asked is None:
        return Experience()
    return Experience(seeds=studio.seeds.rank(asked, learnt_as(state.request.backend)))


def record_seeds(state: RefineState, studio: Studio) -> None:
    """Add what each seed gave. What was added before is not added again, and a run that only reads memory
    records nothing.
    """
    asked = describe(state.questions)
    if studio.seeds is None or asked is None or not studio.learning or not state.request.ablation.memory:
        return
    studio.seeds.add(
        SeedTrial(
            backend=learnt_as(state.request.backend),
            asked=asked,
            seed=view.seed,
            rating=view.rating.mean,
            run_id=state.run_id,
        )
        for _, view in state.views
        if view.rating
    )


def record_edits(state: RefineState, studio: Studio) -> None:
    """Add what each of the round's edits did to the rating, against the mean of the base prompt's pictures.

    A single such difference is noisy; the posterior is over many. A run that only reads memory records
    nothing.
    """
    if studio.episodes is None or not studio.learning or not state.request.ablation.memory:
        return
    newcomers = [c for c in state.candidates.values() if c.round == state.round and c.base is not None]
    studio.episodes.add([episode for candidate in newcomers for episode in _episodes(state, candidate)])


def _weigh_equally(studio: Studio) -> tuple[PatternChoice, ...]:
    return tuple(PatternChoice(name=name, weight=1.0) for name in studio.patterns)


def _weigh_patterns(state: RefineState, studio: Studio, round_number: int) -> tuple[PatternChoice, ...]:
    """Weights by success rates: drawn ones in a run that learns, expected ones in a run that only reads, for
    which a surprise is worth nothing.
    """
    if studio.posterior is None or not studio.patterns:
        return _weigh_equally(studio)
    kinds = sorted({error.kind for error in state.to_answer})
    seed = derive_seed(state.request.seed, "patterns", round_number)
    rng = np.random.default_rng(seed) if studio.learning else None
    rates = studio.posterior.rates(studio.patterns, kinds, learnt_as(state.request.backend), rng)
    return tuple(PatternChoice(name=name, weight=rate**SHARPNESS) for name, rate in rates.items())


def describe(questions: Sequence[Question]) -> Asked | None:
    """What is asked for, whatever the wording; None where no thing is.

    The things are named as "a cube, two cones": of each that has to exist the first word, which says how
    many, and the last, which says of what. The respects are the kinds of questions, the request all of them.
    """
    asked = [(question.kind, " ".join(question.target.lower().split())) for question in questions]
    words = [target.split() for kind, target in asked if kind == "existence" and target]
    if not words:
        return None
    things = ", ".join(sorted(" ".join(dict.fromkeys([said[0], said[-1]])) for said in words))
    respects = " ".join([f"{things}:", *sorted(kind for kind, _ in asked)])
    request = "; ".join(sorted(f"{kind} {target}" for kind, target in asked))
    return Asked(things=things, respects=respects, request=request)


def _rank_seeds(state: RefineState, studio: Studio, round_number: int) -> tuple[int, ...]:
    asked = describe(state.questions)
    if studio.seeds is None or asked is None:
        return ()
    seed = derive_seed(state.request.seed, "seeds", round_number)
    rng = np.random.default_rng(seed) if studio.learning else None
    return studio.seeds.rank(asked, learnt_as(state.request.backend), rng)


def _recall(error: Error, studio: Studio, backend: str) -> Iterator[Lesson]:
    if studio.episodes is None:
        return
    text = error.span.text if error.span else error.target
    for episode, similarity in studio.episodes.recall(error.kind, text, backend, LESSONS_PER_ERROR):
        if similarity >= SIMILAR:
            yield Lesson(
                kind=error.kind,
                before=episode.before,
                after=episode.after,
                pattern=episode.pattern,
                rating_change=episode.rating_change,
                backend=episode.backend,
                similarity=round(similarity, 6),
            )


def _episodes(state: RefineState, candidate: Candidate) -> Iterator[Episode]:
    base = state.candidates[candidate.base] if candidate.base is not None else None
    ratings = [view.rating.mean for view in base.views if view.rating] if base else []
    if not ratings:
        return
    usual = sum(ratings) / len(ratings)
    kind_of = {error.id: error.kind for error in (*state.errors.values(), *state.doubts)}
    for view in candidate.views:
        if not view.rating:
            continue
        for edit in candidate.edits:
            kinds = sorted({kind_of[key] for key in edit.error_ids if key in kind_of})
            for kind in kinds:
                yield Episode(
                    kind=kind,
                    before=edit.before.text,
                    after=edit.after,
                    pattern=edit.pattern,
                    rating_change=round(view.rating.mean - usual, 6),
                    backend=learnt_as(state.request.backend),
                    run_id=state.run_id,
                )

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
from memory.seeds import SeedTrial

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
    errors = state.open_errors
    patterns = _weigh_patterns(state, studio, round_number) if errors else _weigh_equally(studio)
    lessons = {lesson: None for error in errors for lesson in _recall(error, studio, state.request.backend)}
    return Experience(
        lessons=tuple(lessons), patterns=patterns, seeds=_rank_seeds(state, studio, round_number)
    )


def record_round(state: RefineState, studio: Studio) -> None:
    """Add what each of the round's edits did to the rating, against the mean of the base prompt's pictures,
    and what each seed gave, against the mean of the run's.

    A single such difference is noisy; the posteriors are over many. A run that only reads memory records
    nothing.
    """
    if not studio.learning or not state.request.ablation.memory:
        return
    if studio.seeds is not None:
        studio.seeds.add(_seed_trials(state))
    if studio.episodes is None:
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
    kinds = sorted({error.kind for error in state.open_errors})
    seed = derive_seed(state.request.seed, "patterns", round_number)
    rng = np.random.default_rng(seed) if studio.learning else None
    rates = studio.posterior.rates(studio.patterns, kinds, state.request.backend, rng)
    return tuple(PatternChoice(name=name, weight=rate**SHARPNESS) for name, rate in rates.items())


def name_things(questions: Sequence[Question]) -> str:
    """What is asked for, as "a cube, two cones": of each thing that has to exist the first word, which says
    how many, and the last, which says of what. Prompts that differ in colours or places alone ask for the
    same.
    """
    words = [question.target.lower().split() for question in questions if question.kind == "existence"]
    return ", ".join(sorted(" ".join(dict.fromkeys([said[0], said[-1]])) for said in words if said))


def _rank_seeds(state: RefineState, studio: Studio, round_number: int) -> tuple[int, ...]:
    if studio.seeds is None:
        return ()
    seed = derive_seed(state.request.seed, "seeds", round_number)
    rng = np.random.default_rng(seed) if studio.learning else None
    return studio.seeds.rank(name_things(state.questions), state.request.backend, rng)


def _seed_trials(state: RefineState) -> list[SeedTrial]:
    rated = [(view, view.rating.mean) for _, view in state.views if view.rating]
    if len(rated) < 2:
        return []
    usual = sum(rating for _, rating in rated) / len(rated)
    return [
        SeedTrial(
            backend=state.request.backend,
            things=name_things(state.questions),
            seed=view.seed,
            gain=round(rating - usual, 6),
            run_id=state.run_id,
        )
        for view, rating in rated
        if view.round == state.round
    ]


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
    for view in candidate.views:
        if not view.rating:
            continue
        for edit in candidate.edits:
            kinds = sorted({state.errors[key].kind for key in edit.error_ids if key in state.errors})
            for kind in kinds:
                yield Episode(
                    kind=kind,
                    before=edit.before.text,
                    after=edit.after,
                    pattern=edit.pattern,
                    rating_change=round(view.rating.mean - usual, 6),
                    backend=state.request.backend,
                    run_id=state.run_id,
                )

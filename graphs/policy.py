"""How the picture budget is spent: what to paint next, and when to stop. Pure functions of the state.

One round: every new candidate is painted once on a seed of its own, then the best arm's best member on
further fresh seeds. One common seed would compare prompts with less noise, but it draws nearly the same
picture for all of them: of 40 held-out prompts at 12 pictures the embedded painter got 10 right that way,
16 this way (best of 12 seeds for the original prompt: 13). Comparing is left to the arms, which pool over
seeds. Every picture of the run competes for being returned. Knows no mind, no executor and no graph.
"""

import numpy as np

from graphs.arms import best_member, sample_ratings
from graphs.request import RunStatus
from graphs.seeds import derive_seed, picture_seed
from graphs.state import ORIGINAL, Candidate, Experience, PlannedPicture, RefineState, View
from models.backends import resolve

DEEPENING = 3
"""Further pictures for a round's best candidate: with the one that won the round it then has four."""
PLATEAU_ROUNDS = 3
"""Rounds without a better incumbent after which a run ends, if there is nothing new to propose either."""


def fresh_seeds(state: RefineState, count: int) -> list[int]:
    """The next `count` seeds with which nothing was painted yet: those that memory recommends to this round,
    then the run's own.
    """
    used = {view.seed for _, view in state.views}
    seeds = [seed for seed in state.recommended_seeds if seed not in used][:count]
    used.update(seeds)
    number = len(used)
    while len(seeds) < count:
        seed = picture_seed(state.request.seed, number)
        if seed not in used:
            seeds.append(seed)
            used.add(seed)
        number += 1
    return seeds


def plan_first(state: RefineState, experience: Experience) -> tuple[PlannedPicture, ...]:
    """The original prompt, once: on the best seed that memory recommends, else on the request's own."""
    return (PlannedPicture(candidate=ORIGINAL, seed=(*experience.seeds, state.request.seed)[0]),)


def plan_exploration(state: RefineState, newcomers: list[Candidate]) -> tuple[PlannedPicture, ...]:
    """As many newcomers as the budget allows, each on a fresh seed of its own."""
    chosen = newcomers[: state.pictures_left]
    seeds = fresh_seeds(state, len(chosen))
    return tuple(
        PlannedPicture(candidate=candidate.id, seed=seed)
        for candidate, seed in zip(chosen, seeds, strict=True)
    )


def plan_repainting(state: RefineState) -> tuple[PlannedPicture, ...]:
    """With nothing new to try: a round's worth of fresh seeds for known prompts, by Thompson sampling
    over arms.
    """
    count = min(state.request.candidates + 1, state.pictures_left)
    seeds = fresh_seeds(state, count)
    if not state.arms:
        return tuple(PlannedPicture(candidate=ORIGINAL, seed=seed) for seed in seeds)
    if state.request.ablation.clustering:
        drawn = sample_ratings(
            state.arms, derive_seed(state.request.seed, "repaint", state.round), count
        ).argmax(axis=1)
    else:
        drawn = _uniform(state, "repaint", len(state.arms), count)
    prompts = [best_member(state.arms[index], state.candidates).id for index in drawn]
    return tuple(PlannedPicture(candidate=key, seed=seed) for key, seed in zip(prompts, seeds, strict=True))


def plan_deepening(state: RefineState) -> tuple[PlannedPicture, ...]:
    """Fresh seeds for the best member of the arm whose next picture is most probably the best.

    Without clustering it is any candidate of the round, each as probable as the others.
    """
    seeds = fresh_seeds(state, min(DEEPENING, state.pictures_left))
    if state.request.ablation.clustering:
        arm = max(state.arms, key=lambda arm: (arm.chance, -arm.id))
        chosen = best_member(arm, state.candidates).id
    else:
        painted = list(dict.fromkeys(planned.candidate for planned in state.planned))
        chosen = painted[_uniform(state, "deepen", len(painted), 1)[0]]
    return tuple(PlannedPicture(candidate=chosen, seed=seed) for seed in seeds)


def _uniform(state: RefineState, purpose: str, choices: int, count: int) -> list[int]:
    rng = np.random.default_rng(derive_seed(state.request.seed, purpose, state.round))
    return [int(index) for index in rng.integers(choices, size=count)]


def is_satisfying(state: RefineState, view: View) -> bool:
    """The picture's rating reaches the wanted one and no answer names a fault."""
    return view.rating is not None and view.rating.mean >= state.request.satisfied_at and not view.faults


def may_touch_up(state: RefineState) -> bool:
    """Whether the run ends with a picture that is to be touched up, on a painter that can. An endpoint has no
    strength.
    """
    return (
        state.request.touch_up
        and stop_reason(state) == "satisfied"
        and resolve(state.request.backend).endpoint is None
    )


def may_deepen(state: RefineState) -> bool:
    """Whether the round goes on after its candidates were rated."""
    budget_left = state.pictures_left > 0 and not _is_spent(state)
    return (
        state.phase == "explore" and budget_left and not any(is_satisfying(state, v) for _, v in state.views)
    )


def _is_spent(state: RefineState) -> bool:
    budget = state.request.budget
    calls_gone = budget.mind_calls is not None and state.mind_calls >= budget.mind_calls
    tokens_gone = budget.tokens is not None and state.all_spent.tokens >= budget.tokens
    return calls_gone or tokens_gone or (budget.seconds is not None and state.seconds >= budget.seconds)


def stop_reason(state: RefineState) -> RunStatus:
    """Why the run ends here, or "running". Asked when the errors of the present incumbent are known.

    Budgets of mind calls, tokens and seconds are looked at between steps: what has begun is finished.
    """
    incumbent = state.incumbent
    if state.status != "running" or incumbent is None:
        return state.status
    rating = incumbent[1].rating
    if rating is None:
        return "failed"
    if rating.mean >= state.request.satisfied_at and not state.open_errors:
        return "satisfied"
    if state.pictures_left <= 0 or _is_spent(state):
        return "budget"
    if state.stalled >= PLATEAU_ROUNDS and state.exhausted:
        return "plateau"
    return "running"

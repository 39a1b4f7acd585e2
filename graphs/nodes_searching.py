"""The nodes that look for a better prompt, or seed: begin, recall, propose, cluster, deepen, learn."""

import asyncio
from typing import Any

from langgraph.runtime import Runtime

from agents.evidence import Edit, Proposal, apply_edits
from agents.merge import MERGE, MergeRequest
from agents.propose import PROPOSE, ProposeRequest
from agents.role import MindError
from graphs.arms import update_arms
from graphs.context import Studio, Tally, emit
from graphs.events import Clustered, Degraded, Rated, Recalled
from graphs.experience import record_edits, record_seeds, remember, remember_start
from graphs.faults import whole_span, widen_spans
from graphs.policy import plan_deepening, plan_exploration, plan_first, plan_repainting
from graphs.seeds import derive_seed
from graphs.state import Candidate, RefineState, candidate_id

Update = dict[str, Any]


async def begin(state: RefineState, runtime: Runtime[Studio]) -> Update:
    """Choose the first picture's seed: the one that memory knows to suit such prompts, else the request's."""
    experience = await asyncio.to_thread(remember_start, state, runtime.context)
    return {"experience": {"0": experience}, "planned": plan_first(state, experience)}


async def recall(state: RefineState, runtime: Runtime[Studio]) -> Update:
    """Begin a round: what did memory learn in like cases?"""
    number = state.round + 1
    experience = await asyncio.to_thread(remember, state, runtime.context, number)
    if experience.lessons:
        emit(runtime, Recalled(lessons=experience.lessons, round=number))
    leader = state.incumbent[1].number if state.incumbent else None
    return {"round": number, "leader": leader, "experience": {str(number): experience}}


async def propose(state: RefineState, runtime: Runtime[Studio]) -> Update:
    """Rewrite the located words of the incumbent's prompt, and plan the round's pictures."""
    assert state.incumbent is not None, "a round begins with a picture"
    base, _ = state.incumbent
    tally = Tally(runtime, f"round {state.round}")
    newcomers, notes = await _find_newcomers(state, base, runtime, tally)
    planned = plan_exploration(state, newcomers) if newcomers else plan_repainting(state)
    painted = {plan.candidate for plan in planned}
    return {
        "candidates": {candidate.id: candidate for candidate in newcomers if candidate.id in painted},
        "planned": planned,
        "phase": "explore",
        "exhausted": not newcomers,
        **tally.update,
        "notes": notes,
    }


async def _find_newcomers(
    state: RefineState, base: Candidate, runtime: Runtime[Studio], tally: Tally
) -> tuple[list[Candidate], tuple[str, ...]]:
    """Candidates that the run has not seen, at most as many as a round takes. They answer what the incumbent
    lacks, or else what other pictures of its prompt do.
    """
    errors = widen_spans(state.to_answer, state.base_sentences, base.prompt)
    if not errors:
        return [], ()
    request = ProposeRequest(
        prompt=base.prompt,
        original_prompt=state.request.prompt,
        sentences=state.base_sentences,
        errors=errors,
        patterns=state.experience[str(state.round)].patterns,
        lessons=state.lessons,
        tried=tuple(candidate.prompt for candidate in state.candidates.values()),
        count=state.request.candidates,
        seed=derive_seed(state.request.seed, "propose", state.round),
        longest=state.longest,
    )
    reply = await tally.ask(PROPOSE, request)
    newcomers: dict[str, Candidate] = {}
    notes: list[str] = []
    for proposal in reply.proposals:
        try:
            candidate = await _make_candidate(state, base, proposal, tally)
        except MindError as error:
            emit(runtime, Degraded(node="propose", reason=str(error), round=state.round))
            notes.append(f"propose, round {state.round}: {error}")
            continue
        seen_before = any(candidate.prompt == known.prompt for known in state.candidates.values())
        if state.longest is not None and len(candidate.prompt) > state.longest:
            continue  # a merge can make it longer than was proposed
        if not seen_before and len(newcomers) < state.request.candidates:
            newcomers.setdefault(candidate.id, candidate)
    return list(newcomers.values()), tuple(notes)


async def _make_candidate(state: RefineState, base: Candidate, proposal: Proposal, tally: Tally) -> Candidate:
    """The base with the proposal's edits. An edit whose span does not hold its words is merged in by a mind.

    Raises:
        MindError: the merge failed.
    """
    edits = proposal.edits
    try:
        prompt = apply_edits(base.prompt, edits)
    except ValueError:
        prompt = base.prompt
        for edit in edits:
            prompt = await _merge(state, prompt, edit, tally)
        whole = Edit(
            before=whole_span(base.prompt),
            after=prompt,
            pattern=edits[0].pattern,
            error_ids=edits[0].error_ids,
        )
        edits = (whole,)
    return Candidate(id=candidate_id(prompt), prompt=prompt, base=base.id, edits=edits, round=state.round)


async def _merge(state: RefineState, prompt: str, edit: Edit, tally: Tally) -> str:
    holding = [sentence for sentence in state.base_sentences if edit.before.text in sentence.span.text]
    if not holding:
        raise MindError(f"propose: no sentence of {prompt!r} holds {edit.before.text!r}; the edit is dropped")
    replacement = holding[0].span.text.replace(edit.before.text, edit.after, 1)
    return (
        await tally.ask(MERGE, MergeRequest(prompt=prompt, sentence=holding[0], replacement=replacement))
    ).prompt


async def cluster(state: RefineState, runtime: Runtime[Studio]) -> Update:
    """Sort the candidates into arms and say who leads."""
    arms = update_arms(
        state.arms,
        {key: candidate for key, candidate in state.candidates.items() if candidate.views},
        seed=derive_seed(state.request.seed, state.phase, state.round),
        clustering=state.request.ablation.clustering,
    )
    arm_of = {key: arm.id for arm in arms for key in arm.members}
    leader = state.incumbent
    for plan in state.planned:
        view = state.candidates[plan.candidate].view_at(plan.seed)
        if view and view.rating:
            emit(
                runtime,
                Rated(
                    candidate=plan.candidate,
                    picture=view.picture,
                    rating=view.rating,
                    errors=tuple(fault.description for fault in view.faults),
                    arm=arm_of[plan.candidate],
                    incumbent=leader is not None and leader[1].number == view.number,
                    round=state.round,
                ),
            )
    emit(runtime, Clustered(posterior={arm.id: arm.chance for arm in arms}, round=state.round))
    return {"arms": arms}


async def deepen(state: RefineState, runtime: Runtime[Studio]) -> Update:
    """Plan further pictures of the best arm's best member."""
    return {"planned": plan_deepening(state), "phase": "deepen"}


async def learn(state: RefineState, runtime: Runtime[Studio]) -> Update:
    """End a round: keep what the edits did, and count rounds without a better incumbent."""
    await asyncio.to_thread(record_edits, state, runtime.context)
    await asyncio.to_thread(record_seeds, state, runtime.context)
    better = state.incumbent is not None and state.incumbent[1].number != state.leader
    painted = any(view.round == state.round for _, view in state.views)
    return {"stalled": 0 if better else state.stalled + 1, "exhausted": state.exhausted or not painted}

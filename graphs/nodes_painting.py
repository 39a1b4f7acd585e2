"""The nodes that make pictures and rate them: paint, rate. The only place where pictures are spent."""

import asyncio
from collections.abc import Sequence
from contextvars import copy_context
from typing import Any

from langgraph.runtime import Runtime
from pydantic import BaseModel, ConfigDict

from agents.answer import ANSWER, AnswerRequest
from agents.embedded_rating import rate as rate_by_answers
from agents.evidence import Answer, Question
from agents.rate import RATE, RateRequest
from agents.role import MindError
from graphs.context import Studio, Tally, emit
from graphs.events import Degraded, Painted, Painting
from graphs.faults import find_faults
from graphs.state import Candidate, PlannedPicture, RefineState, View
from models.artifact import ArtifactRef
from models.picture_request import GenerateRequest, GenerateResult
from models.prompt_length import PromptTooLong
from models.tool import Progress, ToolError, ToolUnavailable

Update = dict[str, Any]
"""A partial update of the state."""

_WAITS = (0.2, 0.4, 0.8, 1.6, 3.2)
"""Seconds before a painter that did not answer is asked again; after the last its picture is given up."""


class Look(BaseModel):
    """All that rating one picture needs; what a `Send` carries, so that pictures are looked at side by
    side.
    """

    model_config = ConfigDict(frozen=True)

    run_id: str
    prompt: str
    questions: tuple[Question, ...]
    candidate: Candidate
    """With the one view that is to be rated."""
    round: int


async def paint(state: RefineState, runtime: Runtime[Studio]) -> Update:
    """Paint every planned picture that does not exist yet, all in one batch.

    A candidate that the painter refuses is dropped with a note.

    Raises:
        ToolError: nothing could be painted in a run that has no picture yet.
    """
    missing = [plan for plan in state.planned if not state.candidates[plan.candidate].view_at(plan.seed)]
    painted = await asyncio.gather(
        *(_paint_one(state, plan, runtime, shown=plan is missing[0]) for plan in missing),
        return_exceptions=True,
    )
    spent = len(state.views)
    views: dict[str, list[View]] = {}
    notes: list[str] = []
    longest = state.longest
    for plan, outcome in zip(missing, painted, strict=True):
        if isinstance(outcome, ToolError) and state.views:
            reason = f"{plan.candidate} with seed {plan.seed} was not painted: {outcome}"
            emit(runtime, Degraded(node="paint", reason=reason, round=state.round))
            notes.append(reason)
            if isinstance(outcome, PromptTooLong):
                longest = min(longest or outcome.about_characters, outcome.about_characters)
        elif isinstance(outcome, BaseException):
            raise outcome
        else:
            spent += 1
            view = View(number=spent, seed=plan.seed, round=state.round, picture=outcome)
            views.setdefault(plan.candidate, []).append(view)
            prompt = state.candidates[plan.candidate].prompt
            emit(
                runtime,
                Painted(
                    candidate=plan.candidate, prompt=prompt, picture=outcome, spent=spent, round=state.round
                ),
            )
    update = {
        key: state.candidates[key].model_copy(update={"views": tuple(own)}) for key, own in views.items()
    }
    return {"candidates": update, "notes": tuple(notes), "longest": longest}


async def _paint_one(
    state: RefineState, plan: PlannedPicture, runtime: Runtime[Studio], *, shown: bool
) -> ArtifactRef:
    request = GenerateRequest(
        prompt=state.candidates[plan.candidate].prompt, backend=state.request.backend, seed=plan.seed
    )
    picture = await paint_picture(request, runtime, state.round, shown=shown)
    runtime.context.crash_at(f"torn:paint:{state.round}")
    return picture


async def paint_picture(
    request: GenerateRequest, runtime: Runtime[Studio], round: int, *, shown: bool
) -> ArtifactRef:
    """Paint one picture. The progress of one request is `shown`: it stands for its whole batch.

    Raises:
        ToolError: it cannot be painted, or nothing answered for some seconds.
    """
    # The executor reports from outside the graph's task, and the stream belongs to the task's context.
    context = copy_context()

    def report(progress: Progress) -> None:
        event = Painting(done=progress.done, total=progress.total, unit=progress.unit, round=round)
        context.run(emit, runtime, event)

    waits = iter(_WAITS)
    while True:
        try:
            result = await runtime.context.executor.submit(
                "generate_image", request, on_progress=report if shown else None
            )
        except ToolUnavailable as error:
            if (wait := next(waits, None)) is None:
                raise
            emit(runtime, Degraded(node="paint", reason=f"{error}; asked again", round=round))
            await asyncio.sleep(wait)
        else:
            assert isinstance(result, GenerateResult)
            return result.picture


def unseen_looks(state: RefineState) -> list[Look]:
    """One look for each picture of the present batch that nobody has looked at."""
    looks: list[Look] = []
    for plan in state.planned:
        candidate = state.candidates[plan.candidate]
        view = candidate.view_at(plan.seed)
        if view and not view.rating:
            looks.append(look_at(state, candidate, view))
    return looks


def look_at(state: RefineState, candidate: Candidate, view: View) -> Look:
    """What looking at this picture needs."""
    return Look(
        run_id=state.run_id,
        prompt=state.request.prompt,
        questions=state.questions,
        candidate=candidate.model_copy(update={"views": (view,)}),
        round=state.round,
    )


async def rate(look: Look, runtime: Runtime[Studio]) -> Update:
    """Look at one picture: answer all questions about it, then rate it. Every picture of a run is treated
    alike.
    """
    [view] = look.candidate.views
    tally = Tally(runtime, f"picture {view.number}")
    answers: tuple[Answer, ...] = ()
    if look.questions:
        reply = await tally.ask(ANSWER, AnswerRequest(questions=look.questions), [view.picture])
        answers = _in_order(look.questions, reply.answers)
    runtime.context.crash_at(f"torn:rate:{look.round}")
    faults = find_faults(look.questions, answers, look.round)
    request = RateRequest(prompt=look.prompt, questions=look.questions, answers=answers, errors=faults)
    update: dict[str, object] = {"answers": answers, "faults": faults}
    notes: tuple[str, ...] = ()
    try:
        update["rating"] = await tally.ask(RATE, request, [view.picture])
    except MindError as error:
        # The answers are good evidence even where the rating failed; without any there is nothing to go by.
        if answers:
            update["rating"] = rate_by_answers(request)
        how = "is rated by its answers alone" if answers else "is not rated"
        reason = f"picture {view.number} {how}: {error}"
        emit(runtime, Degraded(node="rate", reason=reason, round=look.round))
        notes = (reason,)
    seen = look.candidate.model_copy(update={"views": (view.model_copy(update=update),)})
    return {"candidates": {seen.id: seen}, **tally.update, "notes": notes}


def _in_order(questions: Sequence[Question], answers: Sequence[Answer]) -> tuple[Answer, ...]:
    """One answer per question, in the questions' order.

    Raises:
        MindError: a question has no answer.
    """
    by_id = {answer.question_id: answer for answer in answers}
    if unanswered := [question.id for question in questions if question.id not in by_id]:
        raise MindError(
            f"answer: no answer to {', '.join(unanswered)}; ask a mind that answers every question"
        )
    return tuple(by_id[question.id] for question in questions)

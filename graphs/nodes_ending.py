"""The node that ends a run: explain."""

import asyncio
from typing import Any

from langgraph.runtime import Runtime

from agents.evidence import Edit
from agents.explain import EXPLAIN, ExplainRequest
from agents.role import MindError
from graphs.context import Studio, Tally, emit
from graphs.events import Degraded
from graphs.experience import record_seeds
from graphs.policy import stop_reason
from graphs.request import RunStatus
from graphs.state import ORIGINAL, Candidate, RefineState

_PLAINLY: dict[RunStatus, str] = {
    "satisfied": "The picture shows what was asked.",
    "budget": "The budget is spent; this is the best picture found.",
    "plateau": "Nothing new to try made the picture better; this is the best one found.",
    "failed": "Nobody could rate the picture, so there was nothing to go by.",
}


async def explain(state: RefineState, runtime: Runtime[Studio]) -> dict[str, Any]:
    """Fix the status and tell a person how it went. A mind that cannot say it is replaced by one plain
    sentence.
    """
    # A run that ends with its first picture has no round to learn from.
    await asyncio.to_thread(record_seeds, state, runtime.context)
    status = stop_reason(state)
    if status == "unsupported":
        return {}
    plainly = {"status": status, "explanation": _PLAINLY[status]}
    incumbent, first = state.incumbent, state.candidates[ORIGINAL].views
    if incumbent is None or not first or not first[0].rating or not incumbent[1].rating:
        return plainly
    tally = Tally(runtime, "run")
    request = ExplainRequest(
        prompt=state.request.prompt,
        final_prompt=incumbent[0].prompt,
        errors=tuple(state.errors.values()),
        edits=chain_of_edits(state, incumbent[0]),
        original=first[0].rating,
        final=incumbent[1].rating,
        pictures=len(state.views),
        status=status,
    )
    try:
        reply = await tally.ask(EXPLAIN, request)
    except MindError as error:
        emit(runtime, Degraded(node="explain", reason=str(error), round=state.round))
        return {**plainly, **tally.update, "notes": (f"explain: {error}",)}
    return {"status": status, "explanation": reply.text + _tell_touch_up(state), **tally.update}


def _tell_touch_up(state: RefineState) -> str:
    if state.touched is None:
        return ""
    return " Finally, small things in it were painted again close up."


def chain_of_edits(state: RefineState, candidate: Candidate) -> tuple[Edit, ...]:
    """All edits that led from the original to `candidate`, in the order in which they were made.

    Each edit's span refers to the prompt that it was made to.
    """
    edits: tuple[Edit, ...] = ()
    at: Candidate | None = candidate
    while at is not None:
        edits = at.edits + edits
        at = state.candidates[at.base] if at.base is not None else None
    return edits

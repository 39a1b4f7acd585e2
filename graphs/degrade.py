"""What happens when a mind fails: its evidence is dropped, the run says so and goes on.

These are the error handlers of the graph's nodes; LangGraph calls one when all retries of its node are
used up. Any error but a mind's is not theirs: it is raised again and ends the run.
"""

from collections.abc import Mapping
from typing import Any

from langgraph.errors import NodeError, NodeTimeoutError
from langgraph.runtime import Runtime
from langgraph.types import Command

from agents.evidence import Sentence
from agents.role import MindError, UnsupportedPrompt
from graphs.context import Studio, emit
from graphs.events import Degraded
from graphs.faults import find_doubts, whole_span
from graphs.nodes_painting import Look
from graphs.policy import plan_repainting
from graphs.routes import after_locate
from graphs.state import RefineState
from models.tool import ToolError

Next = Command[Any]
LOOKS = 2
"""Further looks at the first picture after one that failed."""


def _note(
    runtime: Runtime[Studio], error: NodeError, round_number: int, consequence: str
) -> Mapping[str, Any]:
    """Announce what failed and what the run does without.

    Raises:
        BaseException: the node's own error, if it is not a mind's.
    """
    if not isinstance(error.error, MindError | NodeTimeoutError | ToolError):
        raise error.error
    reason = f"{error.error}; {consequence}"
    emit(runtime, Degraded(node=error.node, reason=reason, round=round_number))
    return {"notes": (f"{error.node}, round {round_number}: {reason}",)}


async def without_sentences(state: RefineState, error: NodeError, runtime: Runtime[Studio]) -> Next:
    """A prompt outside what the mind knows ends the run; one that could not be taken apart stays in one
    piece.
    """
    if isinstance(error.error, UnsupportedPrompt):
        return Command(update={"status": "unsupported", "explanation": str(error.error)}, goto="explain")
    note = _note(runtime, error, state.round, "the prompt is treated as one sentence")
    prompt = state.request.prompt
    whole = (Sentence(id=0, text=prompt, kind="object", span=whole_span(prompt)),)
    return Command(update={**note, "sentences": whole, "base_sentences": whole}, goto="question")


async def without_caption(state: RefineState, error: NodeError, runtime: Runtime[Studio]) -> Next:
    """No caption: the answers alone are the evidence."""
    return Command(update=_note(runtime, error, state.round, "the caption is left out"), goto="check_caption")


async def without_verdicts(state: RefineState, error: NodeError, runtime: Runtime[Studio]) -> Next:
    """An unchecked caption is no evidence."""
    return Command(update=_note(runtime, error, state.round, "the caption is left out"), goto="integrate")


async def without_questions(state: RefineState, error: NodeError, runtime: Runtime[Studio]) -> Next:
    """No questions: the caption and the rating are the evidence."""
    return Command(update=_note(runtime, error, state.round, "no questions are asked"), goto="begin")


async def without_answers(state: RefineState, error: NodeError, runtime: Runtime[Studio]) -> Next:
    """The first picture could not be looked at. All that follows goes by it, so it is looked at again."""
    if state.unseen < LOOKS:
        note = _note(runtime, error, state.round, "the first picture is looked at again")
        return Command(update={**note, "unseen": state.unseen + 1}, goto="answer")
    return Command(
        update=_note(runtime, error, state.round, "the first picture is not rated"), goto="integrate"
    )


async def without_rating(look: Look, error: NodeError, runtime: Runtime[Studio]) -> Next:
    """One picture of a batch could not be looked at: it exists, but does not compete."""
    note = _note(runtime, error, look.round, f"picture {look.candidate.views[0].number} does not compete")
    return Command(update=note, goto="cluster")


async def without_integration(state: RefineState, error: NodeError, runtime: Runtime[Studio]) -> Next:
    """The answers name the faults by themselves, only less well merged with what was known."""
    note = _note(runtime, error, state.round, "errors are taken from the answers as they stand")
    incumbent = state.incumbent
    view = incumbent[1] if incumbent else None
    shown = {fault.id: fault for fault in view.faults} if view else {}
    gone = {key: known.model_copy(update={"status": "fixed"}) for key, known in state.errors.items()}
    update = {**note, "errors": {**gone, **shown}, "integrated": view.number if view else None}
    return Command(update=update, goto="locate")


async def without_location(state: RefineState, error: NodeError, runtime: Runtime[Studio]) -> Next:
    """Edits may change the whole sentence that an error concerns."""
    note = _note(runtime, error, state.round, "edits may change whole sentences")
    return Command(update={**note, "doubts": find_doubts(state)}, goto=after_locate(state))


async def without_touch_up(state: RefineState, error: NodeError, runtime: Runtime[Studio]) -> Next:
    """The picture that satisfies is good as it is."""
    note = _note(runtime, error, state.round, "the picture stays as it was found")
    return Command(update=note, goto="explain")


async def without_proposals(state: RefineState, error: NodeError, runtime: Runtime[Studio]) -> Next:
    """Nothing new to try: known prompts get further seeds."""
    note = _note(runtime, error, state.round, "known prompts are painted with further seeds")
    planned = plan_repainting(state)
    return Command(update={**note, "planned": planned, "phase": "explore", "exhausted": True}, goto="paint")

"""From a run's last state to what its caller gets. Knows no store."""

from graphs.nodes_ending import chain_of_edits
from graphs.request import RefineResult, RunStatus
from graphs.state import ORIGINAL, RefineState

_CANCELLED = "The run was stopped; this is the best picture so far. It can be resumed."


def make_result(state: RefineState, status: RunStatus | None = None) -> RefineResult:
    """The result that `state` stands for; `status` overrides the state's own for a run that was cut short."""
    original = state.candidates[ORIGINAL]
    first = original.views[0] if original.views else None
    candidate, found = state.incumbent or (original, first)
    view = state.touched or found
    return RefineResult(
        run_id=state.run_id,
        status=status or state.status,
        prompt=state.request.prompt,
        final_prompt=candidate.prompt,
        original_rating=first.rating if first else None,
        final_rating=view.rating if view else None,
        original_picture=first.picture if first else None,
        picture=view.picture if view else None,
        found_picture=found.picture if found and state.touched else None,
        pictures=len(state.views),
        mind_calls=state.mind_calls,
        spent=state.all_spent,
        seconds=state.seconds,
        errors=tuple(state.errors.values()),
        edits=chain_of_edits(state, candidate),
        explanation=state.explanation or (_CANCELLED if status == "cancelled" else ""),
        notes=state.notes,
    )

"""What a refinement did, as a list of steps without their times: what a simulation goes by.

A trace is taken from a run's own events and state, so that it changes with the graph.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from graphs.context import Studio
from graphs.events import Event, Painted, Stepped
from graphs.request import RefineRequest
from graphs.run import Home, load_state, refine
from graphs.state import RefineState

LOOKING = ("answer", "rate")
_SIDE_BY_SIDE = ("caption", "check_caption")
"""What runs beside the first picture's answers."""


@dataclass(frozen=True, slots=True)
class Paint:
    """So many pictures, asked for at once."""

    pictures: int


@dataclass(frozen=True, slots=True)
class Think:
    """Calls to minds by role: chains side by side, each one call after the other. `nodes` of the graph run
    in it.
    """

    chains: tuple[tuple[str, ...], ...]
    nodes: int


Step = Paint | Think
Trace = tuple[Step, ...]


async def record(request: RefineRequest, studio: Studio, home: Home) -> Trace:
    """Refine once for real, and keep what was done."""
    events: list[Event] = []
    result = await refine(request, studio, home, events.append)
    return trace_of(events, await load_state(result.run_id, home))


def trace_of(events: Sequence[Event], state: RefineState) -> Trace:
    """The steps of a run that has ended."""
    calls = Counter({tuple(key.split("/", 1)): count for key, count in state.calls.items()})
    steps: list[Step] = []
    for nodes in _together([event for event in events if isinstance(event, Stepped | Painted)]):
        if nodes.name == "paint":
            steps.append(Paint(nodes.pictures))
        else:
            steps.append(_think(nodes, calls, state))
    return tuple(steps)


@dataclass(slots=True)
class _Nodes:
    """Nodes that follow each other in the events, the looks of one batch taken together."""

    name: str
    round: int
    count: int = 1
    pictures: int = 0


def _together(events: Sequence[Stepped | Painted]) -> list[_Nodes]:
    found: list[_Nodes] = []
    for event in events:
        if isinstance(event, Painted):
            found[-1].pictures += 1
        elif found and event.node in (*_SIDE_BY_SIDE, "answer") and found[-1].name in ("look", "answer"):
            found[-1].count += 1
        elif event.node in ("caption", "answer"):
            found.append(_Nodes("look", event.round))
        elif found and event.node == found[-1].name == "rate":
            found[-1].count += 1
        else:
            found.append(_Nodes(event.node, event.round))
    return found


def _think(nodes: _Nodes, calls: "Counter[tuple[str, ...]]", state: RefineState) -> Think:
    match nodes.name:
        case "look":
            beside = tuple(role for role in _SIDE_BY_SIDE if calls[(role, "picture 1")])
            return Think((beside, LOOKING), nodes.count)
        case "rate":
            return Think((LOOKING,) * nodes.count, nodes.count)
        case "propose":
            merges = calls[("merge", f"round {nodes.round}")]
            return Think((("propose", *("merge",) * merges),), 1)
        case "integrate" | "locate" as role if not _asked(role, nodes.round, calls, state):
            return Think((), 1)
        case "decompose" | "question" | "integrate" | "locate" | "explain" as role:
            return Think(((role,),), 1)
        case _:
            return Think((), 1)


def _asked(
    role: Literal["integrate", "locate"], number: int, calls: "Counter[tuple[str, ...]]", state: RefineState
) -> bool:
    """Whether the node asked a mind in this round, or found that it need not."""
    if role == "locate":
        return any(key[0] == "locate" and key[1].endswith(f" in round {number}") for key in calls)
    best = max(
        (view for _, view in state.views if view.round <= number and view.rating),
        key=lambda view: (view.rating.mean if view.rating else 0, -len(view.faults), -view.number),
    )
    return calls[("integrate", f"picture {best.number}")] > 0 and best.round == number

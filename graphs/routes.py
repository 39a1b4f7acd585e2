"""Where a refinement goes next. Routers only read the state; their Literals are the edges of the drawn
graph.
"""

from typing import Literal

from langgraph.types import Send

from graphs.nodes_painting import unseen_looks
from graphs.policy import may_deepen, may_touch_up, stop_reason
from graphs.state import RefineState


def after_paint(state: RefineState) -> list[Literal["caption", "answer", "learn"] | Send]:
    """The first picture is looked at from two sides; candidates are rated one by one, side by side.

    Where nothing could be painted there is nothing to rate.
    """
    if state.phase == "look":
        return ["caption", "answer"]
    looks = unseen_looks(state)
    return [Send("rate", look) for look in looks] if looks else ["learn"]


def after_cluster(state: RefineState) -> Literal["deepen", "learn"]:
    """The best arm is deepened once a round, unless the budget is spent or a picture already satisfies."""
    return "deepen" if may_deepen(state) else "learn"


def after_locate(state: RefineState) -> Literal["recall", "touch_up", "explain"]:
    """Another round, or the end."""
    if stop_reason(state) == "running":
        return "recall"
    return "touch_up" if may_touch_up(state) else "explain"

"""The refinement graph: its nodes, its edges, and how it is drawn.

Knows what follows what and what happens when a step fails; what a step does is in nodes_*.py.
"""

from collections.abc import Awaitable, Callable
from copy import copy
from functools import cache, wraps
from typing import Any, TypeVar

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime
from langgraph.types import RetryPolicy, TimeoutPolicy

from graphs import degrade
from graphs.context import Studio, emit
from graphs.events import Stepped
from graphs.nodes_ending import explain
from graphs.nodes_looking import answer, caption, check_caption, decompose, integrate, locate, question
from graphs.nodes_painting import Look, paint, rate
from graphs.nodes_searching import begin, cluster, deepen, learn, propose, recall
from graphs.nodes_touching import touch_up
from graphs.routes import after_cluster, after_locate, after_paint
from graphs.state import RefineState
from models.executor import QueueFull

Update = dict[str, Any]
InputT = TypeVar("InputT", RefineState, Look)
Compiled = CompiledStateGraph[RefineState, Studio, RefineState, RefineState]

STEPS_PER_ROUND = 12
"""recall, propose, (paint, rate, cluster), deepen, (paint, rate, cluster), learn, integrate, locate."""

_RETRY = RetryPolicy(
    max_attempts=3, initial_interval=0.2, retry_on=(ConnectionError, TimeoutError, QueueFull)
)
"""The network may stumble and the queue be full; a mind that answers
nonsense has already been asked again by itself."""
_THINKING = TimeoutPolicy(run_timeout=600.0)
_PAINTING = TimeoutPolicy(idle_timeout=1800.0)
"""A batch may take long on a slow device; half an hour without any progress is a hang."""


def _step(node: Callable[[InputT, Runtime[Studio]], Awaitable[Update]]) -> Any:
    """The node with its `Stepped` event, its crash points and the time it took."""
    name = node.__name__

    @wraps(node)
    async def step(state: InputT, runtime: Runtime[Studio]) -> Update:
        studio = runtime.context
        studio.crash_at(f"before:{name}:{state.round}")
        message = f"picture {state.candidate.views[0].number}" if isinstance(state, Look) else ""
        emit(runtime, Stepped(node=name, round=state.round, message=message))
        update = await node(state, runtime)
        studio.crash_at(f"after:{name}:{state.round}")
        return {**update, "seconds": studio.elapsed}

    return step


def build_refine(*, deferred: bool = True) -> Any:
    """The `StateGraph`, not yet compiled. `deferred` joins wait for all branches; a drawing needs none.

    decompose, question, begin, paint, then two branches side by side (caption, check_caption | answer) that
    `integrate` joins, locate; then rounds of recall, propose, paint, rate, cluster, deepen (which paints
    again), learn. A picture that satisfies is touched up where that was asked for.
    """
    # LangGraph's own types of nodes know neither error handlers nor wrapped nodes.
    graph: Any = StateGraph(RefineState, context_schema=Studio)
    thinking: dict[str, Any] = {"retry_policy": _RETRY, "timeout": _THINKING}
    graph.add_node("decompose", _step(decompose), error_handler=degrade.without_sentences, **thinking)
    graph.add_node("question", _step(question), error_handler=degrade.without_questions, **thinking)
    graph.add_node("begin", _step(begin))
    graph.add_node("paint", _step(paint), retry_policy=_RETRY, timeout=_PAINTING)
    graph.add_node("caption", _step(caption), error_handler=degrade.without_caption, **thinking)
    graph.add_node("check_caption", _step(check_caption), error_handler=degrade.without_verdicts, **thinking)
    graph.add_node("answer", _step(answer), error_handler=degrade.without_answers, **thinking)
    graph.add_node(
        "integrate", _step(integrate), error_handler=degrade.without_integration, defer=deferred, **thinking
    )
    graph.add_node("locate", _step(locate), error_handler=degrade.without_location, **thinking)
    graph.add_node("recall", _step(recall))
    graph.add_node("propose", _step(propose), error_handler=degrade.without_proposals, **thinking)
    graph.add_node("rate", _step(rate), input_schema=Look, error_handler=degrade.without_rating, **thinking)
    graph.add_node("cluster", _step(cluster), defer=deferred)
    graph.add_node("deepen", _step(deepen))
    graph.add_node("learn", _step(learn))
    graph.add_node(
        "touch_up",
        _step(touch_up),
        error_handler=degrade.without_touch_up,
        retry_policy=_RETRY,
        timeout=_PAINTING,
    )
    graph.add_node("explain", _step(explain), **thinking)

    graph.add_edge(START, "decompose")
    graph.add_edge("decompose", "question")
    graph.add_edge("question", "begin")
    graph.add_edge("begin", "paint")
    graph.add_conditional_edges("paint", after_paint, ["caption", "answer", "rate", "learn"])
    graph.add_edge("caption", "check_caption")
    graph.add_edge("check_caption", "integrate")
    graph.add_edge("answer", "integrate")
    graph.add_edge("integrate", "locate")
    graph.add_conditional_edges("locate", after_locate)
    graph.add_edge("recall", "propose")
    graph.add_edge("propose", "paint")
    graph.add_edge("rate", "cluster")
    graph.add_conditional_edges("cluster", after_cluster)
    graph.add_edge("deepen", "paint")
    graph.add_edge("learn", "integrate")
    graph.add_edge("touch_up", "explain")
    graph.add_edge("explain", END)
    return graph


def compile_refine(checkpointer: BaseCheckpointSaver[str] | None = None) -> Compiled:
    """The graph ready to run; without a checkpointer it cannot be resumed."""
    graph = copy(_compile_once())
    graph.checkpointer = checkpointer
    return graph


@cache
def _compile_once() -> Compiled:
    """Compiling takes 70 ms, and runs differ in the checkpointer alone."""
    return build_refine().compile(name="refine")


def recursion_limit(pictures: int) -> int:
    """More steps than any run with this budget can take: every round paints at least one picture."""
    return STEPS_PER_ROUND * (pictures + 4)


def mermaid() -> str:
    """The graph as a Mermaid flowchart, without the error handlers."""
    # LangGraph draws edges that do not exist around joins that are deferred.
    drawn = build_refine(deferred=False).compile().get_graph().draw_mermaid()
    return "".join(f"{line}\n" for line in drawn.splitlines() if "__error_handler__" not in line)

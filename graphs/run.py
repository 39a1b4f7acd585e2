"""Runs a refinement from the first ledger row to the last event: refine, resume, replay.

A run survives the death of its process at any moment: its ledger row is written before anything else,
every step is checkpointed before the next one begins, and a step that runs again makes the same pictures
under the same names. Knows no node.
"""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.errors import GraphDrained
from langgraph.runtime import RunControl

from graphs.context import Studio
from graphs.events import EVENT, Ended, Event, Started
from graphs.experience import prepare_memory
from graphs.refine import Compiled, compile_refine, recursion_limit
from graphs.request import RefineRequest, RefineResult, RunStatus
from graphs.result import make_result
from graphs.state import ORIGINAL, Candidate, RefineState
from memory.checkpoints import Checkpointer, open_checkpointer
from memory.journal import Journal
from memory.ledger import Ledger, new_run_id

OnEvent = Callable[[Event], None]


def _unheard(event: Event) -> None:
    """Nobody listens; the journal keeps the event all the same."""


@dataclass(frozen=True, slots=True)
class Home:
    """Where runs are kept: the ledger, the checkpoints beside it, and the data folder with one folder per
    run.
    """

    root: Path
    ledger: Ledger

    @property
    def checkpoints(self) -> Path:
        """The checkpoint database, where the ledger is a file too."""
        return self.root / "checkpoints.db"

    def open_checkpointer(self) -> AbstractAsyncContextManager[Checkpointer]:
        """The checkpointer: in the ledger's database where that is on a server, else in a file of its own.

        Raises:
            StoreError: it cannot be read, or its server does not answer.
        """
        if self.ledger.url is None:
            return open_checkpointer(self.checkpoints)
        from memory.postgres_checkpoints import open_postgres_checkpointer  # only who uses it pays for it

        return open_postgres_checkpointer(self.ledger.url)

    def journal(self, run_id: str) -> Path:
        """The events of a run, one JSON object a line. A step that ran again after a crash is in it twice."""
        return self.root / "runs" / run_id / "run.jsonl"


async def refine(
    request: RefineRequest,
    studio: Studio,
    home: Home,
    on_event: OnEvent = _unheard,
    *,
    run_id: str | None = None,
    control: RunControl | None = None,
) -> RefineResult:
    """Refine a prompt. `control.request_drain()` stops after the present step, as "cancelled".

    Raises:
        RunBusy: somebody works on a run of this id.
        ValueError: the id is taken.
        ToolError: the first picture could not be painted.
        asyncio.CancelledError: the task was cancelled; the run is "cancelled" and can be resumed.
    """
    run_id = run_id or new_run_id()
    with home.ledger.lease(run_id):
        home.ledger.create(run_id, request.model_dump(mode="json"))
        return await _work(run_id, request, studio, home, on_event, control)


async def resume(
    run_id: str,
    studio: Studio,
    home: Home,
    on_event: OnEvent = _unheard,
    *,
    control: RunControl | None = None,
) -> RefineResult:
    """Go on with a run where its last checkpoint left it; of a run that has ended, give the result again.

    Raises:
        LookupError: there is no such run.
        RunBusy: somebody works on it.
    """
    request = load_request(run_id, home)
    with home.ledger.lease(run_id):
        home.ledger.reopen(run_id)
        return await _work(run_id, request, studio, home, on_event, control, resumed=True)


async def replay(
    run_id: str,
    studio: Studio,
    home: Home,
    on_event: OnEvent = _unheard,
    *,
    control: RunControl | None = None,
) -> RefineResult:
    """Do a run again from the beginning, as a new run, with what memory said then and without teaching it
    anew.

    A picture that differs from the first time is told in the result's notes.

    Raises:
        LookupError: there is no such run, or it has no checkpoint.
    """
    before = await load_state(run_id, home)
    again = replace(studio, remembered=before.experience, learning=False)
    result = await refine(before.request, again, home, on_event, control=control)
    after = await load_state(result.run_id, home)
    return result.model_copy(update={"notes": result.notes + _compare(before, after)})


def _compare(before: RefineState, after: RefineState) -> tuple[str, ...]:
    pictures = [[view.picture.sha256 for _, view in state.views] for state in (before, after)]
    if pictures[0] == pictures[1]:
        return ()
    same = next(
        (n for n, (old, new) in enumerate(zip(*pictures, strict=False)) if old != new),
        min(map(len, pictures)),
    )
    return (
        f"this replay differs from run {before.run_id} from picture {same + 1} on "
        f"({len(pictures[0])} pictures then, {len(pictures[1])} now): "
        "a mind that answers differently each time, or another version of a model",
    )


def load_request(run_id: str, home: Home) -> RefineRequest:
    """What a run was asked.

    Raises:
        LookupError: there is no such run.
    """
    return RefineRequest.model_validate(home.ledger.get(run_id).request)


async def load_state(run_id: str, home: Home) -> RefineState:
    """A run's state at its last checkpoint.

    Raises:
        LookupError: there is no such run, or it ended before its first checkpoint.
    """
    home.ledger.get(run_id)
    async with home.open_checkpointer() as saver:
        state = await _read_state(compile_refine(saver), _configure(run_id))
    if state is None:
        raise LookupError(f"run {run_id} has no checkpoint yet: resume it first")
    return state


def begin_state(run_id: str, request: RefineRequest) -> RefineState:
    """A run's first state: the original prompt, which nobody has looked at."""
    return RefineState(
        run_id=run_id,
        request=request,
        candidates={ORIGINAL: Candidate(id=ORIGINAL, prompt=request.prompt)},
    )


async def _work(
    run_id: str,
    request: RefineRequest,
    studio: Studio,
    home: Home,
    on_event: OnEvent,
    control: RunControl | None,
    *,
    resumed: bool = False,
) -> RefineResult:
    began = studio.clock()
    with Journal(home.journal(run_id)) as journal:
        tell = partial(_tell, studio, began, journal, on_event)
        tell(
            Started(
                run_id=run_id,
                prompt=request.prompt,
                backend=request.backend,
                mind=request.mind,
                seed=request.seed,
                pictures=request.budget.pictures,
                resumed=resumed,
            )
        )
        prepare_memory(request, studio)
        async with home.open_checkpointer() as saver:
            graph, config = compile_refine(saver), _configure(run_id, request.budget.pictures)
            state = await _read_state(graph, config)
            spent = state.seconds if state else 0.0
            status: RunStatus | None = None
            error: BaseException | None = None
            try:
                await _walk(
                    graph,
                    None if state else begin_state(run_id, request),
                    config,
                    replace(studio, started=began - spent),
                    tell,
                    control,
                )
            except GraphDrained:
                status = "cancelled"
            except asyncio.CancelledError as cancelled:
                status, error = "cancelled", cancelled
            except Exception as failure:
                status, error = "failed", failure
            final = await _read_state(graph, config) or begin_state(run_id, request)
        result = make_result(final, status)
        if isinstance(error, Exception):
            result = result.model_copy(update={"explanation": f"{type(error).__name__}: {error}"})
        home.ledger.finish(run_id, result.status, result.model_dump(mode="json"), pictures=result.pictures)
        tell(
            Ended(
                status=result.status,
                final_prompt=result.final_prompt,
                picture=result.picture,
                rating=result.final_rating,
                explanation=result.explanation,
                round=final.round,
            )
        )
    if error is not None:
        raise error
    return result


async def _walk(
    graph: Compiled,
    first: RefineState | None,
    config: RunnableConfig,
    studio: Studio,
    tell: OnEvent,
    control: RunControl | None,
) -> None:
    stream = cast(Any, graph).astream(
        first,
        config,
        context=studio,
        stream_mode="custom",
        durability="sync",
        control=control or RunControl(),
    )
    async for event in stream:
        tell(EVENT.validate_python(event))


def _tell(studio: Studio, began: float, journal: Journal, on_event: OnEvent, event: Event) -> None:
    stamped = event.model_copy(update={"at": studio.clock() - began})
    journal.append(stamped)
    on_event(stamped)


async def _read_state(graph: Compiled, config: RunnableConfig) -> RefineState | None:
    snapshot = await graph.aget_state(config)
    values = cast(dict[str, Any], snapshot.values)
    # Between the first checkpoint (the input) and the first step there are no values yet.
    return RefineState.model_validate(values) if "request" in values else None


def _configure(run_id: str, pictures: int = 1) -> RunnableConfig:
    return {"configurable": {"thread_id": run_id}, "recursion_limit": recursion_limit(pictures)}

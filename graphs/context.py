"""What nodes work with and what is never checkpointed: the executor, the minds, memory, a clock.

Comes to a node as `runtime.context`. Knows neither the nodes nor their order.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from langgraph.runtime import Runtime
from pydantic import BaseModel

from agents.metering import Spent, metered
from agents.role import Mind, Role
from graphs.events import Event
from graphs.state import Experience
from memory.episodes import Episodes
from memory.patterns import PatternPosterior
from memory.seeds import SeedPosterior
from models.artifact import ArtifactRef, ArtifactStore
from models.executor import Executor

RequestT = TypeVar("RequestT", bound=BaseModel)
ReplyT = TypeVar("ReplyT", bound=BaseModel)


def _pass_by(point: str) -> None:
    """Nothing happens at a crash point unless a test says so."""


@dataclass(frozen=True, slots=True)
class Studio:
    """Everything a refinement needs around it. `minds` maps a role's name to its mind; `mind` plays the
    others.
    """

    executor: Executor
    artifacts: ArtifactStore
    mind: Mind
    minds: Mapping[str, Mind] = field(default_factory=dict[str, Mind])
    patterns: tuple[str, ...] = ()
    """The names of the pattern library that proposals choose from."""
    episodes: Episodes | None = None
    """None: nothing is recalled and nothing learnt, as with the ablation of memory."""
    posterior: PatternPosterior | None = None
    seeds: SeedPosterior | None = None
    remembered: Mapping[str, Experience] | None = None
    """What memory said in an earlier run, by round: a replay hears that instead, and teaches nothing."""
    learning: bool = True
    """False: memory is read and never taught, so that runs do not depend on each other."""
    clock: Callable[[], float] = time.monotonic
    """Seconds; only differences count."""
    started: float = 0.0
    """What the clock would have shown at the run's beginning, had it run in one piece."""
    crash_at: Callable[[str], None] = _pass_by
    """Called at "before:node:round", "torn:node:round" and "after:node:round"; a test may kill the
    process there.
    """

    def mind_for(self, role: str) -> Mind:
        """Who plays `role`."""
        return self.minds.get(role, self.mind)

    @property
    def elapsed(self) -> float:
        """Seconds since the run began, without the time in which no process worked on it."""
        return self.clock() - self.started


def emit(runtime: Runtime[Studio], event: Event) -> None:
    """Send an event into the run's stream."""
    runtime.stream_writer(event)


class Tally:
    """Asks minds for one step and counts the calls under a key that a repeated step repeats."""

    def __init__(self, runtime: Runtime[Studio], step: str) -> None:
        self._runtime = runtime
        self._step = step
        self.calls: dict[str, int] = {}
        """By "role/step"; goes into the state's `calls`."""
        self.spent: dict[str, Spent] = {}
        """By "role/step", where a call took tokens or came from a cache; goes into the state's `spent`."""

    @property
    def update(self) -> dict[str, Any]:
        """What a node adds to its update of the state."""
        return {"calls": self.calls, "spent": self.spent} if self.spent else {"calls": self.calls}

    async def ask(
        self, role: Role[RequestT, ReplyT], request: RequestT, images: Sequence[ArtifactRef] = ()
    ) -> ReplyT:
        """Ask whoever plays `role`; the call counts even if it fails.

        Raises:
            MindError: no valid reply came.
        """
        key = f"{role.name}/{self._step}"
        self.calls[key] = self.calls.get(key, 0) + 1
        with metered() as meter:
            try:
                return await self._runtime.context.mind_for(role.name).ask(role, request, images)
            finally:
                if meter.spent != Spent():
                    self.spent[key] = self.spent.get(key, Spent()) + meter.spent

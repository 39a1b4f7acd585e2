"""The events of a run: the one stream behind the terminal, the web, SSE, MCP progress and `run.jsonl`."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from agents.evidence import Error, Lesson, Rating
from graphs.request import RunStatus
from models.artifact import ArtifactRef


class _Event(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    at: float = 0.0
    """Seconds since the run (or its resumption) began; filled in by the runner."""
    round: int = 0


class Started(_Event):
    """The run's ledger row exists; work begins (or goes on, when `resumed`)."""

    type: Literal["started"] = "started"
    run_id: str
    prompt: str
    backend: str
    mind: str
    seed: int
    pictures: int
    """The picture budget."""
    resumed: bool = False


class Stepped(_Event):
    """A node began."""

    type: Literal["stepped"] = "stepped"
    node: str
    message: str = ""


class Painting(_Event):
    """Progress of a batch of pictures."""

    type: Literal["painting"] = "painting"
    done: int
    total: int
    unit: str = "step"


class Painted(_Event):
    """A picture exists. `candidate` is "original" or a candidate's id."""

    type: Literal["painted"] = "painted"
    candidate: str
    prompt: str
    picture: ArtifactRef
    spent: int
    """Pictures painted in the run so far."""


class ErrorSeen(_Event):
    """An error was found, or changed its status."""

    type: Literal["error"] = "error"
    error: Error


class Rated(_Event):
    """A candidate's picture was rated; `arm` is its cluster, `incumbent` whether it now leads."""

    type: Literal["rated"] = "rated"
    candidate: str
    picture: ArtifactRef
    rating: Rating
    errors: tuple[str, ...] = ()
    """Descriptions of what is wrong in this picture."""
    arm: int | None = None
    incumbent: bool = False


class TouchedUp(_Event):
    """The best picture's things were painted once more, from close up; `kept` says whether the outcome takes
    its place. Without a picture, `reason` says why there is none.
    """

    type: Literal["touched_up"] = "touched_up"
    things: tuple[str, ...] = ()
    picture: ArtifactRef | None = None
    rating: Rating | None = None
    kept: bool = False
    reason: str = ""


class Recalled(_Event):
    """Lessons came back from memory."""

    type: Literal["recalled"] = "recalled"
    lessons: tuple[Lesson, ...]


class Clustered(_Event):
    """The arms and their posterior probabilities after a round."""

    type: Literal["clustered"] = "clustered"
    posterior: dict[int, float]


class Degraded(_Event):
    """Something failed and the run goes on without it."""

    type: Literal["degraded"] = "degraded"
    node: str
    reason: str


class Ended(_Event):
    """The run is over."""

    type: Literal["ended"] = "ended"
    status: RunStatus
    final_prompt: str
    picture: ArtifactRef | None
    rating: Rating | None
    explanation: str


Event = Annotated[
    Started
    | Stepped
    | Painting
    | Painted
    | ErrorSeen
    | Rated
    | TouchedUp
    | Recalled
    | Clustered
    | Degraded
    | Ended,
    Field(discriminator="type"),
]
EVENT: TypeAdapter[Event] = TypeAdapter(Event)
"""Reads an event back from its JSON."""

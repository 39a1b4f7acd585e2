"""What a run has come to, folded from its events. Knows no terminal, no web page and no graph.

Feed it events in order, from a live run or from `run.jsonl`; both give the same board.
"""

from dataclasses import dataclass, field

from agents.evidence import Error, Rating
from graphs.events import (
    Clustered,
    Degraded,
    Ended,
    ErrorSeen,
    Event,
    Painted,
    Painting,
    Rated,
    Recalled,
    Started,
    Stepped,
    TouchedUp,
)


@dataclass(slots=True)
class Row:
    """A candidate as people see it: how many pictures it has, and the rating of the one rated last."""

    prompt: str = ""
    pictures: int = 0
    rating: Rating | None = None
    errors: tuple[str, ...] = ()
    arm: int | None = None
    incumbent: bool = False
    round: int = 0


@dataclass(slots=True)
class Board:
    """The state of one run for showing."""

    started: Started | None = None
    round: int = 0
    node: str = ""
    seconds: float = 0.0
    spent: int = 0
    """Pictures painted so far."""
    painting: Painting | None = None
    """The batch in the making, if there is one."""
    errors: dict[str, Error] = field(default_factory=dict[str, Error])
    rows: dict[str, Row] = field(default_factory=dict[str, Row])
    posterior: dict[int, float] = field(default_factory=dict[int, float])
    lessons: int = 0
    touched: TouchedUp | None = None
    notes: list[str] = field(default_factory=list[str])
    ended: Ended | None = None

    def update(self, event: Event) -> None:
        """Take one event in."""
        self.seconds = max(self.seconds, event.at)
        self.round = max(self.round, event.round)
        match event:
            case Started():
                self.started = event
            case Stepped():
                self.node, self.painting = event.node, None
            case Painting():
                self.painting = event
            case Painted():
                row = self.rows.setdefault(event.candidate, Row(round=event.round))
                row.prompt, row.pictures = event.prompt, row.pictures + 1
                self.spent, self.painting = max(self.spent, event.spent), None
            case ErrorSeen():
                self.errors[event.error.id] = event.error
            case Rated():
                self._rate(event)
            case TouchedUp():
                self.touched, self.painting = event, None
            case Recalled():
                self.lessons += len(event.lessons)
            case Clustered():
                self.posterior = dict(event.posterior)
            case Degraded():
                self.notes.append(f"{event.node}: {event.reason}")
            case Ended():
                self.ended, self.painting = event, None

    def _rate(self, event: Rated) -> None:
        row = self.rows.setdefault(event.candidate, Row(round=event.round))
        row.rating, row.errors, row.arm = event.rating, event.errors, event.arm
        if event.incumbent:
            for other in self.rows.values():
                other.incumbent = False
            row.incumbent = True

"""What minds cost: tokens, money and calls that a cache saved, added up where somebody asked for it.

A mind does not know who asks; whoever wants to know what asking cost opens a meter around it.
"""

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

from pydantic import BaseModel, ConfigDict


class Spent(BaseModel):
    """What some calls to minds took. `cost` is in the currency of the endpoint's prices."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tokens_in: int = 0
    tokens_out: int = 0
    cost: float = 0.0
    cached: int = 0
    """Replies that came from the cache."""
    asked_again: int = 0
    """Replies that were no good, so that the question was asked once more."""

    def __add__(self, other: "Spent") -> "Spent":
        """Both together."""
        return Spent(
            tokens_in=self.tokens_in + other.tokens_in,
            tokens_out=self.tokens_out + other.tokens_out,
            cost=self.cost + other.cost,
            cached=self.cached + other.cached,
            asked_again=self.asked_again + other.asked_again,
        )

    @property
    def tokens(self) -> int:
        """Tokens in and out."""
        return self.tokens_in + self.tokens_out


class Meter:
    """Adds up what is charged while it is open, in this task and the tasks that it starts."""

    def __init__(self) -> None:
        self.spent = Spent()


_METER: ContextVar[Meter | None] = ContextVar("meter", default=None)


@contextmanager
def metered() -> Generator[Meter]:
    """A meter for what is asked in this block. A meter that is open around it is charged too."""
    outer, meter = _METER.get(), Meter()
    token = _METER.set(meter)
    try:
        yield meter
    finally:
        _METER.reset(token)
        if outer is not None:
            outer.spent += meter.spent


def charge(spent: Spent) -> None:
    """Charge the open meter, if there is one."""
    if (meter := _METER.get()) is not None:
        meter.spent += spent

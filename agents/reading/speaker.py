"""What can be spoken to: a language model behind an endpoint or on this machine, as minds see it.

Knows no role and no wire.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from pydantic import BaseModel

from agents.metering import Spent
from agents.role import MindError
from models.artifact import ArtifactRef

FaultKind = Literal[
    "refused",  # the model would not
    "truncated",  # the reply was cut at the token limit
    "empty",  # no choices, or no text
    "garbled",  # the body is no JSON, or no reply of this API
    "rejected",  # the endpoint takes no such request (4xx)
    "denied",  # wrong key, or no right to the model
    "limited",  # too many requests, also after waiting
    "broken",  # the endpoint failed (5xx)
    "unreachable",  # no connection, or no reply in time
]
WORTH_ASKING_AGAIN: frozenset[FaultKind] = frozenset({"truncated", "empty", "garbled"})


class SpeechFault(MindError):
    """A model gave no reply that can be read. The message names who, what was wrong and the way out."""

    def __init__(self, kind: FaultKind, message: str) -> None:
        super().__init__(message)
        self.kind: FaultKind = kind


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of a conversation. Only the user's turns carry pictures."""

    who: Literal["user", "assistant"]
    text: str
    pictures: tuple[ArtifactRef, ...] = ()


@dataclass(frozen=True, slots=True)
class Spoken:
    """A model's reply and what it took."""

    text: str
    spent: Spent


class Speaker(Protocol):
    """A language model that takes instructions, turns and the shape of the reply that is wanted."""

    @property
    def identity(self) -> str:
        """What a cached reply depends on besides the conversation: the model and where it runs."""
        ...

    async def say(self, instructions: str, turns: Sequence[Turn], shape: type[BaseModel]) -> Spoken:
        """The model's next turn, wanted as JSON of `shape`; the caller still has to check that it is.

        Raises:
            SpeechFault: no reply came.
        """
        ...

"""A role is a request, a reply and instructions; a mind plays roles.

Knows neither which roles there are (one file each beside this one) nor how any mind thinks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Generic, Protocol, TypeVar

from pydantic import BaseModel

from models.artifact import ArtifactRef

RequestT = TypeVar("RequestT", bound=BaseModel)
ReplyT = TypeVar("ReplyT", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Role(Generic[RequestT, ReplyT]):
    """One part to be played. `instructions` are for minds that read; `pictures` says how many a request
    carries.
    """

    name: str
    request: type[RequestT]
    reply: type[ReplyT]
    instructions: str
    pictures: int = 0


def read_instructions(role: str) -> str:
    """What a mind that reads is told about `role`: the text of `instructions/<role>.md`."""
    return resources.files("agents").joinpath("instructions", f"{role}.md").read_text("utf-8")


class MindError(RuntimeError):
    """A mind could not play a role; the message names the role, what was wrong and the way out."""


class UnsupportedPrompt(MindError):
    """The prompt asks for what this mind or the embedded world does not know. `words` names it."""

    def __init__(self, words: Sequence[str], message: str) -> None:
        super().__init__(message)
        self.words = tuple(words)


class Mind(Protocol):
    """Plays roles. Replies are validated by the role's reply model; the same request gives the same reply if
    it can.
    """

    name: str

    async def ask(
        self, role: Role[RequestT, ReplyT], request: RequestT, images: Sequence[ArtifactRef] = ()
    ) -> ReplyT:
        """Play `role` on `request`, looking at `images`.

        Raises:
            MindError: no valid reply came; UnsupportedPrompt when the prompt is outside what this mind knows.
        """
        ...

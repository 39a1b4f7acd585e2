"""How one role is told to a mind that reads, and how its reply is understood.

The roles speak in spans, ids and probabilities, which no language model writes reliably. So a phrase tells
the request with numbers in place of ids, and takes a reply of quotes, numbers and verdicts, each after
the reason for it. Knows no endpoint.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, JsonValue

from agents.role import ReplyT, RequestT, Role

SaidT = TypeVar("SaidT", bound="Said")
ItemT = TypeVar("ItemT")

Told = Mapping[str, JsonValue]
"""A request as it is told: plain data, nothing that only this program knows."""


class Said(BaseModel):
    """Base of everything a reading mind says. Strict JSON schemas want every field: none has a default."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    plain: ClassVar[str | None] = None
    """The field that a reply without any JSON is taken for, where that cannot be anything else."""


class Misunderstood(ValueError):
    """A reply of the right shape that makes no sense for its request. The message is for the mind."""


@dataclass(frozen=True, slots=True)
class Phrase(Generic[RequestT, SaidT, ReplyT]):
    """A role in words: what it is told, the shape of what is said, and what that means.

    `understand` raises Misunderstood where what was said does not fit the request.
    """

    role: Role[RequestT, ReplyT]
    said: type[SaidT]
    tell: Callable[[RequestT], Told]
    understand: Callable[[RequestT, SaidT], ReplyT]


def numbered(items: Sequence[ItemT], number: int, what: str) -> ItemT:
    """The item that a mind calls `number`, counted from 1.

    Raises:
        Misunderstood: there is no such item.
    """
    if not 1 <= number <= len(items):
        has = f"they go from 1 to {len(items)}" if items else "there are none"
        raise Misunderstood(f"there is no {what} {number}: {has}")
    return items[number - 1]


def check_each_once(numbers: Sequence[int], count: int, what: str) -> None:
    """Check that 1 to `count` are all there, each once.

    Raises:
        Misunderstood: one is missing, comes twice or does not exist.
    """
    for number in numbers:
        numbered(range(count), number, what)
    if missing := sorted(set(range(1, count + 1)) - set(numbers)):
        raise Misunderstood(f"{what} {', '.join(map(str, missing))} got no reply: reply to each of them")
    if twice := sorted({number for number in numbers if numbers.count(number) > 1}):
        raise Misunderstood(f"{what} {', '.join(map(str, twice))} got more than one reply: give one each")


def said_text(text: str, what: str) -> str:
    """The text without blanks around it.

    Raises:
        Misunderstood: it is empty.
    """
    if not text.strip():
        raise Misunderstood(f"{what} is empty")
    return text.strip()

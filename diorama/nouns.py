"""Finds noun phrases in lexemes: [the] [ordinal] [a, three, another] attributes shape."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from diorama.lexemes import Lexeme

_ADVERBS = ("exactly", "only", "just", "nice", "very")


@dataclass(frozen=True, slots=True)
class Noun:
    """A noun phrase. `start` is the position of its first lexeme, `after` that of the one after its last."""

    determiner: Lexeme | None
    definite: bool
    ordinal: int | None
    attributes: tuple[Lexeme, ...]
    shape: Lexeme
    start: int
    after: int

    @property
    def wanted(self) -> dict[str, str]:
        """Its attributes by name."""
        return dict(cast(tuple[str, str], attribute.meaning) for attribute in self.attributes)


def kind_at(lexemes: Sequence[Lexeme], position: int) -> str:
    """The kind of the lexeme at `position`, empty outside."""
    return lexemes[position].kind if 0 <= position < len(lexemes) else ""


def skip(lexemes: Sequence[Lexeme], position: int, *kinds: str) -> int:
    """The first position from here on that is none of `kinds`."""
    while kind_at(lexemes, position) in kinds:
        position += 1
    return position


def noun_at(lexemes: Sequence[Lexeme], start: int) -> Noun | None:
    """The noun phrase that starts at `start`, or None."""
    position = start
    determiner: Lexeme | None = None
    ordinal: int | None = None
    definite = kind_at(lexemes, position) == "the"
    if definite:
        position += 1
        if kind_at(lexemes, position) == "ordinal":
            ordinal = cast(int, lexemes[position].meaning)
            position += 1
    while (kind := kind_at(lexemes, position)) in ("article", "number", "more", "some", "filler"):
        lexeme = lexemes[position]
        if kind == "filler" and lexeme.text not in _ADVERBS:
            return None
        if kind != "filler":
            if determiner is not None:
                return None
            determiner = lexeme
        position += 1
    attributes: list[Lexeme] = []
    while kind_at(lexemes, position) == "attribute":
        attributes.append(lexemes[position])
        position = skip(lexemes, position + 1, "filler")
        # "a small, red and striped cube": separators only inside a phrase that a determiner holds together.
        after = skip(lexemes, position, "comma", "and")
        if kind_at(lexemes, after) == "attribute" and (determiner is not None or definite):
            position = after
    if kind_at(lexemes, position) not in ("shape", "thing"):
        return None
    return Noun(determiner, definite, ordinal, tuple(attributes), lexemes[position], start, position + 1)

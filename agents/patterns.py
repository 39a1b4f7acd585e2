"""The library of patterns: ways to reword a prompt that a painter did not understand, read from
`patterns.toml`.

A pattern is data: what it helps against, how to tell a mind that reads, and which rule the embedded mind
carries out. Knows no prompt and no painter; how well a pattern does is memory's to know.
"""

import tomllib
from functools import cache
from importlib import resources
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from agents.evidence import ErrorKind
from diorama.wording import HELD_OUT_STYLES, find_style


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _StyledRule(_Data):
    style: str

    @field_validator("style")
    @classmethod
    def _check_style(cls, style: str) -> str:
        find_style(style)
        if style in HELD_OUT_STYLES:
            raise ValueError(
                f"style {style!r} is held out: no painter learns it, so no pattern may aim at it"
            )
        return style


class Reword(_StyledRule):
    """Say the whole prompt in `style`, with its groups in the given order."""

    name: Literal["reword"]
    order: Literal["as_said", "failing_first", "failing_last"] = "as_said"


class Rename(_StyledRule):
    """Say only the failing group's name in `style`."""

    name: Literal["rename"]


class Respell(_Data):
    """Swap only the failing words for others that mean the same."""

    name: Literal["respell"]
    what: Literal["count", "noun", "relation"]


class Invert(_Data):
    """Say only the failing relation from its other end."""

    name: Literal["invert"]


class Restate(_Data):
    """Say the failing group's attributes once more, in a sentence at the end."""

    name: Literal["restate"]


class DropFillers(_Data):
    """Delete what no sentence of the prompt covers."""

    name: Literal["drop_fillers"]


Rule = Annotated[Reword | Rename | Respell | Invert | Restate | DropFillers, Field(discriminator="name")]

WHOLE_PROMPT_RULES = (Reword, Restate, DropFillers)
"""Rules that may edit outside the sentences that an error was located in."""


class Example(_Data):
    """A prompt before and after the pattern; both mean the same."""

    before: str
    after: str


class Pattern(_Data):
    """One way to reword. `strategy` instructs minds that read; `rule` is what the embedded mind does."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z_]*$")]
    kinds: Annotated[tuple[ErrorKind, ...], Field(min_length=1)]
    summary: str
    strategy: str
    example: Example
    rule: Rule

    @property
    def whole_prompt(self) -> bool:
        """Whether the pattern may edit outside the sentences that an error was located in."""
        return isinstance(self.rule, WHOLE_PROMPT_RULES)


class _Library(_Data):
    patterns: Annotated[tuple[Pattern, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _check_names(self) -> "_Library":
        names = [pattern.name for pattern in self.patterns]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"patterns are named twice: {', '.join(twice)}")
        return self


def read_patterns(text: str) -> tuple[Pattern, ...]:
    """Read a library of patterns from TOML.

    Raises:
        ValueError: a pattern is incomplete, its rule or style is unknown, or two share a name.
    """
    try:
        return TypeAdapter(_Library).validate_python(tomllib.loads(text)).patterns
    except ValidationError as error:
        raise ValueError(f"the pattern library does not hold together: {error}") from error


@cache
def load_patterns() -> tuple[Pattern, ...]:
    """All patterns of the shipped library, in its order."""
    return read_patterns(resources.files("agents").joinpath("patterns.toml").read_text("utf-8"))


@cache
def patterns_for(kind: ErrorKind) -> tuple[Pattern, ...]:
    """The patterns that may help against errors of `kind`."""
    return tuple(pattern for pattern in load_patterns() if kind in pattern.kinds)

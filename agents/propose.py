"""Rewrites the located words so that the painter understands them (GenPilot A.3 step 1)."""

from typing import Annotated

from pydantic import Field

from agents.evidence import Error, Evidence, Lesson, Proposal, Sentence
from agents.role import Role, read_instructions


class PatternChoice(Evidence):
    """A pattern of the library and how often it should be tried: its weight among the others."""

    name: str
    weight: Annotated[float, Field(ge=0.0)]


class ProposeRequest(Evidence):
    """What is wrong, what was learnt, and what has been tried. Spans refer to `prompt`."""

    prompt: str
    """The base prompt whose words are edited (the incumbent's or a cluster's best)."""
    original_prompt: str
    """The user's own words: what the picture has to show."""
    sentences: tuple[Sentence, ...]
    """The sentences of `prompt`."""
    errors: tuple[Error, ...]
    patterns: tuple[PatternChoice, ...]
    lessons: tuple[Lesson, ...] = ()
    tried: tuple[str, ...] = ()
    """Prompts that were painted already and need not come again."""
    count: Annotated[int, Field(ge=1)] = 8
    seed: int = 0
    longest: Annotated[int, Field(ge=1)] | None = None
    """Characters that a candidate may have, once the painter refused one as too long for it."""


class Proposals(Evidence):
    """At most `count` proposals; each gives another prompt."""

    proposals: tuple[Proposal, ...]


PROPOSE = Role("propose", ProposeRequest, Proposals, read_instructions("propose"))

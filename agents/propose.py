"""Rewrites the located words so that the painter understands them (GenPilot A.3 step 1)."""

from typing import Annotated

from pydantic import Field

from agents.evidence import Error, Evidence, Lesson, Proposal, Sentence
from agents.role import Role


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


class Proposals(Evidence):
    """At most `count` proposals; each gives another prompt."""

    proposals: tuple[Proposal, ...]


INSTRUCTIONS = """\
Write candidate prompts as exact replacements of words of the base prompt. Each replaces only words that an
error concerns and keeps the meaning of the original prompt to the letter: same objects, numbers, attributes,
relations, background. Prefer the patterns with more weight, follow the lessons, make the candidates differ
from each other and from what was tried.
"""

PROPOSE = Role("propose", ProposeRequest, Proposals, INSTRUCTIONS)

"""Takes a prompt apart into sentences that are easy to paint and to check (GenPilot A.2 step 1)."""

from typing import Annotated

from pydantic import Field

from agents.evidence import Evidence, Sentence
from agents.role import Role, read_instructions


class DecomposeRequest(Evidence):
    """A prompt as a person wrote it."""

    prompt: str


class Decomposition(Evidence):
    """The prompt's sentences in order; their spans do not overlap. What no sentence covers is filler."""

    sentences: Annotated[tuple[Sentence, ...], Field(min_length=1)]


DECOMPOSE = Role("decompose", DecomposeRequest, Decomposition, read_instructions("decompose"))

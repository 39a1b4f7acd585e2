"""Tells a person in one paragraph what was wrong and what fixed it."""

from agents.evidence import Edit, Error, Evidence, Rating
from agents.role import Role, read_instructions


class ExplainRequest(Evidence):
    """How a refinement went."""

    prompt: str
    final_prompt: str
    errors: tuple[Error, ...]
    edits: tuple[Edit, ...]
    original: Rating
    final: Rating
    pictures: int
    status: str


class Explanation(Evidence):
    """One paragraph for a person."""

    text: str


EXPLAIN = Role("explain", ExplainRequest, Explanation, read_instructions("explain"))

"""Tells a person in one paragraph what was wrong and what fixed it."""

from agents.evidence import Edit, Error, Evidence, Rating
from agents.role import Role


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


INSTRUCTIONS = """\
In one short paragraph tell the person who wrote the prompt what was wrong in the first picture, what was
changed and why it helped, and what is still wrong if anything is. No jargon.
"""

EXPLAIN = Role("explain", ExplainRequest, Explanation, INSTRUCTIONS)

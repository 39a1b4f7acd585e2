"""Rates a picture on GenPilot's three aspects, 1 to 5 (A.3 step 5)."""

from agents.evidence import Answer, Error, Evidence, Question, Rating
from agents.role import Role


class RateRequest(Evidence):
    """The user's own prompt and what looking at this picture gave. The picture comes along."""

    prompt: str
    questions: tuple[Question, ...]
    answers: tuple[Answer, ...]
    errors: tuple[Error, ...]


INSTRUCTIONS = """\
Rate how well the picture shows the prompt, from 1 (not at all) to 5 (everything, without doubt): attribute
binding (each object with its own number, colour, surface and size), object relationship (places relative to
each other), background consistency (the background asked for, and nothing that was not asked for). Give a
short reason for each.
"""

RATE = Role("rate", RateRequest, Rating, INSTRUCTIONS, pictures=1)

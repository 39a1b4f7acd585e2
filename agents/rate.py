"""Rates a picture on GenPilot's three aspects, 1 to 5 (A.3 step 5)."""

from agents.evidence import Answer, Error, Evidence, Question, Rating
from agents.role import Role, read_instructions


class RateRequest(Evidence):
    """The user's own prompt and what looking at this picture gave. The picture comes along."""

    prompt: str
    questions: tuple[Question, ...]
    answers: tuple[Answer, ...]
    errors: tuple[Error, ...]


RATE = Role("rate", RateRequest, Rating, read_instructions("rate"), pictures=1)

"""Merges answers and caption verdicts into errors, each named once (GenPilot A.2 step 9)."""

from agents.evidence import Answer, CaptionVerdict, Error, Evidence, Question, Sentence
from agents.role import Role, read_instructions


class IntegrateRequest(Evidence):
    """All evidence about one picture, and the errors known from earlier rounds."""

    prompt: str
    sentences: tuple[Sentence, ...]
    questions: tuple[Question, ...]
    answers: tuple[Answer, ...]
    verdicts: tuple[CaptionVerdict, ...] = ()
    known: tuple[Error, ...] = ()
    round: int = 0


class Errors(Evidence):
    """Every error seen, open ones first, each fault once; known errors that are gone come back as fixed."""

    errors: tuple[Error, ...]


INTEGRATE = Role("integrate", IntegrateRequest, Errors, read_instructions("integrate"))

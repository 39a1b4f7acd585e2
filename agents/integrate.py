"""Merges answers and caption verdicts into errors, each named once (GenPilot A.2 step 9)."""

from agents.evidence import Answer, CaptionVerdict, Error, Evidence, Question, Sentence
from agents.role import Role


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


INSTRUCTIONS = """\
From the answers and the caption verdicts list what is wrong in the picture. Name each fault once, whatever
the number of questions that show it; keep the id of a fault that is already known. Answers weigh more than
the caption. A known fault that no longer shows is fixed; a fixed one that shows again is regressed.
"""

INTEGRATE = Role("integrate", IntegrateRequest, Errors, INSTRUCTIONS)

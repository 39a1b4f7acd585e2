"""Turns sentences into visual questions whose wanted answer is yes (GenPilot A.2 step 7)."""

from typing import Annotated

from pydantic import Field

from agents.evidence import Evidence, Question, Sentence
from agents.role import Role


class QuestionRequest(Evidence):
    """The prompt and its sentences."""

    prompt: str
    sentences: tuple[Sentence, ...]


class Questions(Evidence):
    """All questions about one prompt, parents before the questions that depend on them."""

    questions: Annotated[tuple[Question, ...], Field(min_length=1)]


INSTRUCTIONS = """\
For each sentence write the yes/no questions that a picture must answer with yes: existence first, then
number, colour, surface, size, relations, background. A question that only makes sense if another is answered
yes depends on it. One last question asks whether the picture shows anything that the prompt does not ask for.
"""

QUESTION = Role("question", QuestionRequest, Questions, INSTRUCTIONS)

"""Turns sentences into visual questions whose wanted answer is yes (GenPilot A.2 step 7)."""

from typing import Annotated

from pydantic import Field

from agents.evidence import Evidence, Question, Sentence
from agents.role import Role, read_instructions


class QuestionRequest(Evidence):
    """The prompt and its sentences."""

    prompt: str
    sentences: tuple[Sentence, ...]


class Questions(Evidence):
    """All questions about one prompt, parents before the questions that depend on them."""

    questions: Annotated[tuple[Question, ...], Field(min_length=1)]


QUESTION = Role("question", QuestionRequest, Questions, read_instructions("question"))

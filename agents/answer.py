"""Looks at a picture and answers all its questions in one call (GenPilot A.2 step 8, A.3 step 4)."""

from agents.evidence import Answer, Evidence, Question
from agents.role import Role, read_instructions


class AnswerRequest(Evidence):
    """All questions about one picture."""

    questions: tuple[Question, ...]


class Answers(Evidence):
    """One answer per question, in order."""

    answers: tuple[Answer, ...]


ANSWER = Role("answer", AnswerRequest, Answers, read_instructions("answer"), pictures=1)

"""Which answers say that something is wrong: a no that still means something. A rule, known to no mind."""

from collections.abc import Sequence

from agents.evidence import Answer, Question


def find_denials(
    questions: Sequence[Question], answers: Sequence[Answer]
) -> tuple[tuple[Question, Answer], ...]:
    """The questions answered no, with their answers, in the questions' order.

    What hangs on a no, directly or through other questions, means nothing: a missing cube has no wrong
    colour.
    """
    by_id = {answer.question_id: answer for answer in answers}
    denied = {key for key, answer in by_id.items() if answer.verdict == "no"}
    meaningless: set[str] = set()
    found: list[tuple[Question, Answer]] = []
    for question in questions:
        if any(parent in denied or parent in meaningless for parent in question.depends_on):
            meaningless.add(question.id)
        elif question.id in denied:
            found.append((question, by_id[question.id]))
    return tuple(found)

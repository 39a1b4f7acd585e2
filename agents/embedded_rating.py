"""Rates a picture on GenPilot's three aspects from the answers about it.

Knows questions, answers and errors, whoever gave them; never the picture.
"""

from collections.abc import Sequence
from math import exp

from agents.evidence import Answer, Error, Question, Rating
from agents.rate import RateRequest

ATTRIBUTE_KINDS = ("existence", "count", "colour", "pattern", "size")
ERROR_ASPECTS: dict[str, str] = {
    "missing": "attribute_binding",
    "count": "attribute_binding",
    "colour": "attribute_binding",
    "pattern": "attribute_binding",
    "size": "attribute_binding",
    "position": "object_relationship",
    "background": "background_consistency",
    "extra": "background_consistency",
}

_FLOOR = 0.3
_WIDTH = 0.06


def rate(request: RateRequest) -> Rating:
    r"""Rate one picture, 1 to 5 per aspect.

    With p the probabilities of yes of an aspect's questions,

        score = 1 + 4 * mean(p) * (F + (1 - F) * gate),    gate = 1 / (1 + exp(-(min(p) - 0.5) / W))

    with F = 0.3 and W = 0.06, the gate scaled to be 1 at p = 1. `gate` is the soft penalty: a picture that
    fails one check fails, however many others it passes, so an aspect with a check at p <= 0.45 gets at
    most 3.1 and the mean of the three at most 4.4; below that, the mean of p orders the near misses. When
    every p is at least 0.95 every aspect is above 4.79.

    Attribute binding takes existence, count, colour, pattern and size. Object relationship takes the
    relations, or, where none is asked, existence alone, with p = 1 for what is there (5 when nothing is
    missing). Background consistency takes the setting and whatever else is seen. Questions answered
    "unsure" count with the p they have. An open error that no question shows (a caption's) joins its
    aspect's checks with p = 0.45 * (1 - severity).
    """
    answers = {answer.question_id: answer for answer in request.answers}
    asked = [(question, answers[question.id]) for question in request.questions if question.id in answers]
    relations = [(question, answer) for question, answer in asked if question.kind == "position"]
    if not relations:
        there = [(question, answer) for question, answer in asked if question.kind == "existence"]
        relations = [(q, a.model_copy(update={"p_yes": 1.0}) if a.verdict == "yes" else a) for q, a in there]
    checks = {
        "attribute_binding": [(q, a) for q, a in asked if q.kind in ATTRIBUTE_KINDS],
        "object_relationship": relations,
        "background_consistency": [(q, a) for q, a in asked if q.kind in ("background", "extra")],
    }
    unasked = _find_unasked(request.errors, asked)
    scores: dict[str, float] = {}
    reasons: dict[str, str] = {}
    for aspect, found in checks.items():
        others = [error for error in unasked if ERROR_ASPECTS[error.kind] == aspect]
        p = [answer.p_yes for _, answer in found] + [0.45 * (1 - error.severity) for error in others]
        scores[aspect] = score(p)
        reasons[aspect] = _explain(found, others)
    return Rating.model_validate({**scores, "reasons": reasons})


def score(p: Sequence[float]) -> float:
    """The formula of `rate` for one aspect; 5 where there is nothing to check."""
    if not p:
        return 5.0
    gate = (1 + exp(-0.5 / _WIDTH)) / (1 + exp(-(min(p) - 0.5) / _WIDTH))
    return round(1 + 4 * sum(p) / len(p) * (_FLOOR + (1 - _FLOOR) * gate), 4)


def _find_unasked(errors: Sequence[Error], asked: Sequence[tuple[Question, Answer]]) -> list[Error]:
    denied = {
        sentence
        for question, answer in asked
        if answer.verdict == "no"
        for sentence in [question.sentence_id]
    }
    return [
        error
        for error in errors
        if error.status != "fixed"
        and "vqa" not in error.sources
        and not denied.intersection(error.sentence_ids)
    ]


def _explain(found: Sequence[tuple[Question, Answer]], others: Sequence[Error]) -> str:
    wrong = [answer.evidence or question.text for question, answer in found if answer.verdict == "no"]
    wrong += [error.description for error in others]
    if wrong:
        return "; ".join(dict.fromkeys(wrong))
    doubtful = [answer.evidence or question.text for question, answer in found if answer.p_yes < 0.75]
    if doubtful:
        return f"not quite sure: {'; '.join(dict.fromkeys(doubtful))}"
    return "all as asked" if found else "nothing was asked"

"""What a model that knew everything would say: the roles' replies told back in the words of their phrases."""

from typing import Any

from agents.embedded_claims import NOTHING_ELSE
from agents.evidence import Answer, Error


def say(role: str, request: Any, reply: Any) -> dict[str, Any]:
    """The JSON that means `reply`."""
    return SAYING[role](request, reply)


def _number(items: Any, key: Any) -> int:
    return 1 + [item.id for item in items].index(key)


def _decompose(request: Any, reply: Any) -> dict[str, Any]:
    pieces = [{"quote": s.span.text, "kind": s.kind, "text": s.text} for s in reply.sentences]
    return {"sentences": pieces}


def _question(request: Any, reply: Any) -> dict[str, Any]:
    return {
        "questions": [
            {
                "sentence": _number(request.sentences, question.sentence_id),
                "kind": question.kind,
                "target": question.target,
                "question": question.text,
                "after": [_number(reply.questions, parent) for parent in question.depends_on],
            }
            for question in reply.questions
        ]
    }


def _check_caption(request: Any, reply: Any) -> dict[str, Any]:
    return {
        "verdicts": [
            {
                "sentence": _number(request.sentences, verdict.sentence_id),
                "reason": verdict.reason,
                "verdict": verdict.verdict,
            }
            for verdict in reply.verdicts
        ]
    }


def _answer(request: Any, reply: Any) -> dict[str, Any]:
    return {"answers": [_say_answer(request, answer) for answer in reply.answers]}


def _say_answer(request: Any, answer: Answer) -> dict[str, Any]:
    return {
        "question": _number(request.questions, answer.question_id),
        "see": answer.evidence,
        "verdict": answer.verdict,
        "confidence": abs(answer.p_yes - 0.5) * 2,
    }


def _rate(request: Any, reply: Any) -> dict[str, Any]:
    aspects = ("attribute_binding", "object_relationship", "background_consistency")
    return {
        name: {"reason": reply.reasons.get(name, ""), "score": round(getattr(reply, name))}
        for name in aspects
    }


def _integrate(request: Any, reply: Any) -> dict[str, Any]:
    said: dict[tuple[str, str], dict[str, Any]] = {}
    for error in reply.errors:
        shown = [number for number, q in enumerate(request.questions, 1) if _shows(q, error, request)]
        by_caption = "caption" in error.sources and not shown
        if error.status != "fixed" and (shown or by_caption):
            said.setdefault((error.kind, error.target), _say_error(request, error, shown, by_caption))
    return {"errors": list(said.values())}


def _shows(question: Any, error: Error, request: Any) -> bool:
    kind = "missing" if question.kind == "existence" else question.kind
    denied = {answer.question_id for answer in request.answers if answer.verdict == "no"}
    same = error.target in (question.target, NOTHING_ELSE)
    return question.id in denied and kind == error.kind and same


def _say_error(request: Any, error: Error, shown: list[int], by_caption: bool) -> dict[str, Any]:
    alike = [
        number
        for number, known in enumerate(request.known, 1)
        if (known.kind, known.target) == (error.kind, error.target)
    ]
    return {
        "known": alike[0] if alike else 0,
        "kind": error.kind,
        "target": error.target,
        "description": error.description,
        "sentences": [_number(request.sentences, key) for key in error.sentence_ids],
        "answers": shown,
        "told_by_caption": by_caption,
        "severity": error.severity,
    }


def _locate(request: Any, reply: Any) -> dict[str, Any]:
    return {
        "places": [
            {"error": _number(request.errors, key), "quote": span.text} for key, span in reply.spans.items()
        ]
    }


def _propose(request: Any, reply: Any) -> dict[str, Any]:
    return {
        "candidates": [
            {
                "reason": proposal.reason,
                "edits": [
                    {
                        "quote": edit.before.text,
                        "replacement": edit.after,
                        "pattern": edit.pattern,
                        "errors": [_number(request.errors, key) for key in edit.error_ids],
                    }
                    for edit in proposal.edits
                ],
            }
            for proposal in reply.proposals
        ]
    }


SAYING: dict[str, Any] = {
    "decompose": _decompose,
    "question": _question,
    "caption": lambda request, reply: {"caption": reply.text},
    "check_caption": _check_caption,
    "answer": _answer,
    "rate": _rate,
    "point_out": lambda request, reply: {
        "things": [
            {"words": thing.words, **dict(zip(("left", "top", "right", "bottom"), thing.box, strict=True))}
            for thing in reply.things
        ]
    },
    "integrate": _integrate,
    "locate": _locate,
    "propose": _propose,
    "merge": lambda request, reply: {"prompt": reply.prompt},
    "rewrite": lambda request, reply: {"prompt": reply.prompt},
    "explain": lambda request, reply: {"text": reply.text},
}

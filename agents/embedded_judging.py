"""Merges all evidence about one picture into errors, each named once, and follows them over the rounds.

Knows questions, answers and verdicts, whoever gave them; never the picture.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from agents.embedded_claims import NOTHING_ELSE
from agents.evidence import Answer, CaptionVerdict, Error, ErrorKind, Question, Sentence
from agents.integrate import Errors, IntegrateRequest

Source = Literal["vqa", "caption"]

CAPTION_SEVERITY = 0.5
"""A fault that only the caption tells of: as likely the captioner's slip as the painter's."""

_KINDS: dict[str, ErrorKind] = {
    "existence": "missing",
    "count": "count",
    "colour": "colour",
    "pattern": "pattern",
    "size": "size",
    "position": "position",
    "background": "background",
    "extra": "extra",
}
_GRAVITY: dict[ErrorKind, float] = {
    "missing": 1.0,
    "count": 0.9,
    "colour": 0.9,
    "position": 0.85,
    "background": 0.8,
    "pattern": 0.75,
    "extra": 0.7,
    "size": 0.6,
}
_SENTENCE_KINDS: dict[str, ErrorKind] = {
    "object": "missing",
    "relation": "position",
    "background": "background",
}
_STATUS_ORDER = {"regressed": 0, "open": 0, "fixed": 1}


@dataclass(slots=True)
class _Fault:
    """One fault as the evidence piles up."""

    kind: ErrorKind
    target: str
    description: str
    severity: float
    sentences: dict[int, None] = field(default_factory=dict[int, None])
    sources: dict[Source, None] = field(default_factory=dict[Source, None])

    @property
    def id(self) -> str:
        return f"{self.kind}:{self.target}"


def integrate(request: IntegrateRequest) -> Errors:
    """Every fault once, under an id made of its kind and target; known ones come back with their status.

    An answer "no" is a fault unless a question that it depends on was itself answered no (a missing cube
    has no wrong colour). A caption alone makes a fault only where no answer speaks for the sentence; where
    answers say that all is well, it is overruled. A known fault is fixed once its question is answered yes
    (or, for one that only captions showed, once they no longer do); while its question cannot be answered
    it stays as it was.
    """
    answers = {answer.question_id: answer for answer in request.answers}
    faults = _collect(request, answers)
    known = {error.id: error for error in request.known}
    errors: list[Error] = []
    everywhere = tuple(sentence.id for sentence in request.sentences)
    for fault in faults.values():
        before = known.get(fault.id)
        again = before is not None and before.status in ("fixed", "regressed")
        errors.append(
            Error(
                id=fault.id,
                kind=fault.kind,
                target=fault.target,
                description=fault.description,
                sentence_ids=everywhere if fault.kind == "extra" else tuple(sorted(fault.sentences)),
                severity=round(fault.severity, 4),
                sources=tuple(fault.sources),
                status="regressed" if again else "open",
                found_in_round=request.round if before is None else before.found_in_round,
            )
        )
    for error in request.known:
        if error.id not in faults:
            cleared = _is_cleared(error, request.questions, answers)
            errors.append(error.model_copy(update={"status": "fixed"}) if cleared else error)
    return Errors(errors=tuple(sorted(errors, key=lambda e: (_STATUS_ORDER[e.status], -e.severity, e.id))))


def _collect(request: IntegrateRequest, answers: Mapping[str, Answer]) -> dict[str, _Fault]:
    faults: dict[str, _Fault] = {}
    for question in request.questions:
        answer = answers.get(question.id)
        if answer is None or answer.verdict != "no" or _is_masked(question, answers):
            continue
        fault = _fault_of(question, answer)
        fault = faults.setdefault(fault.id, fault)
        fault.sentences[question.sentence_id] = None
        fault.sources["vqa"] = None
    sentences = {sentence.id: sentence for sentence in request.sentences}
    for verdict in request.verdicts:
        if verdict.verdict in ("contradicts", "not_mentioned"):
            _weigh_caption(verdict, sentences[verdict.sentence_id], request.questions, answers, faults)
    return faults


def _weigh_caption(
    verdict: CaptionVerdict,
    sentence: Sentence,
    questions: Sequence[Question],
    answers: Mapping[str, Answer],
    faults: dict[str, _Fault],
) -> None:
    """Let a caption's verdict confirm the faults of its sentence, or speak where no answer does."""
    confirmed = [
        fault for fault in faults.values() if sentence.id in fault.sentences and fault.kind != "extra"
    ]
    for fault in confirmed:
        fault.sources["caption"] = None
    asked = [
        question.id
        for question in questions
        if question.sentence_id == sentence.id and question.kind != "extra"
    ]
    spoken = [answers[name].verdict for name in asked if name in answers]
    if confirmed or any(verdict != "unsure" for verdict in spoken):
        return
    kind = _kind_of(verdict.reason) or _SENTENCE_KINDS[sentence.kind]
    text = verdict.reason or f"the caption does not mention {sentence.text!r}"
    fault = _Fault(kind, sentence.text, text, CAPTION_SEVERITY * _GRAVITY[kind])
    fault = faults.setdefault(fault.id, fault)
    fault.sentences[sentence.id] = None
    fault.sources["caption"] = None


def _fault_of(question: Question, answer: Answer) -> _Fault:
    kind = _KINDS[question.kind]
    target = NOTHING_ELSE if kind == "extra" else question.target
    wanted = (
        "nothing else should be there" if kind == "extra" else f"{_ASPECT[kind]} {question.target!r} is wrong"
    )
    text = f"{wanted}: {answer.evidence}" if answer.evidence else wanted
    return _Fault(kind, target, text, _GRAVITY[kind] * (1 - answer.p_yes))


_ASPECT: dict[ErrorKind, str] = {
    "missing": "what should be",
    "count": "the number of",
    "colour": "the colour of",
    "pattern": "the pattern of",
    "size": "the size of",
    "position": "the place of",
    "background": "the background",
}


def _kind_of(reason: str) -> ErrorKind | None:
    """The kind that a caption verdict's reason names before its first colon, if any."""
    return next((kind for kind in get_args(ErrorKind) if reason.startswith(f"{kind}:")), None)


def _is_masked(question: Question, answers: Mapping[str, Answer]) -> bool:
    return any(name in answers and answers[name].verdict == "no" for name in question.depends_on)


def _is_cleared(error: Error, questions: Sequence[Question], answers: Mapping[str, Answer]) -> bool:
    if error.status == "fixed":
        return True
    asked = [
        q for q in questions if _KINDS[q.kind] == error.kind and error.target in (q.target, NOTHING_ELSE)
    ]
    verdicts = [answers[question.id].verdict for question in asked if question.id in answers]
    if verdicts:
        return all(verdict == "yes" for verdict in verdicts)
    return error.sources == ("caption",)

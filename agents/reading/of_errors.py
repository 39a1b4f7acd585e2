"""Telling and understanding the roles that name and place what is wrong: integrate, locate."""

from collections.abc import Sequence
from typing import Literal

from pydantic import JsonValue

from agents.denials import find_denials
from agents.evidence import Error, ErrorKind, Probability, Question
from agents.integrate import INTEGRATE, Errors, IntegrateRequest
from agents.locate import LOCATE, LocateRequest, Locations
from agents.reading.of_prompts import tell_sentences
from agents.reading.phrase import Misunderstood, Phrase, Said, Told, check_each_once, numbered, said_text
from agents.reading.quotes import find_quote


class SaidError(Said):
    """One fault. `known` is its number among the known ones, or 0; `answers` are the numbers that show it."""

    known: int
    kind: ErrorKind
    target: str
    description: str
    sentences: list[int]
    answers: list[int]
    told_by_caption: bool
    severity: Probability


class SaidErrors(Said):
    """Every fault that shows now, once."""

    errors: list[SaidError]


def _tell_integrate(request: IntegrateRequest) -> Told:
    answers = {answer.question_id: answer for answer in request.answers}
    meant = {question.id for question, _ in find_denials(request.questions, request.answers)}
    told: list[JsonValue] = []
    for number, question in enumerate(request.questions, start=1):
        answer = answers.get(question.id)
        if answer is None:
            continue
        row: dict[str, JsonValue] = {
            "number": number,
            "question": question.text,
            "kind": question.kind,
            "sentence": _number_of(question, request),
            "answer": answer.verdict,
            "seen": answer.evidence,
        }
        told.append(
            row | {"meaningless": True} if answer.verdict == "no" and question.id not in meant else row
        )
    numbers = {sentence.id: number for number, sentence in enumerate(request.sentences, start=1)}
    return {
        "prompt": request.prompt,
        "sentences": tell_sentences(request.sentences),
        "answers": told,
        "caption": [
            {"sentence": numbers[verdict.sentence_id], "verdict": verdict.verdict, "reason": verdict.reason}
            for verdict in request.verdicts
        ],
        "known": tell_errors(request.known),
    }


def _number_of(question: Question, request: IntegrateRequest) -> int:
    return 1 + [sentence.id for sentence in request.sentences].index(question.sentence_id)


def _understand_integrate(request: IntegrateRequest, said: SaidErrors) -> Errors:
    _check_denials(request, said)
    listed = [error.known for error in said.errors if error.known]
    if twice := sorted({number for number in listed if listed.count(number) > 1}):
        raise Misunderstood(f"known error {twice[0]} is listed twice: name each fault once")
    shown = [_understand_error(request, error, place) for place, error in enumerate(said.errors)]
    ids = {error.id for error in shown}
    gone = [error.model_copy(update={"status": "fixed"}) for error in request.known if error.id not in ids]
    return Errors(errors=(*sorted(shown, key=lambda error: -error.severity), *gone))


def _check_denials(request: IntegrateRequest, said: SaidErrors) -> None:
    """Every answer that says no has to be in some fault: the mind merges evidence, it does not drop any."""
    explained = {number for error in said.errors for number in error.answers}
    denied = {question.id for question, _ in find_denials(request.questions, request.answers)}
    numbers = [n for n, question in enumerate(request.questions, start=1) if question.id in denied]
    if left := [number for number in numbers if number not in explained]:
        raise Misunderstood(f"answer {', '.join(map(str, left))} says no and no error lists it")


def _understand_error(request: IntegrateRequest, said: SaidError, place: int) -> Error:
    for number in said.answers:
        numbered(request.questions, number, "answer")
    if not said.answers and not said.told_by_caption:
        raise Misunderstood(f"nothing shows the error {said.description!r}: list its answers or leave it out")
    known = numbered(request.known, said.known, "known error") if said.known else None
    back = known is not None and known.status in ("fixed", "regressed")
    sources: list[Literal["vqa", "caption"]] = []
    if said.answers:
        sources.append("vqa")
    if said.told_by_caption:
        sources.append("caption")
    return Error(
        id=known.id if known else f"error-{request.round}-{place + 1}",
        kind=said.kind,
        target=said_text(said.target, "a target"),
        description=said_text(said.description, "a description"),
        sentence_ids=tuple(numbered(request.sentences, n, "sentence").id for n in said.sentences),
        severity=said.severity,
        sources=tuple(sources),
        status="regressed" if back else "open",
        found_in_round=known.found_in_round if known else request.round,
    )


class SaidPlace(Said):
    """The words of the prompt that error number `error` concerns."""

    error: int
    quote: str


class SaidPlaces(Said):
    """One quote per error."""

    places: list[SaidPlace]


def _tell_locate(request: LocateRequest) -> Told:
    return {
        "prompt": request.prompt,
        "sentences": tell_sentences(request.sentences),
        "errors": tell_errors(request.errors),
    }


def _understand_locate(request: LocateRequest, said: SaidPlaces) -> Locations:
    check_each_once([place.error for place in said.places], len(request.errors), "error")
    spans = {sentence.id: sentence.span for sentence in request.sentences}
    located = {
        (error := request.errors[place.error - 1]).id: find_quote(
            request.prompt, place.quote, near=[spans[key] for key in error.sentence_ids if key in spans]
        )
        for place in said.places
    }
    return Locations(spans=located)


def tell_errors(errors: Sequence[Error]) -> list[JsonValue]:
    """Errors with their numbers, and their words where they were located."""
    told: list[JsonValue] = []
    for number, error in enumerate(errors, start=1):
        row: dict[str, JsonValue] = {
            "number": number,
            "kind": error.kind,
            "target": error.target,
            "description": error.description,
            "status": error.status,
        }
        told.append(row | {"words": error.span.text} if error.span else row)
    return told


INTEGRATE_PHRASE = Phrase(INTEGRATE, SaidErrors, _tell_integrate, _understand_integrate)
LOCATE_PHRASE = Phrase(LOCATE, SaidPlaces, _tell_locate, _understand_locate)

"""Telling and understanding the roles that look: caption, check_caption, answer, rate, point_out."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, ValidationError

from agents.answer import ANSWER, AnswerRequest, Answers
from agents.caption import CAPTION, Caption, CaptionRequest
from agents.check_caption import CHECK_CAPTION, CaptionCheck, CheckCaptionRequest
from agents.evidence import Answer, CaptionVerdict, Probability, Rating, Verdict
from agents.point_out import POINT_OUT, PointOutRequest, Share, Thing, Things
from agents.rate import RATE, RateRequest
from agents.reading.of_prompts import tell_sentences
from agents.reading.phrase import Misunderstood, Phrase, Said, Told, check_each_once, numbered, said_text


class SaidCaption(Said):
    """A description of the picture."""

    plain: ClassVar[str | None] = "caption"
    caption: str


def _tell_caption(request: CaptionRequest) -> Told:
    return {}


def _understand_caption(request: CaptionRequest, said: SaidCaption) -> Caption:
    return Caption(text=said_text(said.caption, "the caption"))


class SaidCaptionVerdict(Said):
    """Whether the caption bears out sentence number `sentence`."""

    sentence: int
    reason: str
    verdict: Literal["matches", "contradicts", "unclear", "not_mentioned"]


class SaidCaptionCheck(Said):
    """One verdict per sentence."""

    verdicts: list[SaidCaptionVerdict]


def _tell_check_caption(request: CheckCaptionRequest) -> Told:
    return {"caption": request.caption, "sentences": tell_sentences(request.sentences)}


def _understand_check_caption(request: CheckCaptionRequest, said: SaidCaptionCheck) -> CaptionCheck:
    check_each_once([verdict.sentence for verdict in said.verdicts], len(request.sentences), "sentence")
    return CaptionCheck(
        verdicts=tuple(
            CaptionVerdict(
                sentence_id=numbered(request.sentences, verdict.sentence, "sentence").id,
                verdict=verdict.verdict,
                reason=verdict.reason,
            )
            for verdict in said.verdicts
        )
    )


class SaidAnswer(Said):
    """What the picture says to question number `question`: first what decides it, then the verdict."""

    question: int
    see: str
    verdict: Verdict
    confidence: Probability


class SaidAnswers(Said):
    """One answer per question."""

    answers: list[SaidAnswer]


def _tell_answer(request: AnswerRequest) -> Told:
    return {
        "questions": [
            {"number": number, "question": question.text}
            for number, question in enumerate(request.questions, start=1)
        ]
    }


def _understand_answer(request: AnswerRequest, said: SaidAnswers) -> Answers:
    check_each_once([answer.question for answer in said.answers], len(request.questions), "question")
    return Answers(
        answers=tuple(
            Answer(
                question_id=request.questions[answer.question - 1].id,
                verdict=answer.verdict,
                p_yes=chance_of_yes(answer.verdict, answer.confidence),
                evidence=answer.see,
            )
            for answer in sorted(said.answers, key=lambda answer: answer.question)
        )
    )


def chance_of_yes(verdict: Verdict, confidence: float) -> float:
    """The probability of yes behind a verdict: a confidence of 0 is a guess, 1 is certainty."""
    match verdict:
        case "yes":
            return 0.5 + confidence / 2
        case "no":
            return 0.5 - confidence / 2
        case "unsure":
            return 0.5


class SaidScore(Said):
    """An aspect's score, after the reason for it."""

    reason: str
    score: Annotated[int, Field(ge=1, le=5)]


class SaidRating(Said):
    """GenPilot's three aspects."""

    attribute_binding: SaidScore
    object_relationship: SaidScore
    background_consistency: SaidScore


def _tell_rate(request: RateRequest) -> Told:
    answers = {answer.question_id: answer for answer in request.answers}
    return {
        "prompt": request.prompt,
        "answers": [
            {"question": question.text, "answer": answer.verdict, "seen": answer.evidence}
            for question in request.questions
            if (answer := answers.get(question.id))
        ],
    }


def _understand_rate(request: RateRequest, said: SaidRating) -> Rating:
    return Rating(
        attribute_binding=said.attribute_binding.score,
        object_relationship=said.object_relationship.score,
        background_consistency=said.background_consistency.score,
        reasons={
            "attribute_binding": said.attribute_binding.reason,
            "object_relationship": said.object_relationship.reason,
            "background_consistency": said.background_consistency.reason,
        },
    )


class SaidThing(Said):
    """One thing, and the sides of the box around it in fractions of the picture."""

    words: str
    left: Share
    top: Share
    right: Share
    bottom: Share


class SaidThings(Said):
    """Every thing that the prompt asks for."""

    things: list[SaidThing]


def _tell_point_out(request: PointOutRequest) -> Told:
    return {"prompt": request.prompt}


def _understand_point_out(request: PointOutRequest, said: SaidThings) -> Things:
    return Things(things=tuple(map(_understand_thing, said.things)))


def _understand_thing(said: SaidThing) -> Thing:
    words = said_text(said.words, "the name of a thing")
    try:
        return Thing(words=words, box=(said.left, said.top, said.right, said.bottom))
    except ValidationError as error:
        raise Misunderstood(
            f"the box of {words!r} is empty: left is less than right, and top less than bottom"
        ) from error


CAPTION_PHRASE = Phrase(CAPTION, SaidCaption, _tell_caption, _understand_caption)
CHECK_CAPTION_PHRASE = Phrase(CHECK_CAPTION, SaidCaptionCheck, _tell_check_caption, _understand_check_caption)
ANSWER_PHRASE = Phrase(ANSWER, SaidAnswers, _tell_answer, _understand_answer)
RATE_PHRASE = Phrase(RATE, SaidRating, _tell_rate, _understand_rate)
POINT_OUT_PHRASE = Phrase(POINT_OUT, SaidThings, _tell_point_out, _understand_point_out)

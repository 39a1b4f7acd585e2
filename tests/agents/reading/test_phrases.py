"""Every role told and understood again: what the embedded mind replies survives the words."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from agents.answer import ANSWER, AnswerRequest
from agents.caption import CAPTION, CaptionRequest
from agents.check_caption import CHECK_CAPTION, CheckCaptionRequest
from agents.decompose import DECOMPOSE, DecomposeRequest
from agents.embedded import EmbeddedMind
from agents.evidence import Answer, Error, Sentence, Span, apply_edits
from agents.integrate import INTEGRATE, IntegrateRequest
from agents.locate import LOCATE, LocateRequest
from agents.patterns import load_patterns
from agents.point_out import POINT_OUT, PointOutRequest
from agents.propose import PROPOSE, PatternChoice, Proposals, ProposeRequest
from agents.question import QUESTION, QuestionRequest
from agents.rate import RATE, RateRequest
from agents.reading.json_text import find_object
from agents.reading.of_prompts import MERGE_PHRASE
from agents.reading.phrase import Misunderstood
from agents.reading.phrases import PHRASES
from agents.role import read_instructions
from tests.agents.reading.saying import say
from tests.agents.scenes import TruthExecutor, change, draw_scenes, perceive, remove

PROMPT = "a photo of a red cube left of two blue spheres"
PATTERNS = tuple(PatternChoice(name=pattern.name, weight=1.0) for pattern in load_patterns())


def words(prompt: str, text: str, start: int = 0) -> Span:
    at = prompt.index(text, start)
    return Span(start=at, end=at + len(text), text=text)


def roundtrip(name: str, request: BaseModel, reply: BaseModel) -> Any:
    """The reply after it went through JSON and back."""
    phrase = PHRASES[name]
    json.dumps(phrase.tell(request))
    said = json.dumps(say(name, request, reply))
    return phrase.understand(request, phrase.said.model_validate(find_object(said)))


def test_every_role_has_a_phrase_and_instructions() -> None:
    for name, phrase in PHRASES.items():
        assert phrase.role.name == name and read_instructions(name) == phrase.role.instructions
        schema = json.dumps(phrase.said.model_json_schema())
        assert '"default"' not in schema, "strict JSON schemas know no defaults"


def every_object(schema: Any) -> list[dict[str, Any]]:
    if isinstance(schema, list):
        return [found for part in schema for found in every_object(part)]
    if not isinstance(schema, dict):
        return []
    inside = [found for part in schema.values() for found in every_object(part)]
    return [schema, *inside] if schema.get("type") == "object" else inside


def test_schemas_are_strict() -> None:
    for phrase in PHRASES.values():
        for part in every_object(phrase.said.model_json_schema()):
            assert part["additionalProperties"] is False
            assert set(part["required"]) == set(part["properties"])


async def test_a_whole_look_survives_the_words(mind: EmbeddedMind, executor: TruthExecutor) -> None:
    found = 0
    for number, (prompt, scene) in enumerate(draw_scenes(24, seed=5)):
        other = "red" if scene.things[0].colour != "red" else "blue"
        wrong = remove(scene, 0) if number % 2 else change(scene, 0, colour=other)
        picture = [executor.show(perceive(wrong))]
        ask = mind.ask
        taken = await ask(DECOMPOSE, request := DecomposeRequest(prompt=prompt))
        assert roundtrip("decompose", request, taken) == taken
        asking = QuestionRequest(prompt=prompt, sentences=taken.sentences)
        questions = roundtrip("question", asking, await ask(QUESTION, asking)).questions
        caption = await ask(CAPTION, CaptionRequest(), picture)
        assert roundtrip("caption", CaptionRequest(), caption) == caption
        checking = CheckCaptionRequest(sentences=taken.sentences, caption=caption.text)
        check = await ask(CHECK_CAPTION, checking)
        assert roundtrip("check_caption", checking, check) == check
        original = (await ask(QUESTION, asking)).questions
        answers = await ask(ANSWER, looking := AnswerRequest(questions=original), picture)
        again = roundtrip("answer", looking, answers)
        assert [(a.question_id, a.verdict, a.evidence) for a in again.answers] == [
            (a.question_id, a.verdict, a.evidence) for a in answers.answers
        ]
        assert all(
            abs(a.p_yes - b.p_yes) < 1e-9 or a.verdict == "unsure"
            for a, b in zip(again.answers, answers.answers, strict=True)
        )
        assert [q.kind for q in questions] == [q.kind for q in original]
        judging = IntegrateRequest(
            prompt=prompt,
            sentences=taken.sentences,
            questions=original,
            answers=answers.answers,
            verdicts=check.verdicts,
        )
        errors = await ask(INTEGRATE, judging)
        merged = roundtrip("integrate", judging, errors)
        assert {(e.kind, e.target) for e in merged.errors} == {(e.kind, e.target) for e in errors.errors}
        rating = RateRequest(prompt=prompt, questions=original, answers=answers.answers, errors=merged.errors)
        assert roundtrip("rate", rating, await ask(RATE, rating, picture)).mean <= 5
        pointing = PointOutRequest(prompt=prompt, questions=original)
        things = await ask(POINT_OUT, pointing, picture)
        assert roundtrip("point_out", pointing, things) == things
        if merged.errors:
            found += 1
            await check_search(mind, prompt, taken.sentences, merged.errors)
    assert found >= 12


async def check_search(
    mind: EmbeddedMind, prompt: str, sentences: tuple[Sentence, ...], errors: tuple[Error, ...]
) -> None:
    locating = LocateRequest(prompt=prompt, sentences=sentences, errors=errors)
    places = roundtrip("locate", locating, await mind.ask(LOCATE, locating)).spans
    assert all(prompt[span.start : span.end] == span.text for span in places.values())
    located = tuple(error.model_copy(update={"span": places[error.id]}) for error in errors)
    request = ProposeRequest(
        prompt=prompt, original_prompt=prompt, sentences=sentences, errors=located, patterns=PATTERNS, count=4
    )
    proposals = (await mind.ask(PROPOSE, request)).proposals
    if not proposals:
        return
    again = roundtrip("propose", request, Proposals(proposals=proposals))
    wanted = {apply_edits(prompt, proposal.edits) for proposal in proposals}
    assert {apply_edits(prompt, proposal.edits) for proposal in again.proposals} <= wanted


def decomposed(*pieces: tuple[str, str]) -> dict[str, Any]:
    return {"sentences": [{"quote": quote, "kind": kind, "text": quote} for quote, kind in pieces]}


def understand(name: str, request: BaseModel, said: dict[str, Any]) -> Any:
    phrase = PHRASES[name]
    return phrase.understand(request, phrase.said.model_validate(said))


def test_quotes_are_whole_words_and_share_none() -> None:
    request = DecomposeRequest(prompt="a scarf and a car and a car")
    said = decomposed(("car", "object"), ("a scarf", "object"), ("car", "object"))
    spans = [s.span for s in understand("decompose", request, said).sentences]
    assert [(span.start, span.text) for span in spans] == [(0, "a scarf"), (14, "car"), (24, "car")]
    for wrong, complaint in (
        (("cars", "object"), "does not stand"),
        (("", "object"), "empty"),
        (("a scarf and a car and a car", "object"), "overlaps"),
    ):
        with pytest.raises(Misunderstood, match=complaint):
            understand("decompose", request, decomposed(("car", "object"), wrong))
    with pytest.raises(Misunderstood, match="no sentences"):
        understand("decompose", request, {"sentences": []})


def sentence(text: str, prompt: str = PROMPT, key: int = 0) -> Sentence:
    return Sentence(id=key, text=text, kind="object", span=words(prompt, text))


def asked(*rows: tuple[int, str, list[int]]) -> dict[str, Any]:
    return {
        "questions": [
            {"sentence": number, "kind": "count", "target": "cube", "question": text, "after": after}
            for number, text, after in rows
        ]
    }


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        (asked(), "no questions"),
        (asked((2, "Is there one?", [])), "no sentence 2"),
        (asked((1, "Is there one?", []), (1, "is there one?", [])), "question 2 repeats question 1"),
        (asked((1, "Is there one?", [2]), (1, "Is it red?", [])), "question 1 comes after 2"),
        (asked((1, " ", [])), "question 1 is empty"),
    ],
)
def test_questions_that_make_no_sense_are_named(said: dict[str, Any], complaint: str) -> None:
    request = QuestionRequest(prompt=PROMPT, sentences=(sentence("a red cube"),))
    with pytest.raises(Misunderstood, match=complaint):
        understand("question", request, said)


def error(key: str, text: str, **changes: Any) -> Error:
    parts: dict[str, Any] = {
        "id": key,
        "kind": "colour",
        "target": text,
        "description": "it is green",
        "sentence_ids": (0,),
        "severity": 0.9,
        "sources": ("vqa",),
        "span": words(PROMPT, text),
    }
    return Error(**parts | changes)


def edited(
    quote: str, replacement: str = "crimson", pattern: str = "free", errors: Any = (1,)
) -> dict[str, Any]:
    edit = {"quote": quote, "replacement": replacement, "pattern": pattern, "errors": list(errors)}
    return {"reason": "it may help", "edits": [edit]}


@pytest.mark.parametrize(
    ("candidate", "complaint"),
    [
        (edited("rad"), "'rad' does not stand in the prompt"),
        (edited("red", pattern="magic"), "no pattern is called 'magic'"),
        (edited("red", errors=()), "answers no error"),
        (edited("red", errors=(3,)), "no error 3: they go from 1 to 1"),
        (edited("spheres"), "changes words that its errors do not concern"),
        (edited("red", "red"), "was tried before"),
        (edited("red", "scarlet"), "was tried before"),
        (edited(PROMPT, " ", "canonical_caption"), "leaves nothing"),
        ({"reason": "", "edits": []}, "no edits"),
    ],
)
def test_a_candidate_that_does_not_hold_is_named_or_left_out(candidate: Any, complaint: str) -> None:
    request = proposing()
    with pytest.raises(Misunderstood, match=complaint):
        understand("propose", request, {"candidates": [candidate]})
    [left] = understand("propose", request, {"candidates": [candidate, edited("red")]}).proposals
    assert apply_edits(PROMPT, left.edits) == PROMPT.replace("red", "crimson")


def test_a_candidate_that_the_painter_would_cut_is_sent_back() -> None:
    request = proposing(longest=len(PROMPT) + 4)
    assert PHRASES["propose"].tell(request)["most_characters"] == len(PROMPT) + 4
    wordy = {"candidates": [edited("red", "very, very red")]}
    with pytest.raises(Misunderstood, match=f"the painter reads about {len(PROMPT) + 4}: say it in fewer"):
        understand("propose", request, wordy)
    assert understand("propose", proposing(), wordy).proposals


def test_the_patterns_with_most_weight_are_told() -> None:
    heavy = PATTERNS[-1].model_copy(update={"weight": 2.0})
    told = PHRASES["propose"].tell(proposing(patterns=(*PATTERNS[:-1], heavy)))["patterns"]
    assert len(told) == 12 < len(PATTERNS) and told[0]["name"] == heavy.name


def proposing(**more: Any) -> ProposeRequest:
    return ProposeRequest(
        prompt=PROMPT,
        original_prompt=PROMPT,
        sentences=(sentence("a red cube"), sentence("two blue spheres", key=1)),
        errors=(error("e", "red"),),
        tried=(PROMPT.replace("red", "scarlet"),),
        **{"patterns": PATTERNS, **more},
    )


def found(answers: list[int], known: int = 0, by_caption: bool = False) -> dict[str, Any]:
    return {
        "known": known,
        "kind": "colour",
        "target": "a red cube",
        "description": "it is green",
        "sentences": [1],
        "answers": answers,
        "told_by_caption": by_caption,
        "severity": 0.8,
    }


async def look_at_a_green_cube(mind: EmbeddedMind) -> IntegrateRequest:
    """A red cube was asked for, and its colour is denied."""
    prompt = "a photo of a red cube"
    taken = await mind.ask(DECOMPOSE, DecomposeRequest(prompt=prompt))
    asking = QuestionRequest(prompt=prompt, sentences=taken.sentences)
    questions = (await mind.ask(QUESTION, asking)).questions
    denied = {question.id for question in questions if question.kind == "colour"}
    return IntegrateRequest(
        prompt=prompt,
        sentences=taken.sentences,
        questions=questions,
        answers=tuple(
            Answer(question_id=q.id, verdict="no", p_yes=0.1)
            if q.id in denied
            else Answer(question_id=q.id, verdict="yes", p_yes=0.9)
            for q in questions
        ),
    )


async def test_evidence_is_merged_and_never_dropped(mind: EmbeddedMind) -> None:
    request = await look_at_a_green_cube(mind)
    colour = 1 + [question.kind for question in request.questions].index("colour")
    with pytest.raises(Misunderstood, match=f"answer {colour} says no"):
        understand("integrate", request, {"errors": []})
    with pytest.raises(Misunderstood, match="nothing shows"):
        understand("integrate", request, {"errors": [found([colour]), found([])]})
    [first] = understand("integrate", request, {"errors": [found([colour])]}).errors
    assert (first.id, first.status, first.sources) == ("error-0-1", "open", ("vqa",))
    gone = request.model_copy(update={"answers": (), "known": (first,), "round": 1})
    [fixed] = understand("integrate", gone, {"errors": []}).errors
    assert (fixed.id, fixed.status) == (first.id, "fixed")
    back = request.model_copy(update={"known": (fixed,), "round": 2})
    [again] = understand("integrate", back, {"errors": [found([colour], known=1)]}).errors
    assert (again.id, again.status, again.found_in_round) == (first.id, "regressed", 0)
    with pytest.raises(Misunderstood, match="listed twice"):
        understand("integrate", back, {"errors": [found([colour], known=1)] * 2})


def test_a_merge_may_change_one_sentence_only() -> None:
    request = MERGE_PHRASE.role.request(
        prompt=PROMPT, sentence=sentence("a red cube"), replacement="one scarlet cube"
    )
    merged = PROMPT.replace("a red cube", "one scarlet cube")
    assert understand("merge", request, {"prompt": merged}).prompt == merged
    with pytest.raises(Misunderstood, match="'left of two blue spheres' were changed"):
        understand("merge", request, {"prompt": merged.replace("two", "2")})


@pytest.mark.parametrize(
    "said",
    [
        '{"a": 1}',
        'Sure!\n```json\n{"a": 1}\n```\nHope that helps.',
        '<think>{"b": 2} perhaps?</think>{"a": 1}',
        'Here it is: {"a": 1}.',
        '\n\n  {"a":\n1}\n',
    ],
)
def test_json_is_found_in_what_models_say(said: str) -> None:
    assert find_object(said) == {"a": 1}


@pytest.mark.parametrize(
    "said", ["", "no", "[1]", '{"a": ', "{" * 5000, '{"a": 1} or {"a": 2}', "null", "{'a': 1}"]
)
def test_what_is_no_json_object_is_refused(said: str) -> None:
    with pytest.raises(ValueError, match="no JSON object"):
        find_object(said)


@given(st.text(max_size=300) | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
@settings(max_examples=200, deadline=None)
def test_any_text_is_read_or_refused(said: str) -> None:
    with suppress(ValueError):
        assert isinstance(find_object(said), dict)


def test_a_box_without_inside_is_sent_back() -> None:
    request = PointOutRequest(prompt="a red cube", questions=())
    thing = {"words": "a red cube", "left": 0.5, "top": 0.1, "right": 0.5, "bottom": 0.4}
    with pytest.raises(Misunderstood, match="the box of 'a red cube' is empty"):
        understand("point_out", request, {"things": [thing]})
    with pytest.raises(Misunderstood, match="the name of a thing is empty"):
        understand("point_out", request, {"things": [{**thing, "words": " ", "right": 0.6}]})

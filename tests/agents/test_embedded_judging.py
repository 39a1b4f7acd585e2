from collections.abc import Callable

import pytest

from agents.answer import ANSWER, AnswerRequest
from agents.embedded import EmbeddedMind
from agents.embedded_reading import make_questions, make_sentences
from agents.evidence import Answer, CaptionVerdict, Error, Rating
from agents.explain import EXPLAIN, ExplainRequest
from agents.integrate import INTEGRATE, IntegrateRequest
from agents.locate import LOCATE, LocateRequest
from agents.patterns import load_patterns
from agents.propose import PROPOSE, ProposeRequest
from agents.rate import RATE, RateRequest
from diorama.scene import Scene
from models.perception import Perception
from tests.agents.scenes import (
    SURE,
    TruthExecutor,
    add,
    change,
    draw_scenes,
    make_scene,
    mirror,
    perceive,
    remove,
)

WHOLE = {pattern.name for pattern in load_patterns() if pattern.whole_prompt}
PROMPT = "A picture of one small red cube to the left of two striped blue spheres, set in a garden."

FAULTS: dict[str, tuple[Callable[[Scene], Scene], str, str]] = {
    "count": (lambda scene: remove(scene, 2), "count:two blue striped spheres", "two"),
    "missing": (lambda scene: remove(scene, 0), "missing:a small red cube", "one small red cube"),
    "extra": (
        lambda scene: add(scene, "torus", "black"),
        "extra:nothing else",
        "one small red cube to the left of two striped blue spheres",
    ),
    "colour": (lambda scene: change(scene, 0, colour="green"), "colour:a small red cube", "red"),
    "pattern": (
        lambda scene: change(scene, 1, pattern="plain"),
        "pattern:two blue striped spheres",
        "striped",
    ),
    "position": (mirror, "position:a small red cube left of two blue striped spheres", "to the left of"),
    "size": (lambda scene: change(scene, 0, size="large"), "size:a small red cube", "small"),
    "background": (
        lambda scene: Scene(scene.things, "night", scene.camera, scene.light),
        "background:in a garden",
        "set in a garden",
    ),
}


async def judge(
    mind: EmbeddedMind,
    executor: TruthExecutor,
    prompt: str,
    perception: Perception,
    known: tuple[Error, ...] = (),
    round: int = 0,
) -> tuple[tuple[Error, ...], Rating]:
    """Errors and rating of one picture."""
    picture = executor.show(perception)
    questions, sentences = make_questions(prompt), make_sentences(prompt)
    answers = (await mind.ask(ANSWER, AnswerRequest(questions=questions), [picture])).answers
    request = IntegrateRequest(
        prompt=prompt, sentences=sentences, questions=questions, answers=answers, known=known, round=round
    )
    errors = (await mind.ask(INTEGRATE, request)).errors
    rating = await mind.ask(
        RATE, RateRequest(prompt=prompt, questions=questions, answers=answers, errors=errors), [picture]
    )
    return errors, rating


@pytest.mark.parametrize("kind", FAULTS)
async def test_a_fault_goes_from_picture_to_words_to_edits(
    mind: EmbeddedMind, executor: TruthExecutor, kind: str
) -> None:
    spoil, name, words = FAULTS[kind]
    errors, rating = await judge(mind, executor, PROMPT, perceive(spoil(make_scene(PROMPT))))
    assert [error.id for error in errors if error.kind == kind] == [name]
    assert all(error.status == "open" for error in errors)
    assert rating.mean < 4.5
    sentences = make_sentences(PROMPT)
    located = await mind.ask(LOCATE, LocateRequest(prompt=PROMPT, sentences=sentences, errors=errors))
    assert located.spans[name].text == words
    error = next(error for error in errors if error.id == name).model_copy(
        update={"span": located.spans[name]}
    )
    request = ProposeRequest(
        prompt=PROMPT,
        original_prompt=PROMPT,
        sentences=sentences,
        errors=(error,),
        patterns=(),
        count=6,
        seed=3,
    )
    proposals = (await mind.ask(PROPOSE, request)).proposals
    assert len(proposals) == 6
    for proposal in proposals:
        for edit in proposal.edits:
            assert edit.error_ids == (name,)
            assert PROMPT[edit.before.start : edit.before.end] == edit.before.text
            if edit.pattern not in WHOLE:
                about = [s.span for s in sentences if s.id in error.sentence_ids]
                assert any(s.start <= edit.before.start and edit.before.end <= s.end for s in about)


async def test_a_true_picture_is_satisfying(mind: EmbeddedMind, executor: TruthExecutor) -> None:
    for prompt, scene in draw_scenes(40, seed=31):
        errors, rating = await judge(mind, executor, prompt, perceive(scene))
        assert errors == ()
        assert rating.mean >= 4.7


async def test_ratings_order_pictures(mind: EmbeddedMind, executor: TruthExecutor) -> None:
    scene = make_scene(PROMPT)
    one = change(scene, 0, colour="green")
    two = change(one, 1, pattern="plain")
    three = Scene(two.things, "night", two.camera, two.light)
    empty = Scene((), "night", scene.camera, scene.light)
    means = [
        (await judge(mind, executor, PROMPT, perceive(s)))[1].mean for s in (scene, one, two, three, empty)
    ]
    assert means == sorted(means, reverse=True)
    assert len(set(means)) == 5
    assert means[0] >= 4.7 > 4.5 > means[1]
    assert means[-1] < 1.5


async def test_near_misses_are_ordered_by_confidence(mind: EmbeddedMind, executor: TruthExecutor) -> None:
    wrong = change(make_scene(PROMPT), 0, colour="orange")
    sure = perceive(wrong)
    cube = sure.things[0].model_copy(update={"attribute_confidence": {**SURE, "colour": 0.55}})
    unsure = sure.model_copy(update={"things": (cube, *sure.things[1:])})
    assert (await judge(mind, executor, PROMPT, unsure))[1].mean > (
        await judge(mind, executor, PROMPT, perceive(wrong))
    )[1].mean


async def test_relationship_falls_with_missing_things(mind: EmbeddedMind, executor: TruthExecutor) -> None:
    prompt = "a photo of a red cube and a blue sphere"
    scene = make_scene(prompt)
    assert (await judge(mind, executor, prompt, perceive(scene)))[1].object_relationship == 5
    assert (await judge(mind, executor, prompt, perceive(remove(scene, 0))))[1].object_relationship < 3


async def test_a_rater_without_answers_looks_for_itself(mind: EmbeddedMind, executor: TruthExecutor) -> None:
    perception = perceive(make_scene(PROMPT))
    _, rating = await judge(mind, executor, PROMPT, perception)
    request = RateRequest(prompt=PROMPT, questions=(), answers=(), errors=())
    assert await mind.ask(RATE, request, [executor.show(perception)]) == rating


async def test_statuses_over_rounds(mind: EmbeddedMind, executor: TruthExecutor) -> None:
    good = make_scene(PROMPT)
    green = change(good, 0, colour="green")
    name = "colour:a small red cube"
    first, _ = await judge(mind, executor, PROMPT, perceive(green))
    assert [(e.id, e.status, e.found_in_round) for e in first] == [(name, "open", 0)]
    second, _ = await judge(mind, executor, PROMPT, perceive(good), first, 1)
    assert [(e.id, e.status, e.found_in_round) for e in second] == [(name, "fixed", 0)]
    third, _ = await judge(mind, executor, PROMPT, perceive(green), second, 2)
    assert [(e.id, e.status, e.found_in_round) for e in third] == [(name, "regressed", 0)]
    fourth, _ = await judge(mind, executor, PROMPT, perceive(remove(good, 0)), first, 1)
    # A cube that is not there has no colour: its colour fault is neither seen nor gone.
    assert {e.id: e.status for e in fourth} == {"missing:a small red cube": "open", name: "open"}
    assert await judge(mind, executor, PROMPT, perceive(green)) == await judge(
        mind, executor, PROMPT, perceive(green)
    )


async def test_ids_survive_rewording(mind: EmbeddedMind, executor: TruthExecutor) -> None:
    other = "There is a small red cube and two blue striped spheres. The spheres are right of the cube"
    other = f"{other}. The scene is in a garden."
    spoiled = perceive(mirror(change(make_scene(PROMPT), 0, colour="green")))
    ours, _ = await judge(mind, executor, PROMPT, spoiled)
    theirs, _ = await judge(mind, executor, other, spoiled)
    assert {e.id for e in ours} == {e.id for e in theirs}


async def test_captions_confirm_speak_up_and_are_overruled(mind: EmbeddedMind) -> None:
    prompt = "a photo of a red cube and a blue sphere"
    sentences, questions = make_sentences(prompt), make_questions(prompt)
    verdicts = (
        CaptionVerdict(sentence_id=0, verdict="contradicts", reason="colour: red wanted, green described"),
        CaptionVerdict(sentence_id=1, verdict="not_mentioned"),
    )

    async def integrate(*answers: Answer) -> dict[str, Error]:
        request = IntegrateRequest(
            prompt=prompt, sentences=sentences, questions=questions, answers=answers, verdicts=verdicts
        )
        return {error.id: error for error in (await mind.ask(INTEGRATE, request)).errors}

    alone = await integrate()
    assert {name: error.sources for name, error in alone.items()} == {
        "colour:a red cube": ("caption",),
        "missing:a blue sphere": ("caption",),
    }
    said = [Answer(question_id=question.id, verdict="yes", p_yes=0.9) for question in questions]
    assert await integrate(*said) == {}
    index = next(i for i, question in enumerate(questions) if question.id == "colour:a red cube")
    said[index] = Answer(question_id="colour:a red cube", verdict="no", p_yes=0.1)
    both = await integrate(*said)
    assert {name: error.sources for name, error in both.items()} == {"colour:a red cube": ("vqa", "caption")}


async def test_an_explanation_tells_the_story(mind: EmbeddedMind) -> None:
    error = Error(
        id="colour:a red cube",
        kind="colour",
        target="a red cube",
        description="",
        sentence_ids=(0,),
        severity=0.9,
        sources=("vqa",),
        status="fixed",
    )
    rating = Rating(attribute_binding=2, object_relationship=5, background_consistency=5)
    final = Rating(attribute_binding=5, object_relationship=5, background_consistency=5)
    request = ExplainRequest(
        prompt="a cube, it is red",
        final_prompt="a photo of a red cube",
        errors=(error,),
        edits=(),
        original=rating,
        final=final,
        pictures=9,
        status="satisfied",
    )
    text = (await mind.ask(EXPLAIN, request)).text
    for part in (
        "“a red cube”",
        "“a photo of a red cube”",
        "9 pictures",
        "4.00 to 5.00",
        "Nothing is wrong any more",
    ):
        assert part in text

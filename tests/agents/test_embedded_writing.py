import re

import pytest

from agents.embedded import EmbeddedMind
from agents.embedded_judging import integrate
from agents.embedded_looking import answer_questions
from agents.embedded_reading import locate, make_questions, make_sentences, read
from agents.embedded_writing import rewrite
from agents.evidence import Error, Lesson, apply_edits
from agents.integrate import IntegrateRequest
from agents.locate import LocateRequest
from agents.patterns import load_patterns
from agents.propose import PROPOSE, PatternChoice, ProposeRequest
from agents.rewrite import RewriteRequest
from agents.role import MindError, UnsupportedPrompt
from diorama.families import cases, geneval_cases
from diorama.scene import Scene
from diorama.vocabulary import load_vocabulary
from diorama.wording import HELD_OUT_STYLES, STYLES, TEXT_LENGTH, say, words
from tests.agents.scenes import change, draw_scenes, make_scene, mirror, perceive

CLUMSY = (
    "There is a cube and two spheres. The former is small and red, the latter are blue. "
    "All of this is in a garden."
)
LOCAL = {pattern.name for pattern in load_patterns() if not pattern.whole_prompt}


def find_errors(prompt: str, scene: Scene) -> tuple[Error, ...]:
    """The located errors of a picture."""
    questions, sentences = make_questions(prompt), make_sentences(prompt)
    answers = answer_questions(questions, perceive(scene))
    request = IntegrateRequest(prompt=prompt, sentences=sentences, questions=questions, answers=answers)
    errors = integrate(request).errors
    spans = locate(LocateRequest(prompt=prompt, sentences=sentences, errors=errors)).spans
    return tuple(error.model_copy(update={"span": spans[error.id]}) for error in errors)


def make_request(prompt: str, errors: tuple[Error, ...], **more: object) -> ProposeRequest:
    return ProposeRequest.model_validate(
        {"prompt": prompt, "original_prompt": prompt, "sentences": make_sentences(prompt), "errors": errors}
        | {"patterns": ()}
        | more
    )


@pytest.mark.parametrize("style", STYLES)
async def test_candidates_mean_the_same(mind: EmbeddedMind, style: str) -> None:
    for index, (prompt, scene) in enumerate(draw_scenes(9, seed=41, style=style)):
        errors = find_errors(prompt, mirror(change(scene, 0, colour="black", pattern="dotted")))
        proposals = (await mind.ask(PROPOSE, make_request(prompt, errors, seed=index))).proposals
        candidates = [apply_edits(prompt, proposal.edits) for proposal in proposals]
        assert len({tuple(words(text)) for text in (*candidates, prompt)}) == len(candidates) + 1
        for text in candidates:
            assert read(text).scene == read(prompt).scene
            assert len(words(text)) <= max(TEXT_LENGTH, len(words(prompt)))


async def test_candidates_for_names_mean_the_same(mind: EmbeddedMind) -> None:
    """Colour words that are things, pairs and naive plurals survive every rewriting."""
    asked = [case.prompt for case in geneval_cases(load_vocabulary())]
    asked = [
        prompt for prompt in asked if re.search("orange$|orange |scissors|sheeps|persons|benchs", prompt)
    ]
    assert len(asked) > 20
    for index, prompt in enumerate(asked):
        errors = find_errors(prompt, mirror(change(make_scene(prompt, index), 0, colour="black")))
        for proposal in (await mind.ask(PROPOSE, make_request(prompt, errors, seed=index))).proposals:
            assert read(apply_edits(prompt, proposal.edits)).scene == read(prompt).scene


async def test_local_patterns_touch_only_their_sentences(mind: EmbeddedMind) -> None:
    choices = tuple(PatternChoice(name=name, weight=1) for name in LOCAL)
    tried = 0
    for prompt, scene in draw_scenes(30, seed=42, style="there_is"):
        errors = find_errors(prompt, mirror(change(scene, 0, colour="black")))
        request = make_request(prompt, errors, patterns=choices, count=12)
        targets = {error.id: error.target for error in errors}
        for proposal in (await mind.ask(PROPOSE, request)).proposals:
            for edit in proposal.edits:
                touched = [
                    sentence
                    for sentence in request.sentences
                    if sentence.span.start < edit.before.end and edit.before.start < sentence.span.end
                ]
                assert touched
                # A relation's own things may change places with it.
                assert all(sentence.text in targets[edit.error_ids[0]] for sentence in touched)
                tried += 1
    assert tried > 30


async def test_the_same_request_gives_the_same_candidates(mind: EmbeddedMind) -> None:
    errors = find_errors(CLUMSY, change(make_scene(CLUMSY), 0, colour="green"))
    first = await mind.ask(PROPOSE, make_request(CLUMSY, errors, seed=5))
    assert await mind.ask(PROPOSE, make_request(CLUMSY, errors, seed=5)) == first
    assert await mind.ask(PROPOSE, make_request(CLUMSY, errors, seed=6)) != first


async def test_nothing_tried_comes_again_until_nothing_is_left(mind: EmbeddedMind) -> None:
    errors = find_errors(CLUMSY, change(make_scene(CLUMSY), 0, colour="green"))
    tried: tuple[str, ...] = ()
    for seed in range(40):
        reply = await mind.ask(PROPOSE, make_request(CLUMSY, errors, seed=seed, tried=tried, count=64))
        new = tuple(apply_edits(CLUMSY, proposal.edits) for proposal in reply.proposals)
        assert not set(new) & set(tried)
        assert len(new) < 64
        tried += new
        if not new:
            break
    assert len(tried) >= 20


async def test_weights_and_lessons_steer(mind: EmbeddedMind) -> None:
    errors = find_errors(CLUMSY, change(make_scene(CLUMSY), 0, colour="green"))
    only = (PatternChoice(name="canonical_caption", weight=1), PatternChoice(name="terse_list", weight=0))
    reply = await mind.ask(PROPOSE, make_request(CLUMSY, errors, patterns=only, count=3))
    assert {edit.pattern for proposal in reply.proposals for edit in proposal.edits} == {"canonical_caption"}
    lesson = Lesson(
        kind="colour",
        before="",
        after="",
        pattern="terse_list",
        rating_change=2.0,
        backend="embedded",
        similarity=1.0,
    )
    both = tuple(PatternChoice(name=name, weight=1) for name in ("canonical_caption", "terse_list"))

    async def first_patterns(lessons: tuple[Lesson, ...]) -> int:
        replies = [
            await mind.ask(
                PROPOSE, make_request(CLUMSY, errors, patterns=both, lessons=lessons, count=1, seed=seed)
            )
            for seed in range(40)
        ]
        return sum(reply.proposals[0].edits[0].pattern == "terse_list" for reply in replies)

    assert await first_patterns((lesson,)) > await first_patterns(()) + 5


async def test_an_unknown_pattern_is_named(mind: EmbeddedMind) -> None:
    choice = (PatternChoice(name="pray", weight=1),)
    with pytest.raises(MindError, match="no pattern 'pray'"):
        await mind.ask(PROPOSE, make_request(CLUMSY, (), patterns=choice))


async def test_without_errors_or_locations_whole_prompts_are_reworded(mind: EmbeddedMind) -> None:
    errors = find_errors(CLUMSY, change(make_scene(CLUMSY), 0, colour="green"))
    unlocated = tuple(error.model_copy(update={"span": None}) for error in errors)
    for given in ((), unlocated):
        proposals = (await mind.ask(PROPOSE, make_request(CLUMSY, given, count=20))).proposals
        assert len(proposals) > 5
        assert not {edit.pattern for proposal in proposals for edit in proposal.edits} & LOCAL


async def test_a_clumsy_wording_is_brought_into_known_styles(mind: EmbeddedMind) -> None:
    choices = (PatternChoice(name="canonical_caption", weight=1),)
    for style in HELD_OUT_STYLES:
        for prompt, scene in draw_scenes(9, seed=43, style=style):
            if errors := find_errors(prompt, change(scene, 0, colour="black", pattern="dotted")):
                reply = await mind.ask(PROPOSE, make_request(prompt, errors, patterns=choices))
                (proposal,) = reply.proposals
                assert apply_edits(prompt, proposal.edits) == say(read(prompt).parsed.graph, "geneval")


async def test_a_base_that_strayed_is_led_back(mind: EmbeddedMind) -> None:
    errors = find_errors(CLUMSY, change(make_scene(CLUMSY), 0, colour="green"))
    request = make_request("a photo of a small green cube", errors, original_prompt=CLUMSY, count=4)
    for proposal in (await mind.ask(PROPOSE, request)).proposals:
        assert read(apply_edits(request.prompt, proposal.edits)).scene == read(CLUMSY).scene


async def test_a_prompt_outside_the_grammar_is_refused(mind: EmbeddedMind) -> None:
    request = ProposeRequest(prompt="a fox", original_prompt="a fox", sentences=(), errors=(), patterns=())
    with pytest.raises(UnsupportedPrompt, match="fox"):
        await mind.ask(PROPOSE, request)


def test_the_one_rewrite_says_the_same_and_stays_readable() -> None:
    asked = [case.prompt for case in cases("heldout", ["dense", "position"], 60, 0, load_vocabulary("cpu"))]
    rewritten = {prompt: rewrite(RewriteRequest(prompt=prompt)).prompt for prompt in asked}
    assert all(read(new).scene == read(old).scene for old, new in rewritten.items())
    assert all(len(words(new)) <= TEXT_LENGTH for new in rewritten.values())
    kept = [old for old, new in rewritten.items() if old == new]
    assert 0 < len(kept) < 20, "few are longer in the canonical wording than the painter reads"

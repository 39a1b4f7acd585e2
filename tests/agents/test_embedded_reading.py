from random import Random

import pytest

from agents.decompose import DECOMPOSE, DecomposeRequest
from agents.embedded import EmbeddedMind
from agents.embedded_claims import align, name_groups, rebuild_claims
from agents.embedded_reading import check_known, make_questions, make_sentences, read
from agents.evidence import Error, Sentence, Span
from agents.locate import LOCATE, LocateRequest
from agents.merge import MERGE, MergeRequest
from agents.question import QUESTION, QuestionRequest
from agents.role import MindError, UnsupportedPrompt
from diorama.parsing import canonical
from diorama.vocabulary import load_vocabulary
from diorama.wording import STYLES, say
from tests.agents.scenes import draw_graphs


@pytest.mark.parametrize("style", STYLES)
def test_sentences_have_exact_spans_and_lose_nothing(style: str) -> None:
    for index, graph in enumerate(draw_graphs(200, seed=11, words="full")):
        prompt = say(graph, style, Random(index))
        sentences = make_sentences(prompt)
        assert [sentence.id for sentence in sentences] == list(range(len(sentences)))
        end = 0
        for sentence in sentences:
            span = sentence.span
            assert prompt[span.start : span.end] == span.text
            assert span.start >= end
            end = span.end
        reading = read(prompt)
        told = {part for sentence in sentences for part in sentence.text.split("; ")}
        assert told >= {*reading.names, *reading.relation_names}
        assert ("background" in {sentence.kind for sentence in sentences}) == (graph.setting is not None)


def test_every_wording_makes_the_same_claims() -> None:
    for index, graph in enumerate(draw_graphs(30, seed=12, words="full")):
        wanted = {question.id for question in make_questions(say(graph))}
        for style in STYLES:
            questions = make_questions(say(graph, style, Random(index)))
            assert {question.id for question in questions} == wanted
            assert len({question.id for question in questions}) == len(questions)


def test_the_scene_is_rebuilt_from_its_questions_alone() -> None:
    for graph in draw_graphs(60, seed=13, words="full"):
        prompt = say(graph)
        rebuilt = rebuild_claims(make_questions(prompt))
        assert rebuilt is not None
        assert rebuilt[0] == read(prompt).scene
        assert [claim.id for claim in rebuilt[1]] == [question.id for question in make_questions(prompt)]


def test_alignment_maps_groups_to_their_like() -> None:
    for graph in draw_graphs(60, seed=14, words="full"):
        whole = canonical(graph)
        for group, place in zip(graph.groups, align(graph), strict=True):
            assert whole.groups[place].shape == group.shape
            assert whole.groups[place].colour == group.colour


def test_things_just_alike_have_names_of_their_own() -> None:
    reading = read("a photo of a red cube left of a red cube")
    assert name_groups(reading.scene) == ("a red cube", "a red cube (2)")
    turned = read("a photo of a red cube right of a red cube")
    assert turned.scene == reading.scene
    assert turned.names == tuple(reversed(reading.names))


async def test_questions_point_at_the_sentence_that_says_it(mind: EmbeddedMind) -> None:
    prompt = "There is a cube and a sphere. The former is red, the latter is blue. The scene is in a garden."
    sentences = (await mind.ask(DECOMPOSE, DecomposeRequest(prompt=prompt))).sentences
    reply = await mind.ask(QUESTION, QuestionRequest(prompt=prompt, sentences=sentences))
    said = {question.id: sentences[question.sentence_id].span.text for question in reply.questions}
    assert said["existence:a red cube"] == "a cube"
    assert said["colour:a red cube"].startswith("The former is red")
    assert said["background:in a garden"].startswith("The scene is in a garden")
    assert reply.questions[-1].kind == "extra"
    colour = next(question for question in reply.questions if question.id == "colour:a red cube")
    assert colour.depends_on == ("existence:a red cube",)


@pytest.mark.parametrize(
    ("kind", "target", "words"),
    [
        ("missing", "two small red cubes", "two small red cubes"),
        ("count", "two small red cubes", "two"),
        ("colour", "two small red cubes", "red"),
        ("size", "two small red cubes", "small"),
        ("pattern", "a striped blue sphere", "striped"),
        ("position", "two small red cubes left of a blue striped sphere", "left of"),
        ("background", "in a garden", "in a garden"),
        ("extra", "nothing else", "two small red cubes left of a striped blue sphere"),
    ],
)
async def test_errors_are_located_to_the_word(mind: EmbeddedMind, kind: str, target: str, words: str) -> None:
    prompt = "a photo of two small red cubes left of a striped blue sphere in a garden"
    names = {"a striped blue sphere": "a blue striped sphere"}
    error = make_error(kind, names.get(target, target))
    spans = (
        await mind.ask(
            LOCATE, LocateRequest(prompt=prompt, sentences=make_sentences(prompt), errors=(error,))
        )
    ).spans
    assert spans["e"].text == words
    assert prompt[spans["e"].start : spans["e"].end] == words


def test_a_surplus_thing_is_located_at_its_like(mind: EmbeddedMind) -> None:
    from agents.embedded_reading import locate

    prompt = "a photo of a red cube and a blue sphere"
    error = make_error("extra", "nothing else", "also seen: green sphere (0.9)")
    spans = locate(LocateRequest(prompt=prompt, sentences=make_sentences(prompt), errors=(error,))).spans
    assert spans["e"].text == "a blue sphere"


async def test_unknown_words_are_named_with_the_way_out(mind: EmbeddedMind) -> None:
    with pytest.raises(UnsupportedPrompt, match="--mind openai") as caught:
        await mind.ask(DECOMPOSE, DecomposeRequest(prompt="a photo of a purple dragon and a bat"))
    assert caught.value.words == ("dragon", "bat")
    assert "'dragon', 'bat' (but 'baseball bat')" in str(caught.value)


async def test_a_colour_that_a_thing_cannot_have_is_named_with_the_way_out(mind: EmbeddedMind) -> None:
    with pytest.raises(UnsupportedPrompt, match=r"a zebra cannot be black: it may be red, orange.*--backend"):
        await mind.ask(DECOMPOSE, DecomposeRequest(prompt="a black zebra left of a car"))


def test_a_name_that_the_painter_was_not_taught_is_named() -> None:
    with pytest.raises(UnsupportedPrompt, match=r"not taught 'zebra' and 'pink'.*maulstick doctor") as caught:
        check_known("a photo of a pink zebra left of two red cars", load_vocabulary("cpu_names"))
    assert caught.value.words == ("zebra", "pink")


async def test_known_words_without_a_scene_are_refused(mind: EmbeddedMind) -> None:
    with pytest.raises(UnsupportedPrompt, match="cannot read"):
        await mind.ask(DECOMPOSE, DecomposeRequest(prompt="red and blue"))


async def test_merge_keeps_all_other_characters(mind: EmbeddedMind) -> None:
    prompt = "a photo of a red cube and a blue sphere in a garden"
    sentence = make_sentences(prompt)[0]
    merged = await mind.ask(
        MERGE, MergeRequest(prompt=prompt, sentence=sentence, replacement="exactly one red cube")
    )
    assert merged.prompt == "a photo of exactly one red cube and a blue sphere in a garden"
    stale = Sentence(id=0, text="a red cube", kind="object", span=Span(start=0, end=10, text="a red cube"))
    with pytest.raises(MindError, match="decompose it again"):
        await mind.ask(MERGE, MergeRequest(prompt=prompt, sentence=stale, replacement="a cube"))


def make_error(kind: str, target: str, description: str = "") -> Error:
    return Error.model_validate(
        {
            "id": "e",
            "kind": kind,
            "target": target,
            "description": description,
            "sentence_ids": (0,),
            "severity": 0.9,
            "sources": ("vqa",),
        }
    )

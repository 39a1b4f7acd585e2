"""Parsing inverts every wording, keeps exact spans, and names what it cannot read."""

import pickle
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diorama.graph import Group, Predicate, Relation, SceneGraph
from diorama.parsing import Parsed, UnknownWords, Unparsable, canonical, parse
from diorama.vocabulary import load_vocabulary
from diorama.wording import STYLES, lexicon, say

FULL = load_vocabulary()
HARD_NAMES = (
    "orange",
    "orange",
    "sheep",
    "scissors",
    "skis",
    "person",
    "broccoli",
    "hot dog",
    "dog",
    "teddy bear",
    "bear",
)
"""Names that are colours, their own plurals, pairs, colourless or parts of other names."""
AXES: tuple[tuple[Predicate, Predicate], ...] = (
    ("left of", "right of"),
    ("below", "above"),
    ("in front of", "behind"),
)


@st.composite
def graphs(draw: st.DrawFn) -> SceneGraph:
    """Any graph of up to five groups; few shapes and colours, so that groups are often alike."""
    shapes = draw(
        st.lists(
            st.sampled_from((*FULL.shape_names[:6], *HARD_NAMES, *FULL.shape_names[6:])),
            min_size=1,
            max_size=4,
        )
    )
    colours = [None, "red", "red", "blue", "orange"]
    groups: list[Group] = []
    room = 6
    for left in range(draw(st.integers(0, 4)), -1, -1):
        count = draw(st.integers(1, min(3, room - left)))
        room -= count
        shape = draw(st.sampled_from(shapes))
        allowed = [colour for colour in colours if colour in (None, *FULL.allowed_colours[shape])]
        patterns = [None, None, *(FULL.pattern_names if shape in FULL.solids else ())]
        groups.append(
            Group(
                shape=shape,
                count=count,
                colour=draw(st.sampled_from(allowed)),
                pattern=draw(st.sampled_from(patterns)),
                size=draw(st.sampled_from([None, None, *FULL.size_names])),
            )
        )
    pairs = [(a, b) for a in range(len(groups)) for b in range(len(groups)) if a != b]
    places = [draw(st.permutations(range(len(groups)))) for _ in AXES]
    relations: list[Relation] = []
    for a, b in draw(st.lists(st.sampled_from(pairs), max_size=3)) if pairs else []:
        axis = draw(st.integers(0, 2))
        predicate = AXES[axis][places[axis][a] > places[axis][b]]
        relations.append(Relation(subject=a, predicate=predicate, object=b))
    setting = draw(st.sampled_from([None, *FULL.setting_names]))
    return SceneGraph(groups=tuple(groups), relations=tuple(relations), setting=setting)


def check_spans(prompt: str, parsed: Parsed) -> None:
    end = 0
    for sentence in parsed.sentences:
        assert prompt[sentence.start : sentence.end] == sentence.text
        assert sentence.start >= end
        end = sentence.end
    said = {index for sentence in parsed.sentences for index in sentence.groups}
    assert said == set(range(len(parsed.graph.groups)))
    related = {index for sentence in parsed.sentences for index in sentence.relations}
    assert related == set(range(len(parsed.graph.relations)))
    for group, spans in zip(parsed.graph.groups, parsed.spans.groups, strict=True):
        assert spans.shape
        for part in ("colour", "pattern", "size"):
            assert bool(spans.part(part)) == (getattr(group, part) is not None)
        for span in spans.colour:
            assert prompt[span.start : span.end].lower() == group.colour
    assert all(parsed.spans.relations)
    assert bool(parsed.spans.setting) == (parsed.graph.setting is not None)


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(graph=graphs(), seed=st.one_of(st.none(), st.integers(0, 9999)))
def test_every_wording_of_every_graph_reads_back(graph: SceneGraph, seed: int | None) -> None:
    for style in STYLES:
        prompt = say(graph, style, None if seed is None else Random(seed))
        parsed = parse(prompt)
        assert canonical(parsed.graph) == canonical(graph), prompt
        check_spans(prompt, parsed)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(st.sampled_from(lexicon()), min_size=1, max_size=14))
def test_word_salad_is_read_with_exact_spans_or_refused(found: list[str]) -> None:
    prompt = " ".join(found)
    try:
        parsed = parse(prompt)
    except UnknownWords as error:
        assert error.words
    except Unparsable as error:
        assert error.why
    else:
        check_spans(prompt, parsed)


def group(shape: str, colour: str | None = None, count: int = 1, **looks: str) -> Group:
    return Group(shape=shape, colour=colour, count=count, **looks)


@pytest.mark.parametrize(
    ("prompt", "groups", "relations", "setting"),
    [
        ("a red cube left of two blue spheres", [group("cube", "red"), group("sphere", "blue", 2)],
         [(0, "left of", 1)], None),
        ("three green cones on the floor", [group("cone", "green", 3)], [], None),
        ("blue ball above a white cube at night", [group("sphere", "blue"), group("cube", "white")],
         [(0, "above", 1)], "night"),
        ("A PHOTO OF   THREE  CONES!!", [group("cone", None, 3)], [], None),
        ("a couple of red blocks behind a ring", [group("cube", "red", 2), group("torus")],
         [(0, "behind", 1)], None),
        ("a big, red-colored cube and 2 little cylinders in the desert",
         [group("cube", "red", size="large"), group("cylinder", None, 2, size="small")], [], "desert"),
        ("a sphere with a cube on its left and a cone on its right",
         [group("sphere"), group("cube"), group("cone")], [(1, "left of", 0), (2, "right of", 0)], None),
        ("There is a cube. It is red. To its left there is a sphere. It is blue.",
         [group("cube", "red"), group("sphere", "blue")], [(1, "left of", 0)], None),
        ("a cube to the right of a sphere and above a cone", [group("cube"), group("sphere"), group("cone")],
         [(0, "right of", 1), (0, "above", 2)], None),
        ("a cube left of a sphere left of a cone", [group("cube"), group("sphere"), group("cone")],
         [(0, "left of", 1), (1, "left of", 2)], None),
        ("a cube and a sphere are left of a cone", [group("cube"), group("sphere"), group("cone")],
         [(0, "left of", 2), (1, "left of", 2)], None),
        ("The red cube is left of the blue sphere.", [group("cube", "red"), group("sphere", "blue")],
         [(0, "left of", 1)], None),
        ("a red cube left of another red cube", [group("cube", "red"), group("cube", "red")],
         [(0, "left of", 1)], None),
        ("Two things: a cube and a sphere. The former is striped.",
         [group("cube", pattern="striped"), group("sphere")], [], None),
        ("on the left a cube and a sphere, on the right a cone",
         [group("cube"), group("sphere"), group("cone")],
         [(0, "left of", 2), (1, "left of", 2)], None),
        ("a garden scene with some cubes, three of them", [group("cube", None, 3)], [], "garden"),
    ],
)  # fmt: skip
def test_what_people_type(
    prompt: str, groups: list[Group], relations: list[tuple[int, Predicate, int]], setting: str | None
) -> None:
    parsed = parse(prompt)
    assert list(parsed.graph.groups) == groups
    assert [(found.subject, found.predicate, found.object) for found in parsed.graph.relations] == relations
    assert parsed.graph.setting == setting
    check_spans(prompt, parsed)


def test_pieces_and_parts_have_exact_spans() -> None:
    prompt = "A photo of a small red cube left of two blue spheres, in a garden."
    parsed = parse(prompt)
    assert [(piece.text, piece.kind, piece.groups, piece.relations) for piece in parsed.sentences] == [
        ("a small red cube", "object", (0,), ()),
        ("left of", "relation", (0, 1), (0,)),
        ("two blue spheres", "object", (1,), ()),
        ("in a garden", "background", (), ()),
    ]
    spans = parsed.spans
    texts = [prompt[span.start : span.end] for span in (*spans.groups[1].count, *spans.groups[1].colour)]
    assert texts == ["two", "blue"]
    assert [prompt[span.start : span.end] for span in spans.relations[0]] == ["left of"]


def test_a_sentence_that_says_one_thing_stays_whole() -> None:
    parsed = parse(
        "There is a red cube. There is a blue sphere. The cube is left of the sphere. It is a night scene."
    )
    assert [(piece.text, piece.kind, piece.groups) for piece in parsed.sentences] == [
        ("There is a red cube.", "object", (0,)),
        ("There is a blue sphere.", "object", (1,)),
        ("The cube is left of the sphere.", "relation", (0, 1)),
        ("It is a night scene.", "background", ()),
    ]


def test_a_part_that_is_said_twice_has_two_spans() -> None:
    prompt = "a red cube, the cube is red, and a sphere"
    spans = parse(prompt).spans.groups[0].colour
    assert [prompt[span.start : span.end] for span in spans] == ["red", "red"]
    assert spans[0] != spans[1]


@pytest.mark.parametrize(
    ("prompt", "unknown"),
    [
        ("a red dragon and a mauve cube", ("dragon", "mauve")),
        ("a photo of a castle", ("castle",)),
        ("a hot cube and a bat", ("hot", "bat")),
        ("a cube without stripes", ("without",)),
        ("the floor is red", ("floor",)),
        ("a Dragon, a cube and a dragon", ("dragon",)),
    ],
)
def test_unknown_words_are_all_named(prompt: str, unknown: tuple[str, ...]) -> None:
    with pytest.raises(UnknownWords) as caught:
        parse(prompt)
    assert caught.value.words == unknown
    assert all(repr(word) in str(caught.value) for word in unknown)


def test_a_smaller_vocabulary_knows_fewer_words() -> None:
    with pytest.raises(UnknownWords) as caught:
        parse("a striped torus in a desert", load_vocabulary("cpu"))
    assert caught.value.words == ("striped", "torus", "desert")


@pytest.mark.parametrize(
    ("prompt", "why"),
    [
        ("a red cube that is blue", "the cube cannot be both red and blue"),
        ("a red cube in a garden at night", "the scene cannot be both garden and night"),
        ("7 cubes", "one to six things, not 7"),
        ("four cubes and three spheres", "at most 6 things, this one has 7"),
        ("some red cubes", "how many of 'red cube'"),
        ("a cube and a cube. The cube is red.", "'The cube' could be any of 2"),
        ("two red cubes, the first one is small", "one of several"),
        ("a red cube left of", "lacks one of its two things"),
        ("a red cube on the left", "of what?"),
        ("a cube in a sphere", "'in'"),
        ("a cube on top of a sphere", "'on'"),
        ("a large photo of a cube", "'a'"),
        ("a cube and a red", "'a'"),
        ("two cubes, one red and one blue", "'one' counts nothing"),
        ("a cube left of a sphere. The sphere is left of the cube.", "each cannot be left of the next"),
        ("three things: a cube and a sphere", "3 in all but names 2"),
        ("a cube and a sphere. It is red.", "'it' could be any of 2"),
        ("two cube", "needs the plural"),
        ("please", "names no thing"),
        ("", "names no thing"),
    ],
)
def test_what_makes_no_scene_is_refused_with_a_reason(prompt: str, why: str) -> None:
    with pytest.raises(Unparsable) as caught:
        parse(prompt)
    assert why.lower() in caught.value.why.lower()


def test_errors_travel_between_processes() -> None:
    for error in (UnknownWords(("zebra",)), Unparsable("a cube that is", "why")):
        again = pickle.loads(pickle.dumps(error))
        assert str(again) == str(error)
        assert vars(again) == vars(error)


def test_canonical_merges_turns_and_sorts() -> None:
    cube, ball = Group(shape="cube", colour="red"), Group(shape="sphere")
    right = Relation(subject=1, predicate="right of", object=0)
    left = Relation(subject=0, predicate="left of", object=1)
    assert canonical(SceneGraph(groups=(cube, cube))) == canonical(
        SceneGraph(groups=(group("cube", "red", 2),))
    )
    assert canonical(SceneGraph(groups=(cube, ball), relations=(right, right))) == canonical(
        SceneGraph(groups=(cube, ball), relations=(left,))
    )
    # Two like cubes, one of them left of the sphere, are not two cubes left of it.
    assert canonical(SceneGraph(groups=(cube, ball, cube), relations=(left,))) != canonical(
        SceneGraph(groups=(group("cube", "red", 2), ball), relations=(left,))
    )

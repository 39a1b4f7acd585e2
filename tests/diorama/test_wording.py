"""Styles say any graph, in words of the lexicon, the same way every time."""

from random import Random

import pytest

from diorama.graph import Group, Relation, SceneGraph
from diorama.vocabulary import load_vocabulary
from diorama.wording import (
    EXPLICIT_STYLES,
    HELD_OUT_STYLES,
    STYLES,
    TEXT_LENGTH,
    TRAINING_STYLES,
    lexicon,
    say,
    say_group,
    say_relation,
    say_setting,
    words,
)
from diorama.world import World

PAIR = SceneGraph(
    groups=(Group(shape="cube", colour="red"), Group(shape="sphere", count=2, colour="blue")),
    relations=(Relation(subject=0, predicate="left of", object=1),),
    setting="garden",
)


def test_the_canonical_wording_is_genevals() -> None:
    assert say(PAIR) == "a photo of a red cube left of two blue spheres in a garden"
    assert say(SceneGraph(groups=(Group(shape="cone", count=3),))) == "a photo of three cones"
    assert say(SceneGraph(groups=(Group(shape="cube", colour="orange"),))) == "a photo of an orange cube"


WORDINGS = {
    "inverse": "A photo of two blue spheres right of a red cube in a garden.",
    "left_right": "On the left a red cube, on the right two blue spheres. The scene is in a garden.",
    "enumerated": "A red cube is left of a blue sphere and another blue sphere in a garden.",
    "counted": (
        "Exactly one red cube, and exactly 2 blue spheres, two in all. "
        "The red cube is left of the blue spheres in a garden."
    ),
    "repeated": (
        "A red cube, the cube is red, and two blue spheres, the spheres are blue. "
        "The cube is left of the spheres in a garden."
    ),
    "one_per_sentence": (
        "There is a red cube. There are two blue spheres. The red cube is left of the blue spheres. "
        "The scene is in a garden."
    ),
    "former": (
        "There is a cube and two spheres. The former is red, the latter are blue. "
        "The cube is to be found to the left of the spheres. All of this is in a garden."
    ),
}


@pytest.mark.parametrize(("style", "prompt"), WORDINGS.items())
def test_what_a_style_is_about_is_in_its_wording(style: str, prompt: str) -> None:
    assert say(PAIR, style) == prompt


def test_there_are_enough_styles_of_each_kind() -> None:
    assert len(TRAINING_STYLES) >= 12
    assert len(HELD_OUT_STYLES) >= 4
    assert not set(TRAINING_STYLES) & set(HELD_OUT_STYLES)
    assert set(EXPLICIT_STYLES) <= set(TRAINING_STYLES)


def test_a_wording_depends_on_graph_style_and_rng_alone() -> None:
    for style in STYLES:
        assert say(PAIR, style, Random(3)) == say(PAIR, style, Random(3))
    assert len({say(PAIR, None, Random(seed)) for seed in range(60)}) > 20


def test_the_lexicon_is_what_styles_say() -> None:
    solids = load_vocabulary("solids")
    world = World(solids, seed=2)
    known = set(lexicon(solids))
    said: set[str] = set()
    for index in range(3000):
        style = list(STYLES)[index % len(STYLES)]
        said |= set(words(say(world.graph(index), style, Random(index))))
    assert said <= known
    # Six things of one kind, and the second plural of torus, are rare or never said.
    rare = {"1", "5", "6", "five", "six", "fifth", "sixth", "plain", "tori"}
    assert known - said <= rare
    assert list(lexicon(solids)) == sorted(known)
    names = World(load_vocabulary(), seed=2)
    for index in range(1000):
        style = list(STYLES)[index % len(STYLES)]
        assert set(words(say(names.graph(index), style, Random(index)))) <= set(lexicon())


def test_most_wordings_fit_the_painters_text_length() -> None:
    world = World(load_vocabulary(), seed=4)
    graphs = [graph for graph in map(world.graph, range(400)) if len(graph.groups) <= 3]
    lengths = [len(words(say(graph, style))) for graph in graphs for style in STYLES]
    assert sum(length > TEXT_LENGTH for length in lengths) < 0.1 * len(lengths)


def test_words_part_punctuation() -> None:
    assert words("A red cube, left of it. 3 Cones!") == [
        "a",
        "red",
        "cube",
        ",",
        "left",
        "of",
        "it",
        ".",
        "3",
        "cones",
    ]


def test_single_clauses_can_be_reworded() -> None:
    assert say_group(Group(shape="cube", count=3, colour="red"), "enumerated") == (
        "a red cube, another red cube and a third red cube"
    )
    assert say_group(Group(shape="cube", colour="red"), "that") == "a cube that is red"
    assert say_relation(PAIR, 0) == "the cube is to the left of the spheres"
    assert say_relation(PAIR, 0, "inverse") == "the blue spheres right of the red cube"
    assert say_setting(PAIR) == "in a garden"
    assert say_setting(SceneGraph(groups=PAIR.groups)) == ""


def test_references_tell_like_groups_apart() -> None:
    red, blue = Group(shape="cube", colour="red"), Group(shape="cube", colour="blue")
    above = Relation(subject=1, predicate="above", object=0)
    below = Relation(subject=2, predicate="below", object=1)
    graph = SceneGraph(groups=(red, blue, red), relations=(above, below))
    assert say(graph, "there_is") == (
        "There is a red cube, a blue cube and a red cube. The blue cube is above the first cube. "
        "The third cube is below the blue cube."
    )


def test_an_unknown_style_is_named() -> None:
    with pytest.raises(ValueError, match="no style 'haiku'; there are: geneval, plain"):
        say(PAIR, "haiku")

"""Names in prompts and in scenes: colour words that are things, natural looks, colours that are allowed."""

from random import Random

import numpy as np
import pytest

from diorama.draws import TRAINING_FAMILIES, available_families, draw_graph
from diorama.graph import Group, Relation, SceneGraph
from diorama.parsing import Unparsable, parse
from diorama.place import Unplaceable, complete, project
from diorama.truth import mismatches
from diorama.vocabulary import Vocabulary, load_vocabulary
from diorama.wording import lexicon, say, words
from diorama.world import World

FULL, NAMES = load_vocabulary(), load_vocabulary("cpu_names")


def read(prompt: str) -> list[tuple[int, str | None, str]]:
    return [(group.count, group.colour, group.shape) for group in parse(prompt).graph.groups]


@pytest.mark.parametrize(
    ("prompt", "groups"),
    [
        ("an orange", [(1, None, "orange")]),
        ("an orange orange", [(1, "orange", "orange")]),
        ("three orange oranges and an orange cup", [(3, "orange", "orange"), (1, "orange", "cup")]),
        ("a red orange left of a cube that is orange", [(1, "red", "orange"), (1, "orange", "cube")]),
        ("There is an orange. It is orange.", [(1, "orange", "orange")]),
        ("Orange is the colour of the cube.", [(1, "orange", "cube")]),
        ("Orange is the colour of the orange.", [(1, "orange", "orange")]),
        ("a cube in orange, an orange", [(1, "orange", "cube"), (1, None, "orange")]),
        ("a small, orange and striped cube", [(1, "orange", "cube")]),
        ("a cube orange and an orange red", [(1, "orange", "cube"), (1, "red", "orange")]),
        ("an orange coloured cube", [(1, "orange", "cube")]),
        ("red cube, orange, orange dog", [(1, "red", "cube"), (1, None, "orange"), (1, "orange", "dog")]),
        ("a cube, orange", [(1, "orange", "cube")]),
        ("a dog and an orange. The orange is left of the dog.", [(1, None, "dog"), (1, None, "orange")]),
    ],
)
def test_orange_is_a_colour_or_a_thing(prompt: str, groups: list[tuple[int, str | None, str]]) -> None:
    assert read(prompt) == groups


@pytest.mark.parametrize(
    ("prompt", "groups"),
    [
        ("a hot dog and a dog", [(1, None, "hot dog"), (1, None, "dog")]),
        ("a teddy bear above two bears", [(1, None, "teddy bear"), (2, None, "bear")]),
        ("a ball and a sports ball", [(1, None, "sphere"), (1, None, "sports ball")]),
        ("a TV remote left of a tv", [(1, None, "tv remote"), (1, None, "tv")]),
        ("a microwave oven and an oven", [(1, None, "microwave"), (1, None, "oven")]),
        ("a pair of scissors and a pair of cups", [(1, None, "scissors"), (2, None, "cup")]),
        ("two scissors, three pairs of skis", [(2, None, "scissors"), (3, None, "skis")]),
        ("two sheep and a sheeps", None),
        ("some sheep, three of them", [(3, None, "sheep")]),
        ("four benchs", [(4, None, "bench")]),
        ("two persons and three people", [(2, None, "person"), (3, None, "person")]),
        ("a blue sofa and two hair dryers", [(1, "blue", "couch"), (2, None, "hair drier")]),
        ("a purple elephant left of two red cars", [(1, "purple", "elephant"), (2, "red", "car")]),
    ],
)
def test_names_of_several_words_plurals_and_aliases(
    prompt: str, groups: list[tuple[int, str | None, str]] | None
) -> None:
    if groups is None:
        with pytest.raises(Unparsable, match="'a' cannot stand before 'sheeps'"):
            parse(prompt)
    else:
        assert read(prompt) == groups


@pytest.mark.parametrize(
    ("prompt", "why"),
    [
        ("a red person", "a person cannot be red: leave the colour out"),
        ("two zebras. They are white.", "a zebra cannot be white: it may be red"),
        ("a striped tie", "a tie cannot be striped: only solids take patterns"),
    ],
)
def test_looks_that_a_thing_cannot_have_are_refused(prompt: str, why: str) -> None:
    with pytest.raises(Unparsable) as caught:
        parse(prompt)
    assert why in caught.value.why


def test_a_word_of_a_name_alone_is_unknown_and_the_name_is_suggested() -> None:
    with pytest.raises(ValueError, match=r"does not know 'mouse' \(but 'computer mouse'\); use its words"):
        parse("a mouse left of a cat")


@pytest.mark.parametrize("vocabulary", [FULL, NAMES], ids=["full", "cpu_names"])
def test_every_family_draws_names_with_looks_that_they_can_have(vocabulary: Vocabulary) -> None:
    rng = Random(4)
    drawn: set[str] = set()
    for family in (*available_families(vocabulary), "free"):
        for index in range(400):
            graph = draw_graph(family, rng, vocabulary, ("train", "heldout")[index % 2])  # type: ignore[arg-type]
            for group in graph.groups:
                assert vocabulary.objection(group.shape, group.model_dump()) is None
                drawn.add(group.shape)
            if family in ("colors", "color_attr"):
                assert all(group.colour for group in graph.groups)
            if family == "patterns":
                assert all(group.size or group.pattern for group in graph.groups)
    assert set(TRAINING_FAMILIES) == {*available_families(vocabulary), "free"}
    assert drawn == set(vocabulary.shape_names)


def test_scenes_show_names_naturally_unless_a_colour_is_asked() -> None:
    rng = np.random.default_rng(6)
    graph = parse("a cube, a banana, a purple elephant and a person").graph
    for _ in range(20):
        scene = complete(graph, rng, FULL)
        cube, banana, elephant, person = scene.things
        assert cube.colour in FULL.colour_names
        assert (banana.colour, elephant.colour, person.colour) == (None, "purple", None)
        assert {thing.pattern for thing in scene.things[1:]} == {"plain"}
        # People call a natural banana yellow; a person has no colour.
        seen = project(scene)
        assert [seen[1].colour, seen[3].colour] == ["yellow", None]


def test_a_natural_look_is_its_own_colour_and_no_other() -> None:
    scene = complete(parse("a banana and an elephant").graph, np.random.default_rng(0), FULL)
    seen = project(scene)
    assert not mismatches(parse("a yellow banana and an elephant").graph, seen)
    wrong = mismatches(parse("a green banana and a blue elephant").graph, seen)
    assert [(one.kind, one.wanted, one.found) for one in wrong] == [
        ("colour", "green", "yellow"),
        ("colour", "blue", "natural"),
    ]
    extra = mismatches(parse("a banana").graph, seen)
    assert [(one.kind, one.found) for one in extra] == [("extra", "elephant")]


def test_beside_a_coloured_one_of_its_kind_no_thing_is_natural() -> None:
    """A natural apple is red: it could be taken for the red one."""
    groups = (Group(shape="apple", colour="red"), Group(shape="apple"))
    graph = SceneGraph(groups=groups, relations=(Relation(subject=0, predicate="left of", object=1),))
    for seed in range(10):
        red, other = complete(graph, np.random.default_rng(seed), FULL).things
        assert red.colour == "red"
        assert other.colour not in (None, "red")


def test_a_look_that_a_thing_cannot_have_is_not_placed() -> None:
    graph = SceneGraph(groups=(Group(shape="person", colour="red"),))
    with pytest.raises(ValueError, match="a person cannot be red"):
        complete(graph, np.random.default_rng(0), FULL)


def test_scenes_of_all_families_find_places() -> None:
    world, placed = World(FULL, 9), 0
    for index in range(150):
        graph = world.graph(index)
        try:
            scene = complete(graph, np.random.default_rng(index), FULL)
        except Unplaceable:
            continue
        placed += 1
        assert not mismatches(graph, project(scene), scene.setting)
    assert placed >= 145


def test_the_lexicon_holds_every_form_of_every_name() -> None:
    known = set(lexicon())
    assert {word for shape in FULL.shapes for form in shape.forms for word in words(form)} <= known
    assert {"benchs", "knives", "sofa", "skis", "hydrant"} <= known
    assert say(parse("a pair of scissors and two sheep").graph) == "a photo of a scissors and two sheep"

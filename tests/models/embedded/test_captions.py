"""What a caption tells beyond what was asked is true of the picture, and never names a held-out pair."""

from random import Random

import numpy as np

from diorama.draws import held_out_pairs
from diorama.graph import Group, SceneGraph
from diorama.truth import mismatches
from diorama.vocabulary import load_vocabulary
from diorama.wording import lexicon
from models.embedded.painter import build_tokenizer
from models.embedded.training.captions import Captions, tell_more
from models.embedded.training.latents import NONE, token_classes
from models.embedded.training.painters_world import SEED
from models.embedded.training.stream import PictureStream

WORDS = load_vocabulary("cpu")
STREAM = PictureStream(WORDS, SEED, {"two_object": 1.0, "position": 1.0, "color_attr": 1.0, "counting": 0.5})


def test_what_is_told_is_true_and_often_more_than_was_asked() -> None:
    batch = STREAM.batch(0, 80)
    classes = token_classes(WORDS, batch.ids.long(), batch.seen)
    more = {"colours": 0, "places": 0}
    for row, (graph, seen) in enumerate(zip(batch.graphs, batch.seen, strict=True)):
        told = tell_more(
            graph, classes["shape"][row].numpy(), classes["colour"][row].numpy(), WORDS, Random(row)
        )
        assert not mismatches(told, seen)
        named = {(group.colour, group.shape) for group in told.groups}
        assert not named & held_out_pairs(WORDS)
        if len(graph.groups) == 1:
            assert told == graph
        more["colours"] += told.groups != graph.groups
        more["places"] += told.relations != graph.relations
    assert more["colours"] > 10 and more["places"] > 10


def test_a_held_out_pair_that_is_seen_is_not_named() -> None:
    colour, shape = sorted(held_out_pairs(WORDS))[0]
    other = next(name for name in WORDS.shape_names if name != shape)
    shapes = np.full((8, 8), NONE)
    colours = np.full((8, 8), NONE)
    shapes[4, 1], shapes[4, 6] = WORDS.shape_names.index(shape), WORDS.shape_names.index(other)
    colours[4, 1], colours[4, 6] = WORDS.colour_names.index(colour), WORDS.colour_names.index(colour)
    graph = SceneGraph(groups=(Group(shape=shape), Group(shape=other)))
    told = [tell_more(graph, shapes, colours, WORDS, Random(seed)) for seed in range(20)]
    assert all(each.groups[0].colour is None for each in told)
    assert any(each.groups[1].colour == colour for each in told)
    assert {relation.predicate for each in told for relation in each.relations} == {"left of"}


def test_a_natural_look_is_told_without_a_colour() -> None:
    shapes, colours = np.full((8, 8), NONE), np.full((8, 8), NONE)
    shapes[4, 1], shapes[4, 6] = WORDS.shape_names.index("cube"), WORDS.shape_names.index("cone")
    colours[4, 6] = WORDS.colour_names.index("green")
    graph = SceneGraph(groups=(Group(shape="cube"), Group(shape="cone")))
    told = [tell_more(graph, shapes, colours, WORDS, Random(seed)) for seed in range(20)]
    assert all(each.groups[0].colour is None for each in told)
    assert any(each.groups[1].colour == "green" for each in told)


def test_captions_are_drawn_alike_again_and_some_are_empty() -> None:
    batch = STREAM.batch(0, 60)
    classes = token_classes(WORDS, batch.ids.long(), batch.seen)
    captions = Captions(STREAM.world, build_tokenizer(lexicon(), lexicon(WORDS)), "cpu")
    first, again, plain = (
        captions.draw(batch.indices, np.random.default_rng(1), *seen)
        for seen in ((classes["shape"], classes["colour"]), (classes["shape"], classes["colour"]), ())
    )
    assert first == again != plain
    assert [prompt == "" for prompt in first] == [prompt == "" for prompt in plain]
    assert 0 < first.count("") < 20

"""Families draw what their tags promise, hold pairs and styles out, and write the official formats."""

from collections import Counter
from random import Random

import pytest

from diorama.families import (
    FAMILIES,
    GENEVAL_FAMILIES,
    HARD_FAMILIES,
    TRAINING_FAMILIES,
    available_families,
    cases,
    dpg_rows,
    draw_case,
    draw_graph,
    geneval_metadata,
    held_out_pairs,
)
from diorama.graph import SceneGraph
from diorama.parsing import canonical, parse
from diorama.vocabulary import Vocabulary, load_vocabulary
from diorama.wording import HELD_OUT_STYLES, TEXT_LENGTH, words
from diorama.world import World

FULL, SOLIDS = load_vocabulary(), load_vocabulary("solids")
SUBSETS = ("full", "solids", "cpu", "cpu_names", "tiny", "tiny_names")


def pairs(graph: SceneGraph) -> set[tuple[str | None, str]]:
    return {(group.colour, group.shape) for group in graph.groups}


@pytest.mark.parametrize("vocabulary", [load_vocabulary(name) for name in SUBSETS], ids=SUBSETS)
def test_training_never_shows_a_held_out_pair_nor_an_attribute_without_choice(vocabulary: Vocabulary) -> None:
    rng = Random(1)
    held = held_out_pairs(vocabulary)
    for family in (*available_families(vocabulary), "free"):
        for _ in range(200):
            graph = draw_graph(family, rng, vocabulary)
            assert not pairs(graph) & held
            for group in graph.groups:
                assert group.pattern != "plain"
                assert group.pattern is None or len(vocabulary.patterns) > 1
                assert group.size is None or len(vocabulary.sizes) > 1


def test_held_out_pairs_are_a_tenth_and_leave_every_word_to_training() -> None:
    held = held_out_pairs(SOLIDS)
    assert held == {
        ("blue", "sphere"), ("orange", "cube"), ("pink", "cone"),
        ("purple", "cone"), ("red", "sphere"), ("white", "cylinder"),
    }  # fmt: skip
    assert held_out_pairs(load_vocabulary("cpu")) <= held <= held_out_pairs(FULL)
    assert not held_out_pairs(load_vocabulary("tiny"))
    assert 0.08 < len(held_out_pairs(FULL)) / sum(map(len, FULL.allowed_colours.values())) < 0.12
    rng = Random(0)
    seen = Counter(pair for _ in range(6000) for pair in pairs(draw_graph("colors", rng, FULL)))
    assert {colour for colour, _ in seen} == set(FULL.colour_names)
    assert {shape for _, shape in seen} == {*FULL.shape_names} - {"person"}


@pytest.mark.parametrize("family", ["colors", "color_attr", "patterns", "dense"])
def test_half_of_the_held_out_prompts_show_a_held_out_pair(family: str) -> None:
    rng = Random(2)
    held = held_out_pairs(FULL)
    drawn = [draw_graph(family, rng, FULL, "heldout") for _ in range(600)]  # type: ignore[arg-type]
    assert 0.42 < sum(bool(pairs(graph) & held) for graph in drawn) / len(drawn) < 0.58


def test_a_world_of_every_pair_shows_what_painters_never_see() -> None:
    words = load_vocabulary("cpu_names")
    held, usual, every = held_out_pairs(words), World(words, 1), World(words, 1, every_pair=True)
    assert ("purple", "elephant") not in held and ("black", "elephant") in held
    shown: set[tuple[str | None, str]] = set()
    for index in range(1200):
        graph = every.graph(index)
        shown |= pairs(graph) & held
        assert every.family(index) == usual.family(index)
        assert index % 2 or graph == usual.graph(index)
    assert shown == held


def test_each_family_is_what_its_tag_says() -> None:
    rng = Random(3)
    for _ in range(100):
        single, counting, two = (
            draw_graph(name, rng, FULL) for name in ("single_object", "counting", "two_object")
        )
        assert [(group.count, group.colour) for group in single.groups] == [(1, None)]
        assert counting.groups[0].count in (2, 3, 4)
        assert len({group.shape for group in two.groups}) == 2
        attribution = draw_graph("color_attr", rng, FULL)
        assert len({group.shape for group in attribution.groups}) == 2
        assert len({group.colour for group in attribution.groups} - {None}) == 2
        position, depth = draw_graph("position", rng, FULL), draw_graph("depth", rng, FULL)
        assert position.relations[0].predicate in ("left of", "right of", "above", "below")
        assert depth.relations[0].predicate in ("in front of", "behind")
        assert all(group.size or group.pattern for group in draw_graph("patterns", rng, FULL).groups)
        dense = draw_graph("dense", rng, FULL)
        assert 3 <= len(dense.groups) <= 5
        assert len(dense.relations) >= 2
        assert len(pairs(dense)) == len(dense.groups)


def test_a_family_that_lacks_words_is_refused() -> None:
    tiny = load_vocabulary("tiny")
    assert "patterns" not in available_families(tiny)
    assert "patterns" in available_families(load_vocabulary("cpu"))
    with pytest.raises(ValueError, match="'patterns' needs more words"):
        draw_graph("patterns", Random(0), tiny)


def test_cases_are_unique_readable_and_reproducible() -> None:
    found = cases("heldout", FAMILIES[1:], 30, seed=5, vocabulary=FULL)
    assert len(found) == 30 * len(FAMILIES[1:])
    assert len({case.prompt for case in found}) == len({case.id for case in found}) == len(found)
    assert found == cases("heldout", FAMILIES[1:], 30, seed=5, vocabulary=FULL)
    for case in found:
        assert canonical(parse(case.prompt).graph) == canonical(case.graph)
        assert len(words(case.prompt)) <= TEXT_LENGTH
        assert "." not in case.id
    with pytest.raises(ValueError, match="different prompts, not 5000"):
        cases("train", ["single_object"], 5000, seed=0, vocabulary=load_vocabulary("tiny"))


@pytest.mark.parametrize("family", HARD_FAMILIES)
def test_hard_held_out_cases_are_mostly_clumsy_and_training_never_is(family: str) -> None:
    rng = Random(6)
    held = [draw_case(family, "heldout", rng, FULL).style for _ in range(300)]  # type: ignore[arg-type]
    assert 0.6 < sum(style in HELD_OUT_STYLES for style in held) / 300 < 0.8
    assert not any(draw_case(family, "train", rng, FULL).style in HELD_OUT_STYLES for _ in range(50))  # type: ignore[arg-type]


def test_geneval_metadata_is_in_the_official_form() -> None:
    rng = Random(7)
    for family in GENEVAL_FAMILIES:
        for _ in range(50):
            case = draw_case(family, "heldout", rng, FULL)
            line = geneval_metadata(case)
            assert set(line) - {"exclude"} == {"tag", "include", "prompt"}
            assert (line["tag"], line["prompt"]) == (family, case.prompt)
            assert ("exclude" in line) == (family == "counting")
            include = line["include"]
            assert isinstance(include, list)
            for clause in include:  # type: ignore[misc]
                assert set(clause) <= {"class", "count", "color", "position"}  # type: ignore[arg-type]


def test_the_target_of_a_position_comes_first() -> None:
    case = draw_case("position", "train", Random(8), FULL)
    relation = case.graph.relations[0]
    target, placed = case.graph.groups[relation.object], case.graph.groups[relation.subject]
    assert geneval_metadata(case)["include"] == [
        {"class": target.shape, "count": 1},
        {"class": placed.shape, "count": 1, "position": [relation.predicate, 0]},
    ]


def test_counting_excludes_one_more() -> None:
    case = draw_case("counting", "train", Random(9), FULL)
    group = case.graph.groups[0]
    line = geneval_metadata(case)
    assert line["exclude"] == [{"class": group.shape, "count": group.count + 1}]


def test_what_genevals_format_cannot_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot hold"):
        geneval_metadata(draw_case("dense", "train", Random(0), FULL))
    with pytest.raises(ValueError, match="patterns or sizes"):
        geneval_metadata(draw_case("patterns", "train", Random(0), FULL))


def test_dpg_rows_have_the_official_columns_and_parents_before_children() -> None:
    rng = Random(10)
    columns = (
        "item_id,text,keywords,proposition_id,dependency,category_broad,category_detailed,tuple,"
        "question_natural_language"
    )
    for _ in range(50):
        case = draw_case("dense", "train", rng, FULL)
        rows = dpg_rows(case)
        for number, row in enumerate(rows, start=1):
            assert ",".join(row) == columns
            assert row["proposition_id"] == str(number)
            assert all(0 <= int(parent) < number for parent in row["dependency"].split(","))
            # DPG-Bench takes its categories from the tuple.
            assert row["tuple"].split("-")[0].strip() == row["category_broad"]
            assert row["category_broad"] in ("entity", "attribute", "relation", "global", "other")
        assert len({row["tuple"] for row in rows}) == len(rows)
        relations = [row for row in rows if row["category_broad"] == "relation"]
        assert len(relations) == len(case.graph.relations)


def test_a_world_is_a_function_of_its_index() -> None:
    for split in ("train", "heldout"):
        first, again = World(FULL, 11, split), World(FULL, 11, split)
        for index in (0, 7, 12345678):
            assert first.graph(index) == again.graph(index)
            for wording in range(4):
                prompt = first.prompt(index, wording)
                assert prompt == again.prompt(index, wording)
                assert canonical(parse(prompt).graph) == canonical(first.graph(index))
    assert World(FULL, 11).graph(3) != World(FULL, 12).graph(3) or World(FULL, 11).graph(4) != World(
        FULL, 12
    ).graph(4)
    assert World(FULL, 11).prompt(5, 0).startswith("a photo of ")


def test_a_world_draws_its_families_by_weight() -> None:
    world = World(FULL, 1, weights={"counting": 3.0, "single_object": 1.0})
    found = Counter(world.family(index) for index in range(2000))
    assert set(found) == {"counting", "single_object"}
    assert 0.7 < found["counting"] / 2000 < 0.8
    assert {World(FULL, 1).family(index) for index in range(500)} == set(TRAINING_FAMILIES)
    with pytest.raises(ValueError, match="too few words for the families patterns"):
        World(load_vocabulary("tiny"), 1, weights={"patterns": 1.0})
    with pytest.raises(ValueError, match="no family has a positive weight"):
        World(FULL, 1, weights={})

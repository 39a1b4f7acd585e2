"""The words of the world: every name once, sub-vocabularies that models depend on, allowed colours."""

from collections import Counter

import pytest
from pydantic import ValidationError

from diorama.vocabulary import Vocabulary, load_vocabulary, vocabulary_names

FULL = load_vocabulary()
SOLIDS = ("sphere", "cube", "cylinder", "cone", "torus", "pyramid")
TEN_COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white")


def test_eighty_names_stand_behind_the_solids() -> None:
    assert FULL.shape_names[:6] == SOLIDS
    assert Counter(shape.kind for shape in FULL.shapes[6:86]) == {"cutout": 64, "composite": 16}
    assert FULL.shape_names[6:86:79] == ("person", "toothbrush")
    assert FULL.solids == set(SOLIDS)
    assert FULL.colour_names == TEN_COLOURS


def test_sub_vocabularies_keep_their_order() -> None:
    """Class indices of trained models are positions in these."""
    assert load_vocabulary("solids").shape_names == SOLIDS
    assert load_vocabulary("tiny").shape_names == ("sphere", "cube")
    assert load_vocabulary("tiny_names").shape_names == ("sphere", "cube", "bench", "apple")
    assert vocabulary_names() == ("full", "solids", "cpu", "cpu_names", "tiny", "tiny_names")
    cpu, names = load_vocabulary("cpu"), load_vocabulary("cpu_names")
    assert cpu.shape_names == ("sphere", "cube", "cylinder", "cone")
    assert cpu.colour_names == ("red", "yellow", "green", "blue", "black", "white")
    assert names.shape_names[:4] == cpu.shape_names
    assert len(names.shapes) == 14
    assert names.colour_names == ("red", "yellow", "green", "blue", "purple", "black", "white")
    assert names.model_copy(update={"shapes": cpu.shapes, "colours": cpu.colours}) == cpu


def test_no_form_means_two_things_and_every_size_stays_recognisable() -> None:
    forms = [form for shape in FULL.shapes for form in shape.forms]
    assert len(forms) == len(set(forms))
    for shape in FULL.shapes:
        assert all(0.1 <= length <= 1.5 for length in shape.extent)
        # A box of less than a third of a unit is less than ten pixels of 128.
        assert min(shape.extent[:2]) >= 0.4 and max(shape.extent) >= 0.8


@pytest.mark.parametrize(
    ("name", "forms"),
    [
        ("cube", {"cube": "one", "cubes": "several", "block": "one", "blocks": "several"}),
        ("bench", {"bench": "one", "benches": "several", "benchs": "several"}),
        ("bus", {"bus": "one", "buses": "several"}),
        ("person", {"person": "one", "people": "several", "persons": "several", "human": "one",
                    "humans": "several"}),
        ("sheep", {"sheep": "either", "sheeps": "several"}),
        ("scissors", {"scissors": "counted", "scissorses": "several", "pair of scissors": "one",
                      "pairs of scissors": "several"}),
    ],
)  # fmt: skip
def test_forms_of_a_name(name: str, forms: dict[str, str]) -> None:
    shape = next(shape for shape in FULL.shapes if shape.name == name)
    assert shape.forms == forms


def test_objections_name_the_look_and_the_way_out() -> None:
    assert FULL.objection("elephant", {"colour": "purple", "pattern": None}) is None
    assert FULL.objection("cube", {"colour": "red", "pattern": "striped"}) is None
    assert FULL.objection("car", {"pattern": "plain"}) is None
    assert FULL.objection("person", {"colour": "red"}) == "a person cannot be red: leave the colour out"
    assert FULL.objection("zebra", {"colour": "black"}) == (
        "a zebra cannot be black: it may be red, orange, yellow, green, blue, purple, pink, brown"
    )
    assert FULL.objection("apple", {"pattern": "dotted"}) == (
        "an apple cannot be dotted: only solids take patterns, leave it out"
    )


def test_allowed_colours_are_those_of_the_sub_vocabulary() -> None:
    data = FULL.model_dump()
    data["colours"] = [colour for colour in data["colours"] if colour["name"] in ("white", "red", "black")]
    small = Vocabulary.model_validate(data)
    assert small.allowed_colours["zebra"] == ("red",)
    assert small.allowed_colours["cube"] == ("red", "black", "white")
    assert small.allowed_colours["person"] == ()


def test_a_form_of_two_names_is_refused() -> None:
    data = FULL.model_dump()
    data["shapes"][7]["aliases"] = [["ball", "balls"]]
    with pytest.raises(ValidationError, match="'ball' would mean both 'sphere' and 'bicycle'"):
        Vocabulary.model_validate(data)


def test_a_copy_with_other_words_knows_them() -> None:
    assert FULL.shape_names and FULL.solids
    fewer = FULL.model_copy(update={"shapes": FULL.shapes[:2]})
    assert fewer.shape_names == ("sphere", "cube")
    assert fewer.solids == {"sphere", "cube"}
    assert FULL.model_copy() == FULL


def test_a_sub_vocabulary_that_is_none_is_named() -> None:
    with pytest.raises(ValueError, match="no sub-vocabulary 'huge'; there are: full, solids, cpu, cpu_names"):
        load_vocabulary("huge")

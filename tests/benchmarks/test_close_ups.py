"""What is told of touching up: which things gain, and what becomes of pictures."""

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

from benchmarks.close_ups import colours_of, describe, main
from benchmarks.samplers import place, render_all
from benchmarks.touch_ups import Touched, tabulate
from diorama.families import cases
from diorama.vocabulary import load_vocabulary
from models.backends import WEIGHTS


def test_a_thing_gains_where_its_distance_falls_by_more_than_chance() -> None:
    rng = torch.Generator().manual_seed(3)
    before = 10 + torch.randn(30, generator=rng)
    for fall, gains in ((1.0, "yes"), (0.0, ""), (-1.0, "")):
        after = before - fall + 0.5 * torch.randn(30, generator=rng)
        count, was, now, change, told = describe(torch.stack([before, after], 1))
        assert (count, told) == ("30", gains)
        assert float(now) - float(was) == pytest.approx(float(change.split()[0]), abs=0.011)
        assert float(change.split()[2]) == pytest.approx(0.5 / 30**0.5, abs=0.03)
    assert describe(torch.empty(0, 2)) == ("0", "", "", "too few to tell", "")


def test_names_are_asked_for_in_their_own_look_too() -> None:
    words = load_vocabulary("cpu_names")
    asked = {word.name: colours_of(word, words) for word in words.shapes}
    assert asked["cube"] == list(words.colour_names)
    assert asked["car"][0] is None and set(asked["car"][1:]) <= set(words.colour_names)


def test_an_unknown_name_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["dragon"])
    assert "the painter does not know 'dragon': name some of" in capsys.readouterr().err


def test_pictures_are_measured_as_found_and_touched_up() -> None:
    words, rng = load_vocabulary("cpu"), np.random.default_rng(4)
    done: list[Touched] = []
    for case in cases("heldout", ["two_object"], 8, 5, words):
        scenes = place(case, words, rng)
        assert scenes is not None
        pixels = render_all(list(scenes)).permute(0, 2, 3, 1).numpy()
        right = Image.fromarray(pixels[1])
        blank = Image.new("RGB", right.size, "grey")
        done.append(Touched(case, scenes, right, blank, right, False, 2.0))
    console = Console(width=100, record=True, quiet=True)
    console.print(table := tabulate(done, WEIGHTS / "judge"))
    names, shares, distances = (list(column.cells) for column in table.columns)
    assert names == ["rendered", "as found", "touched up, all", "touched up, kept"]
    assert float(shares[1]) == float(shares[3]) > 0.7 and float(shares[2]) == 0
    assert float(distances[2]) > 10 * abs(float(distances[1]))
    assert table.caption == "8 pictures, 0 kept; 2.0 s each to touch up"

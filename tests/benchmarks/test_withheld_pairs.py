"""How networks read what painters are not taught."""

from pathlib import Path

import pytest

from benchmarks.withheld_pairs import main
from diorama.draws import held_out_pairs
from diorama.vocabulary import load_vocabulary
from models.embedded.training import perception
from models.embedded.training.measure import MEASURE_SEED
from models.embedded.training.stream import PictureStream


def test_scenes_are_told_apart_by_the_pairs_that_they_show(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = load_vocabulary("cpu")  # solids alone: this test has no sprite atlas
    withheld = held_out_pairs(words)
    scenes = PictureStream(words, MEASURE_SEED, every_pair=True).batch(0, 100).seen
    with_one = sum(any((thing.colour, thing.shape) in withheld for thing in things) for things in scenes)
    assert 10 < with_one < 50

    folder = perception.train("critic", "tiny", tmp_path, vocabulary="cpu")
    main([str(folder), "--count", "100"])
    rows = [line.split("│") for line in capsys.readouterr().out.splitlines() if "│" in line]
    counts = [("with", with_one), ("without", 100 - with_one)]
    assert [(row[2].strip(), int(row[3])) for row in rows] == counts
    assert all(0 <= float(figure) <= 1 for row in rows for figure in row[4:-1])

"""How networks read what painters are not taught."""

import pytest

from benchmarks.withheld_pairs import main
from diorama.draws import held_out_pairs
from diorama.vocabulary import load_vocabulary
from models.backends import WEIGHTS
from models.embedded.training.measure import MEASURE_SEED
from models.embedded.training.stream import PictureStream


def test_shipped_eyes_read_withheld_pairs_too(capsys: pytest.CaptureFixture[str]) -> None:
    words = load_vocabulary("cpu_names")
    withheld = held_out_pairs(words)
    scenes = PictureStream(words, MEASURE_SEED, every_pair=True).batch(0, 100).seen
    with_one = sum(any((thing.colour, thing.shape) in withheld for thing in things) for things in scenes)

    main([str(WEIGHTS / "critic"), str(WEIGHTS / "judge"), "--count", "100"])
    rows = [line.split("│") for line in capsys.readouterr().out.splitlines() if "│" in line]
    counts = [("with", with_one), ("without", 100 - with_one)]
    assert [(row[2].strip(), int(row[3])) for row in rows] == 2 * counts
    assert 10 < with_one < 50 and all(float(row[-2]) > 0.75 for row in rows)

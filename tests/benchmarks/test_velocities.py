"""The comparison of painters on scenes that neither has seen."""

from pathlib import Path

import pytest

from benchmarks.velocities import SHARES, main
from diorama.vocabulary import load_vocabulary
from models.embedded.training import autoencoder, painter


def test_a_painter_that_learnt_more_denoises_better(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vae = autoencoder.train("tiny", tmp_path, steps=5) / "autoencoder"
    few, many = (
        painter.train("tiny", tmp_path / str(steps), autoencoder=vae, steps=steps) for steps in (1, 30)
    )
    main([str(few), str(many), "--count", "6"])
    rows = [line.split("│") for line in capsys.readouterr().out.splitlines() if "│" in line]
    sizes, *errors = ([float(row[column]) for row in rows] for column in range(2, 3 + len(SHARES)))
    assert sizes[0] == sizes[1] and len(errors) == len(SHARES)
    assert all(0 < learnt < begun for begun, learnt in errors)

    main([str(many), "--count", "6", "--things"])
    rows = [line.split("│") for line in capsys.readouterr().out.splitlines() if "│" in line]
    assert {row[2].strip() for row in rows} == {"its own"}  # solids have no other
    assert {row[1].strip() for row in rows} <= set(load_vocabulary("tiny").shape_names)
    assert 0 < sum(int(row[3]) for row in rows) < 6 * 64

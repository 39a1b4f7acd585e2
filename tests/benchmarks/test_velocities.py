"""The comparison of painters on scenes that neither has seen."""

from pathlib import Path

import pytest

from benchmarks.velocities import SHARES, main
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

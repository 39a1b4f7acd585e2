"""The comparison of ways to sample."""

from pathlib import Path

import pytest
import torch

from benchmarks.samplers import Way, kernel_distance, main, read_way
from models.embedded.training import autoencoder, painter


def test_ways_are_read_as_they_are_written() -> None:
    assert read_way("16:3") == Way(16, 3.0, fresh=True)
    assert read_way("12:2.5:kept") == Way(12, 2.5, fresh=False)
    for wrong in ("16", "16:3:fresh", "16:3:kept:1", "sixteen:3"):
        with pytest.raises(ValueError):
            read_way(wrong)


def test_the_distance_is_nothing_within_a_distribution_and_grows_with_the_shift() -> None:
    generator = torch.Generator().manual_seed(5)
    one, two = torch.randn(2, 400, 12, generator=generator, dtype=torch.float64)
    shifted = [kernel_distance(one, two + by) for by in (0.0, 0.3, 0.9)]
    assert abs(shifted[0]) < 0.05 < shifted[1] < shifted[2] / 4


def test_a_way_is_measured_beside_renders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    vae = autoencoder.train("tiny", tmp_path, steps=5) / "autoencoder"
    folder = painter.train("tiny", tmp_path / "painter", autoencoder=vae, steps=1)
    main([str(folder), "2:1", "2:1:kept", "--count", "2"])
    rows = [line.split("│") for line in capsys.readouterr().out.splitlines() if "│" in line]
    names = [row[1].strip() for row in rows]
    assert names == ["rendered", "2 steps, guidance 1", "2 steps, guidance 1, noise kept"]
    rendered, *painted = (float(row[-3]) for row in rows)
    assert all(distance > abs(rendered) for distance in painted)  # one step of training paints noise

"""The comparison of autoencoders, on untrained ones."""

from pathlib import Path

import pytest
import torch

from benchmarks.autoencoders import main
from models.embedded.painter import build_autoencoder


def test_each_has_a_row_with_pictures_and_things_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    build_autoencoder((4, 4, 4, 4)).save_pretrained(tmp_path / "small")
    build_autoencoder((8, 8, 8, 8)).save_pretrained(tmp_path / "large")
    main([str(tmp_path / "small"), str(tmp_path / "large"), "--vocabulary", "tiny", "--count", "4"])
    rows = [line.split("│") for line in capsys.readouterr().out.splitlines() if "│" in line]
    sizes, whole, things = ([float(row[column]) for row in rows] for column in (2, 3, 4))
    assert len(rows) == 2 and sizes[0] < sizes[1]
    assert all(0 < each < 40 for each in whole + things) and whole != things

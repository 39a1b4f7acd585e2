"""`evaluate` as a user runs it, with the shipped weights."""

import json
from pathlib import Path

import pytest


@pytest.mark.timeout(300)
def test_an_evaluation_goes_on_with_its_own_rows_and_no_others(maulstick, tmp_path: Path):
    command = ("evaluate", "diorama", "--count", "5", "--arms", "single", "--out", str(tmp_path / "out"))
    done = maulstick(*command, "--images", "1", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["title"] == "diorama, heldout prompts, 1 pictures each, seed 0, 0 episodes remembered"
    [arm] = report["arms"]
    assert (arm["arm"], arm["prompts"], arm["pictures"]) == ("single", 5, 1.0)
    rows = (tmp_path / "out" / "outcomes.jsonl").read_bytes()

    again = maulstick(*command, "--images", "1", "--json")
    assert json.loads(again.stdout) == report
    other = maulstick(*command, "--images", "2")
    assert other.returncode == 2
    assert "holds another evaluation (images is 1 there and 2 now): name another --out" in other.stderr
    assert (tmp_path / "out" / "outcomes.jsonl").read_bytes() == rows


@pytest.mark.timeout(400)
def test_a_memory_is_warmed_once_and_measured(maulstick, tmp_path: Path):
    command = ("evaluate", "memory", "--count", "1", "--images", "2", "--out", str(tmp_path / "out"))
    done = maulstick(*command, "--train", "1", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["prompts"] == 5, "one of each family"
    assert 1 <= report["pictures_empty"]["mean"] <= 2
    assert 1 <= report["rating_warm"] <= 5
    runs = sorted(path.name for path in (tmp_path / "out" / "home" / "runs").glob("warm-*"))
    assert len(runs) == 5
    assert json.loads((tmp_path / "out" / "memory.json").read_text("utf-8")) == report
    done_runs = sorted((tmp_path / "out" / "home" / "runs").iterdir())
    again = maulstick(*command, "--train", "1", "--json")
    assert json.loads(again.stdout) == report
    assert sorted((tmp_path / "out" / "home" / "runs").iterdir()) == done_runs

    other = maulstick(*command, "--train", "2")
    assert other.returncode == 2
    assert "holds another evaluation (warming_count is 1 there and 2 now): name another --out" in other.stderr

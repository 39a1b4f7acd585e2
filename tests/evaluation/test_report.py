import json
from pathlib import Path

import pytest

from evaluation.outcome import Outcome, Rows
from evaluation.report import make_report, write_report
from models.artifact import ArtifactRef


def outcome(case: str, arm: str, correct: bool) -> Outcome:
    return Outcome(
        case=case,
        family="position",
        arm=arm,
        prompt="a red cube",
        final_prompt="a red cube",
        picture=ArtifactRef(sha256="0" * 64),
        rating=4.0,
        correct=correct,
        lenient=True,
        wrong=() if correct else ("colour",),
        pictures=1 if arm == "single" else 12,
        seconds=1.0,
    )


def test_rows_survive_a_torn_last_line(tmp_path: Path) -> None:
    rows = Rows(tmp_path / "rows.jsonl")
    rows.add(outcome("a", "single", True))
    rows.add(outcome("b", "single", False))
    with rows.path.open("a", encoding="utf-8") as file:
        file.write('{"case": "c", "arm"')
    again = Rows(rows.path)
    assert again.rows == rows.rows
    again.add(outcome("c", "single", True))
    assert len(Rows(rows.path).rows) == 3


def test_report_pairs_prompts_whatever_the_order_of_the_lines(tmp_path: Path) -> None:
    made = [
        outcome(f"case-{n}", arm, n % 4 == 0 if arm == "single" else n % 2 == 0)
        for n in range(40)
        for arm in ("single", "loop")
    ]
    reports = []
    for name, order in (("there", made), ("back", made[::-1])):
        rows = Rows(tmp_path / f"{name}.jsonl")
        for row in order:
            rows.add(row)
        reports.append(make_report(rows, "title"))
    assert reports[0].differences == reports[1].differences
    [difference] = reports[0].differences
    assert (difference.arm, difference.against) == ("loop", "single")
    assert difference.correct.mean == pytest.approx(0.25)
    assert 0 < difference.correct.low < 0.25 < difference.correct.high < 0.5
    write_report(reports[0], tmp_path)
    assert json.loads((tmp_path / "report.json").read_text("utf-8"))["title"] == "title"
    assert "| loop | single | 0.250" in (tmp_path / "report.md").read_text("utf-8")


def test_what_was_switched_off_is_compared_with_the_whole_loop(tmp_path: Path) -> None:
    rows = Rows(tmp_path / "rows.jsonl")
    for arm, right in (("single", False), ("best_of_n", True), ("loop", True), ("loop_no_memory", False)):
        rows.add(outcome("a", arm, right))
    pairs = [(d.arm, d.against, d.correct.mean) for d in make_report(rows, "t").differences]
    assert pairs == [
        ("best_of_n", "single", 1.0),
        ("loop", "single", 1.0),
        ("loop_no_memory", "single", 0.0),
        ("loop", "best_of_n", 0.0),
        ("loop_no_memory", "best_of_n", -1.0),
        ("loop_no_memory", "loop", -1.0),
    ]

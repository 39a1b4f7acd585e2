"""A run whose process is killed anywhere ends with the same pictures once another process resumes it."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

POINTS = ["torn:paint:0", "after:paint:1", "torn:rate:1", "after:learn:1"]
MORE_POINTS = (
    [
        f"{when}:{node}"
        for node in (
            "decompose:0",
            "paint:0",
            "caption:0",
            "question:0",
            "answer:0",
            "integrate:0",
            "locate:0",
        )
        for when in ("before", "after")
    ]
    + [
        f"{when}:{node}:1"
        for node in ("propose", "paint", "rate", "cluster", "deepen", "integrate", "locate")
        for when in ("before", "after")
    ]
    + [
        "before:recall:0",
        "after:recall:0",
        "torn:paint:1",
        "before:learn:1",
        "before:explain:*",
        "after:explain:*",
    ]
)


def crash(folder: Path, points: list[str], new_database: Callable[[], str] | None = None) -> dict[str, Any]:
    """What `crash.py` tells: a file for each point, or a server's database; the whole run has a file."""
    places = {point: str(folder / f"{number}.db") for number, point in enumerate(["whole", *points])}
    if new_database is not None:
        places.update({point: new_database() for point in points})
    command = [sys.executable, str(Path(__file__).with_name("crash.py")), str(folder), json.dumps(places)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1700)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def check(told: dict[str, Any], points: list[str]) -> None:
    whole = told["whole"]
    assert whole["killed"] == 0 and len(whole["pictures"]) == 9
    for point in points:
        assert told[point]["killed"] == signal.SIGKILL, f"{point} was never reached"
        assert told[point] == {**whole, "killed": signal.SIGKILL}, point


@pytest.mark.timeout(600)
def test_a_killed_run_resumes_to_the_same_pictures(tmp_path: Path) -> None:
    check(crash(tmp_path, POINTS), POINTS)


@pytest.mark.postgres
@pytest.mark.timeout(600)
def test_a_killed_run_on_a_server_resumes_to_the_pictures_of_one_on_a_file(
    tmp_path: Path, postgres_server: Any
) -> None:
    check(crash(tmp_path, POINTS, postgres_server.new_database), POINTS)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_wherever_it_is_killed(tmp_path: Path) -> None:
    check(crash(tmp_path, MORE_POINTS), MORE_POINTS)

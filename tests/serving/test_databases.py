"""The commands with the ledger and the checkpoints on a server, as a user runs them."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from memory.ledger import Ledger
from memory.postgres import PostgresDatabase
from serving.stores import place_replies
from settings import Settings

ROOT = Path(__file__).parents[2]
AWAY = "postgresql://painter:hunter2@127.0.0.1:9/studio"


@pytest.mark.postgres
@pytest.mark.timeout(600)
def test_a_killed_refinement_goes_on_in_another_process_and_paints_what_a_file_would(
    maulstick: Any, postgres_server: Any, tmp_path: Path
) -> None:
    url = postgres_server.new_database()
    env = {"MAULSTICK_DATABASE": url}
    arguments = (
        "refine",
        "three red cubes left of two green cones",
        "--images",
        "5",
        "--seed",
        "3",
        "--json",
    )
    alone = maulstick(*arguments, env={"MAULSTICK_HOME": str(tmp_path / "alone")})
    expected = json.loads(alone.stdout)

    _kill_while_painting(arguments, tmp_path / "home", url)
    [listed] = json.loads(maulstick("runs", "list", "--json", env=env).stdout)["runs"]
    assert listed["status"] == "interrupted"
    resumed = maulstick("runs", "resume", listed["run_id"], "--json", env=env)
    assert (resumed.returncode, resumed.stderr) == (0, "")
    result = json.loads(resumed.stdout)
    assert result["artifact"]["sha256"] == expected["artifact"]["sha256"]
    assert (result["pictures"], result["rating"]) == (expected["pictures"], expected["rating"])

    shown = maulstick("runs", "show", listed["run_id"], env=env)
    assert (shown.returncode, "three red cubes left of" in shown.stdout) == (0, True)
    pruned = maulstick("runs", "prune", env=env)
    assert "steps of 1 ended runs: their space is Postgres's to use" in pruned.stdout
    again = json.loads(maulstick("runs", "resume", listed["run_id"], "--json", env=env).stdout)
    assert again["artifact"]["sha256"] == expected["artifact"]["sha256"]
    assert not list((tmp_path / "home").glob("*.db"))

    report = json.loads(maulstick("doctor", "--json", env=env).stdout)
    stores = {store["name"]: (store["state"], store["path"]) for store in report["stores"]}
    place = f"postgresql://127.0.0.1:{postgres_server.port}/{url.rpartition('/')[2]}"
    assert stores["ledger"] == stores["checkpoints"] == ("ok", place)
    assert report["versions"]["psycopg"].startswith("3.")


def _kill_while_painting(arguments: list[str], home: Path, url: str) -> None:
    """Start the command, and kill it once two steps after the first picture are kept."""
    env = {**os.environ, "MAULSTICK_HOME": str(home), "MAULSTICK_DATABASE": url, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(ROOT / "app.py"), *arguments]
    process = subprocess.Popen(
        command, env=env, cwd=home.parent, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        with Ledger(PostgresDatabase(url)) as ledger:
            for _ in range(900):
                assert process.poll() is None, "it ended before it was killed"
                there = ledger.rows("SELECT to_regclass('checkpoint_writes')")[0][0]
                if there and ledger.rows("SELECT count(*) FROM checkpoints")[0][0] >= 6:
                    return
                time.sleep(0.05)
        raise AssertionError("no checkpoint in time")
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(60)


@pytest.mark.postgres
def test_the_doctor_looks_at_an_empty_database_and_changes_nothing(
    maulstick: Any, postgres_server: Any
) -> None:
    from memory.postgres import find_tables

    url = postgres_server.new_database()
    report = json.loads(maulstick("doctor", "--json", env={"MAULSTICK_DATABASE": url}).stdout)
    assert [store["state"] for store in report["stores"]] == ["absent"] * 3
    assert find_tables(url) == set()


def test_machines_that_share_a_folder_keep_replies_apart(tmp_path: Path) -> None:
    alone = Settings(home=tmp_path)
    assert place_replies(alone) == tmp_path / "replies.db"
    together = alone.model_copy(update={"database": AWAY})
    assert place_replies(together) == tmp_path / f"replies-{socket.gethostname()}.db"


@pytest.mark.postgres
@pytest.mark.parametrize("arguments", [("runs", "list"), ("refine", "a red cube", "--images", "1")])
def test_a_server_that_is_down_is_one_line(maulstick: Any, arguments: tuple[str, ...]) -> None:
    done = maulstick(*arguments, env={"MAULSTICK_DATABASE": AWAY})
    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert "postgresql://127.0.0.1:9/studio: no answer" in line and "MAULSTICK_DATABASE" in line
    assert "hunter2" not in line


@pytest.mark.postgres
def test_the_doctor_tells_of_a_server_that_is_down(maulstick: Any) -> None:
    env = {"MAULSTICK_DATABASE": AWAY, "MAULSTICK_CHROMA": "http://127.0.0.1:9"}
    done = maulstick("doctor", "--json", env=env)
    report = json.loads(done.stdout)
    assert done.returncode == 1 and "hunter2" not in done.stdout + done.stderr
    assert [store["state"] for store in report["stores"]] == ["unreachable"] * 3
    assert any("http://127.0.0.1:9" in problem and "chroma run" in problem for problem in report["problems"])

import json
import re
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from memory.errors import StoreDamaged, StoreTooNew
from memory.ledger import Ledger, RunBusy, new_run_id
from memory.schema import MIGRATIONS
from tests.ledgers import open_ledger

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "ledger.db"


@pytest.fixture
def ledger(place: str) -> Iterator[Ledger]:
    with open_ledger(place) as ledger:
        yield ledger


def test_a_run_from_its_request_to_its_result(ledger: Ledger, place: str) -> None:
    request = {"prompt": "ein roter Würfel \u2028", "budget": {"pictures": 4}}
    run = ledger.create("one", request)
    assert (run.status, run.request, run.result, run.pictures) == ("running", request, None, 0)
    with open_ledger(place) as other:
        assert other.get("one") == run
    ended = ledger.finish("one", "satisfied", {"final_prompt": "x"}, pictures=3)
    assert (ended.status, ended.result, ended.pictures) == ("satisfied", {"final_prompt": "x"}, 3)
    assert ended.created == run.created < ended.updated
    assert ledger.finish("one", "satisfied", {"final_prompt": "x"}).pictures == 3
    assert ledger.reopen("one").status == "running"


def test_unknown_and_taken_and_bad_ids(ledger: Ledger) -> None:
    ledger.create("one", {})
    with pytest.raises(LookupError, match=r"no run 'two'.*maulstick runs list"):
        ledger.get("two")
    with pytest.raises(LookupError, match="no run 'two'"):
        ledger.finish("two", "failed")
    with pytest.raises(ValueError, match="run one exists already: resume it"):
        ledger.create("one", {"other": 1})
    assert ledger.get("one").request == {}
    for bad in ("", "../x", "a/b", ".hidden", "a\0", "a\n", "x" * 129):
        with pytest.raises(ValueError, match="is no run id"):
            ledger.create(bad, {})
        with pytest.raises(ValueError, match="is no run id"), ledger.lease(bad):
            pass


def test_runs_are_listed_newest_first(ledger: Ledger) -> None:
    for name in "abcd":
        ledger.create(name, {})
    ledger.finish("b", "failed")
    assert [run.run_id for run in ledger.list()] == ["d", "c", "b", "a"]
    assert [run.run_id for run in ledger.list(limit=2)] == ["d", "c"]
    assert len(ledger.list(limit=-1)) == 4
    assert [run.run_id for run in ledger.list(status="failed")] == ["b"]
    assert ledger.list(status="'; DROP TABLE runs") == []


def test_run_ids_are_short_sort_by_time_and_differ() -> None:
    ids = [new_run_id() for _ in range(50)]
    assert all(re.fullmatch(r"\d{8}-\d{6}-[a-z0-9]{4}", run_id) for run_id in ids)
    assert len(set(ids)) == 50
    time.sleep(1.1)
    assert new_run_id() > max(ids)


def test_a_transaction_is_all_or_nothing(ledger: Ledger) -> None:
    with pytest.raises(ZeroDivisionError), ledger.transaction() as connection:
        connection.execute("UPDATE runs SET status = 'x'")
        connection.execute("INSERT INTO leases VALUES ('a', 1, 'h', 't')")
        _ = 1 / 0
    assert ledger.rows("SELECT * FROM leases") == []
    ledger.create("one", {})


def test_one_writer_within_a_process(ledger: Ledger, place: str) -> None:
    with ledger.lease("one"):
        with pytest.raises(RunBusy), ledger.lease("one"):
            pass
        with open_ledger(place) as other, pytest.raises(RunBusy), other.lease("one"):
            pass
        with ledger.lease("two"):
            pass
    with ledger.lease("one"):
        pass
    if ledger.path is not None:
        assert list(ledger.path.with_name("ledger.db.locks").iterdir()) == []
    assert ledger.rows("SELECT * FROM leases") == []


def test_the_holder_is_named_and_its_death_frees_the_run(ledger: Ledger, place: str, start: Start) -> None:
    ledger.create("one", {})
    ledger.create("two", {})
    ledger.create("ended", {})
    ledger.finish("ended", "budget")
    holder = start("hold", place, "one")
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    message = f"run one is being worked on by process {holder.pid} on "
    with pytest.raises(RunBusy, match=message) as busy, ledger.lease("one"):
        pass
    assert busy.value.pid == holder.pid
    assert [run.run_id for run in ledger.interrupted()] == ["two"]

    holder.send_signal(signal.SIGKILL)
    holder.wait(90)
    assert [run.run_id for run in ledger.interrupted()] == ["one", "two"]
    with ledger.lease("one"):
        assert [run.run_id for run in ledger.interrupted()] == ["two"]


def test_processes_take_turns(place: str, start: Start, tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    counter.write_text("0")
    workers = [
        start("count_up", place, "one", counter, 20) for _ in range(3)
    ]  # all create the database at once
    for worker in workers:
        assert worker.wait(90) == 0, worker.communicate()
    assert counter.read_text() == "60"


def test_a_damaged_database_is_one_clear_line(path: Path, damaged: Callable[[Path], None]) -> None:
    with Ledger(path) as ledger:
        for number in range(40):
            ledger.create(f"run-{number}", {"prompt": "x" * 500})
    damaged(path)
    before = path.read_bytes()
    with pytest.raises(StoreDamaged) as error:
        Ledger(path)
    message = str(error.value)
    assert "\n" not in message
    assert str(path) in message and ".recover" in message and "no picture" in message
    assert path.read_bytes() == before


def test_damage_that_shows_later_is_told_too(path: Path) -> None:
    with Ledger(path) as ledger:
        ledger.create("one", {"prompt": "x"})
        ledger.rows("UPDATE runs SET request = '{' RETURNING 1")
        with pytest.raises(StoreDamaged, match="run one holds no JSON"):
            ledger.get("one")


def test_a_database_that_is_gone_while_its_log_stays_is_not_begun_anew(path: Path) -> None:
    Ledger(path).close()
    path.rename(path.with_name("moved.db"))
    path.with_name("ledger.db-wal").write_bytes(b"x")
    with pytest.raises(StoreDamaged, match="gone but its log"):
        Ledger(path)


def test_an_older_database_is_brought_up_to_date(path: Path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        MIGRATIONS[0](connection)
        connection.execute("PRAGMA user_version = 1")
        connection.execute(
            "INSERT INTO runs VALUES ('old', '2026-01-01', '2026-01-02', 'budget', ?, NULL, 2)",
            (json.dumps({"prompt": "a"}),),
        )
    with Ledger(path) as ledger:
        assert ledger.get("old").request == {"prompt": "a"}
        assert ledger.rows("SELECT count(*) FROM episodes")[0][0] == 0
        assert ledger.rows("PRAGMA user_version")[0][0] == len(MIGRATIONS)


def test_a_newer_database_is_left_alone(path: Path) -> None:
    with Ledger(path) as ledger:
        ledger.rows("PRAGMA user_version = 99")
    with pytest.raises(StoreTooNew, match=r"schema 99 is newer.*Upgrade Maulstick"):
        Ledger(path)

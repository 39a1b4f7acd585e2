"""What a ledger on a server meets that one in a file does not. What both promise is in test_ledger.py and the
other tests with the fixture `place`.
"""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from memory.errors import StoreError, StoreTooNew, StoreUnreachable
from memory.ledger import Ledger
from memory.postgres import PostgresDatabase, find_tables
from memory.postgres_url import describe_url
from memory.schema import MIGRATIONS
from tests.ledgers import open_ledger

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("postgresql://u:secret@db.example:5433/studio", "postgresql://db.example:5433/studio"),
        ("postgresql://u:se/cr@et@h/studio", "postgresql://h/studio"),
        ("postgresql://u:se%2Fcret@h/a%20b?password=secret&sslmode=require", "postgresql://h/a b"),
        ("postgresql:///studio?host=/run/postgresql&user=u", "postgresql:///run/postgresql/studio"),
        ("postgresql://u@a:1,b:2/studio", "postgresql://a:1,b:2/studio"),
        ("postgresql://[::1]:5432/studio", "postgresql://[::1]:5432/studio"),
        ("postgresql://u:secret", "postgresql://u/"),
        ("postgresql://u:sec?ret@h/studio", "postgresql://u/"),
        ("postgresql:///studio", "postgresql://localhost/studio"),
    ],
)
def test_messages_name_host_and_database_and_nothing_else(url: str, told: str) -> None:
    assert describe_url(url) == told


def test_nobody_without_a_server_imports_its_driver(tmp_path: Path) -> None:
    script = f"""
import sys
from pathlib import Path
from memory.ledger import Ledger
from graphs.run import Home
Home(Path({str(tmp_path)!r}), Ledger(Path({str(tmp_path / "ledger.db")!r}))).open_checkpointer()
print(sorted(name for name in sys.modules if "psycopg" in name or "postgres.aio" in name))
"""
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", script], cwd=root, text=True, capture_output=True)
    assert done.stdout == "[]\n", done.stderr


@pytest.mark.postgres
def test_many_make_the_tables_at_once(postgres_server: Any, start: Start, tmp_path: Path) -> None:
    url = postgres_server.new_database()
    counter = tmp_path / "counter"
    counter.write_text("0")
    workers = [start("count_up", url, "one", counter, 1) for _ in range(4)]
    for worker in workers:
        assert worker.wait(90) == 0, worker.communicate()
    with open_ledger(url) as ledger:
        versions = ledger.rows("SELECT version FROM maulstick_schema")
        assert [row[0] for row in versions] == [len(MIGRATIONS)]
        assert len(ledger.rows("SELECT id FROM identity")) == 1


@pytest.mark.postgres
def test_columns_hold_what_those_of_sqlite_hold(postgres_server: Any) -> None:
    with open_ledger(postgres_server.new_database()) as ledger:
        types = {
            (row[0], row[1]): row[2]
            for row in ledger.rows(
                "SELECT table_name, column_name, data_type FROM information_schema.columns"
            )
        }
    assert types["episodes", "rating_change"] == types["seed_trials", "rating"] == "double precision"
    assert types["seed_trials", "seed"] == types["episodes", "sequence"] == "bigint"
    assert ("old_seed_trials", "id") not in types


@pytest.mark.postgres
def test_sequence_numbers_are_seen_in_their_order(postgres_server: Any) -> None:
    """Who folds in "all after the last" must not meet a smaller number later: writers take turns."""
    url = postgres_server.new_database()
    with open_ledger(url) as one, open_ledger(url) as two:
        two.rows("SELECT set_config('lock_timeout', '300ms', false)")
        with one.transaction() as first:
            first.execute("INSERT INTO identity VALUES ('x')")
            with pytest.raises(StoreUnreachable, match="lock timeout"), two.transaction():
                pass
        with two.transaction():
            pass


@pytest.mark.postgres
def test_a_lost_connection_is_told_once_and_made_again(postgres_server: Any) -> None:
    with open_ledger(postgres_server.new_database()) as ledger:
        ledger.create("one", {})
        postgres_server.cut_connections()
        with pytest.raises(StoreUnreachable, match="no answer") as lost:
            ledger.get("one")
        assert "\n" not in str(lost.value) and "wo:rd" not in str(lost.value)
        assert ledger.get("one").run_id == "one"
        with pytest.raises(StoreUnreachable), ledger.transaction() as transaction:
            transaction.execute("UPDATE runs SET status = 'x'")
            postgres_server.cut_connections()
            transaction.execute("UPDATE runs SET status = 'y'")
        assert ledger.get("one").status == "running"  # all or nothing


@pytest.mark.postgres
def test_a_server_that_is_restarted_frees_the_leases(postgres_server: Any) -> None:
    with open_ledger(postgres_server.new_database()) as ledger:
        ledger.create("one", {})
        with pytest.raises(StoreUnreachable), ledger.lease("one"):
            postgres_server.stop()
            try:
                with pytest.raises(StoreUnreachable, match=r"127\.0\.0\.1:\d+/test_\w+: no answer"):
                    ledger.list()
            finally:
                postgres_server.start()
            ledger.rows("SELECT 1")
            assert [run.run_id for run in ledger.interrupted()] == ["one"]
            postgres_server.cut_connections()
        with ledger.lease("one"):
            assert ledger.interrupted() == []


@pytest.mark.postgres
def test_a_lock_that_is_lost_while_it_is_held_is_told(
    postgres_server: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with open_ledger(postgres_server.new_database()) as ledger:
        with ledger.lease("one"):
            postgres_server.cut_connections()
            with pytest.raises(StoreUnreachable):
                ledger.list()
        assert "the lock on one was lost while it was held" in caplog.text
        caplog.clear()
        with ledger.lease("one"):
            pass
        assert caplog.text == ""


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("/postgres", "/missing"), ["/missing", "does not exist"]),
        (("pa%2Fss", "wrong"), ["password authentication failed"]),
        (("127.0.0.1", "localhost.invalid"), ["localhost.invalid"]),
        (("%40", "%zz"), ["cannot be read", "%XX"]),
    ],
)
def test_a_server_that_lets_nobody_in_is_one_line(
    postgres_server: Any, change: tuple[str, str], words: list[str]
) -> None:
    for open_it in (PostgresDatabase, find_tables):
        with pytest.raises(StoreUnreachable) as refused:
            open_it(postgres_server.url().replace(*change))
        message = str(refused.value)
        assert "\n" not in message and "MAULSTICK_DATABASE" in message
        assert all(word in message for word in words)
        assert "wo" not in message.replace("password", "").replace("would", "")


@pytest.mark.postgres
def test_another_programs_tables_and_a_newer_schema_are_left_alone(postgres_server: Any) -> None:
    import psycopg

    url = postgres_server.new_database()
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE runs (legs INTEGER)")
    with pytest.raises(StoreError, match="a database of its own"):
        open_ledger(url)
    assert find_tables(url) == {"runs"}
    newer = postgres_server.new_database()
    with open_ledger(newer) as ledger:
        ledger.rows("UPDATE maulstick_schema SET version = 99 RETURNING 1")
    for open_it in (open_ledger, find_tables):
        with pytest.raises(StoreTooNew, match=r"schema 99 is newer.*Upgrade Maulstick"):
            open_it(newer)


@pytest.mark.postgres
def test_a_user_who_may_make_no_tables_is_told_what_to_ask_for(postgres_server: Any) -> None:
    url = postgres_server.new_database()
    postgres_server.say("DROP ROLE IF EXISTS visitor")
    postgres_server.say("CREATE ROLE visitor LOGIN PASSWORD 'v'")
    visitor = f"postgresql://visitor:v@{url.rpartition('@')[2]}"
    with pytest.raises(StoreError, match=r"permission denied.*owner of the database"):
        Ledger(PostgresDatabase(visitor))

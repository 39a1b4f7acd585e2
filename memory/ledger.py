"""The ledger: one row per run, written before anything runs, and one writer per run. Knows no graph and no
node.

In SQLite, or on a Postgres server (`memory/tables.py`). The episodes (`memory/episodes.py`) are rows of the
same database: the one truth.
"""

import json
import os
import re
import secrets
import socket
from collections.abc import Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, JsonValue, TypeAdapter

from memory.sqlite import SqliteDatabase
from memory.tables import Database, Row, Transaction, Value

RUNNING = "running"
"""The status of a run that has not ended; all other statuses are the caller's."""

_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_ALL = 2**63 - 1
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
_JSON: TypeAdapter[dict[str, JsonValue]] = TypeAdapter(dict[str, JsonValue])


class RunBusy(RuntimeError):
    """Another writer holds the run. `pid` is its process, None if it has not signed yet."""

    def __init__(self, run_id: str, pid: int | None, host: str | None) -> None:
        holder = f"process {pid} on {host}" if pid is not None else "another process"
        super().__init__(
            f"run {run_id} is being worked on by {holder}: wait for it, or stop it and try again"
        )
        self.run_id = run_id
        self.pid = pid
        self.host = host


class Run(BaseModel):
    """A row of the ledger. `run_id` is also the checkpointer's thread id; times are ISO 8601 in UTC."""

    model_config = ConfigDict(frozen=True)

    run_id: str
    created: str
    updated: str
    status: str
    request: dict[str, JsonValue]
    result: dict[str, JsonValue] | None
    pictures: int


def new_run_id() -> str:
    """A short id that sorts by time, for example "20261123-061502-k3f9" (UTC, and 1.7 million ids per
    second).
    """
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-" + "".join(secrets.choice(_LETTERS) for _ in range(4))


class Ledger:
    """The runs of a data folder, or of a database that several machines share. One object serves all threads
    of a process; close it when done.

    Raises:
        StoreDamaged: the database cannot be read.
        StoreTooNew: a later version wrote it.
    """

    def __init__(self, database: Path | Database) -> None:
        """On an open database, or on the SQLite file at a path, created if it is not there."""
        self._database = SqliteDatabase(Path(database)) if isinstance(database, Path | str) else database

    @property
    def path(self) -> Path | None:
        """The file; None on a server."""
        return self._database.path

    @property
    def url(self) -> str | None:
        """The server's address, with its password; None for a file."""
        return self._database.url

    @property
    def id(self) -> str:
        """A name of this ledger's own, by whatever address it is reached."""
        return self.rows("SELECT id FROM identity")[0][0]

    def create(self, run_id: str, request: Mapping[str, JsonValue]) -> Run:
        """Write the row of a new run, durably, with the status "running".

        Take its `lease` first: a row without a holder looks interrupted to `interrupted`.

        Raises:
            ValueError: the id is taken, or is no name for a file.
        """
        _check_run_id(run_id)
        now = _now()
        sql = """INSERT INTO runs (run_id, created, updated, status, request) VALUES (?, ?, ?, ?, ?)
            ON CONFLICT DO NOTHING"""
        with self.transaction() as connection:
            written = connection.execute(sql, (run_id, now, now, RUNNING, _dump(request))).rowcount
        if not written:
            raise ValueError(f"run {run_id} exists already: resume it, or take another id")
        return self.get(run_id)

    def finish(
        self,
        run_id: str,
        status: str,
        result: Mapping[str, JsonValue] | None = None,
        *,
        pictures: int | None = None,
    ) -> Run:
        """Write how a run ended. `pictures`, if given, is the number painted in all.

        Raises:
            LookupError: there is no such run.
        """
        return self._update(
            run_id,
            "status = ?, result = ?, pictures = coalesce(?, pictures)",
            (status, None if result is None else _dump(result), pictures),
        )

    def reopen(self, run_id: str) -> Run:
        """Set an ended run back to "running", to go on with it. Its last result stays until the next
        `finish`.

        Raises:
            LookupError: there is no such run.
        """
        return self._update(run_id, "status = ?", (RUNNING,))

    def get(self, run_id: str) -> Run:
        """The row of a run.

        Raises:
            LookupError: there is no such run.
        """
        rows = self.rows("SELECT * FROM runs WHERE run_id = ?", (run_id,))
        if not rows:
            raise LookupError(
                f"no run {run_id!r} in {self._database.name}: `maulstick runs list` shows those there are"
            )
        return self._read(rows[0])

    def list(self, limit: int = 20, status: str | None = None) -> Sequence[Run]:
        """The newest runs, newest first; of one status only if given. A negative limit is none."""
        condition = "" if status is None else "WHERE status = ?"
        rows = self.rows(
            f"SELECT * FROM runs {condition} ORDER BY created DESC, run_id DESC LIMIT ?",
            (*([] if status is None else [status]), limit if limit >= 0 else _ALL),
        )
        return [self._read(row) for row in rows]

    def interrupted(self) -> Sequence[Run]:
        """The runs that are "running" though nobody holds them: their process died. Oldest first."""
        rows = self.rows("SELECT * FROM runs WHERE status = ? ORDER BY created, run_id", (RUNNING,))
        held = self._database.held([row["run_id"] for row in rows])
        return [self._read(row) for row in rows if row["run_id"] not in held]

    @contextmanager
    def lease(self, run_id: str) -> Generator[None]:
        """Be the only writer of a run while the block lasts; it ends with the process, however that ends.

        Raises:
            RunBusy: another process, thread or task holds the run.
        """
        _check_run_id(run_id)
        with self._database.try_lock(run_id) as ours:
            if not ours:
                holders = self.rows("SELECT pid, host FROM leases WHERE run_id = ?", (run_id,))
                pid, host = (holders[0]["pid"], holders[0]["host"]) if holders else (None, None)
                raise RunBusy(run_id, pid, host)
            try:
                self._sign(run_id)
                yield
            finally:
                with self.transaction() as connection:
                    connection.execute("DELETE FROM leases WHERE run_id = ?", (run_id,))

    def rows(self, sql: str, parameters: Sequence[Value] = ()) -> Sequence[Row]:
        """All rows of a query.

        Raises:
            StoreError: the database cannot be read.
        """
        return self._database.rows(sql, parameters)

    def rows_of(self, query: str, texts: Sequence[str]) -> Sequence[Row]:
        """All rows of a query in which `{texts}` stands for a subquery of these texts, however many."""
        return self.rows(query.format(texts=self._database.elements), (json.dumps(list(texts)),))

    def transaction(self) -> AbstractContextManager[Transaction]:
        """Write several rows or none. Other processes wait up to 30 s for their turn.

        Raises:
            StoreError: the database cannot be written.
        """
        return self._database.transaction()

    def close(self) -> None:
        """Close the database. Leases that are still held stay held."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _sign(self, run_id: str) -> None:
        sql = """INSERT INTO leases (run_id, pid, host, since) VALUES (?, ?, ?, ?) ON CONFLICT (run_id)
            DO UPDATE SET pid = excluded.pid, host = excluded.host, since = excluded.since"""
        with self.transaction() as connection:
            connection.execute(sql, (run_id, os.getpid(), socket.gethostname(), _now()))

    def _update(self, run_id: str, assignments: str, values: Sequence[str | int | None]) -> Run:
        with self.transaction() as connection:
            sql = f"UPDATE runs SET {assignments}, updated = ? WHERE run_id = ?"
            connection.execute(sql, (*values, _now(), run_id))
        return self.get(run_id)

    def _read(self, row: Row) -> Run:
        values = {name: row[name] for name in row.keys()}  # noqa: SIM118
        try:
            values["request"] = _JSON.validate_json(values["request"])
            values["result"] = None if values["result"] is None else _JSON.validate_json(values["result"])
        except ValueError as error:
            raise self._database.damaged(f"the row of run {row['run_id']} holds no JSON") from error
        return Run(**values)


def _check_run_id(run_id: str) -> None:
    if not _RUN_ID.fullmatch(run_id):
        raise ValueError(
            f"{run_id!r} is no run id: use letters, digits, '.', '_' and '-', as new_run_id() does"
        )


def _dump(value: Mapping[str, JsonValue]) -> str:
    return json.dumps(dict(value), ensure_ascii=False, allow_nan=False)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")

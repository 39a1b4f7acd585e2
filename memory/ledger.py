"""The ledger: one row per run, written before anything runs, and one writer per run. Knows no graph and no
node.

SQLite in WAL mode. The episodes (`memory/episodes.py`) are rows of the same database: the one truth.
"""

import json
import os
import re
import secrets
import socket
import sqlite3
import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, JsonValue, TypeAdapter

from memory.database import damage_reported, prepare_database, way_out
from memory.errors import StoreDamaged
from memory.schema import migrate

RUNNING = "running"
"""The status of a run that has not ended; all other statuses are the caller's."""

_LOSS = "the list of runs and the lessons learnt, but no picture"
_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
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
    """The runs of a data folder. One object serves all threads of a process; close it when done.

    Raises:
        StoreDamaged: the database cannot be read.
        StoreTooNew: a later version wrote it.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._locks = self.path.with_name(f"{self.path.name}.locks")
        self._guard = threading.RLock()
        prepare_database(self.path, _LOSS)
        self._locks.mkdir(exist_ok=True)
        self._connection = sqlite3.connect(
            self.path, timeout=30, isolation_level=None, check_same_thread=False
        )
        self._connection.row_factory = sqlite3.Row
        try:
            with damage_reported(self.path, _LOSS):
                migrate(self._connection, self.path)
        except BaseException:
            self._connection.close()
            raise

    def create(self, run_id: str, request: Mapping[str, JsonValue]) -> Run:
        """Write the row of a new run, durably, with the status "running".

        Take its `lease` first: a row without a holder looks interrupted to `interrupted`.

        Raises:
            ValueError: the id is taken, or is no name for a file.
        """
        _check_run_id(run_id)
        now = _now()
        try:
            with self.transaction() as connection:
                connection.execute(
                    "INSERT INTO runs (run_id, created, updated, status, request) VALUES (?, ?, ?, ?, ?)",
                    (run_id, now, now, RUNNING, _dump(request)),
                )
        except sqlite3.IntegrityError:
            raise ValueError(f"run {run_id} exists already: resume it, or take another id") from None
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
                f"no run {run_id!r} in {self.path}: `maulstick runs list` shows those there are"
            )
        return self._read(rows[0])

    def list(self, limit: int = 20, status: str | None = None) -> Sequence[Run]:
        """The newest runs, newest first; of one status only if given."""
        rows = self.rows(
            "SELECT * FROM runs WHERE ?1 IS NULL OR status = ?1 ORDER BY created DESC, run_id DESC LIMIT ?2",
            (status, limit),
        )
        return [self._read(row) for row in rows]

    def interrupted(self) -> Sequence[Run]:
        """The runs that are "running" though nobody holds them: their process died. Oldest first."""
        rows = self.rows("SELECT * FROM runs WHERE status = ? ORDER BY created, run_id", (RUNNING,))
        return [self._read(row) for row in rows if not self._is_held(row["run_id"])]

    @contextmanager
    def lease(self, run_id: str) -> Generator[None]:
        """Be the only writer of a run while the block lasts.

        A lock of the operating system on a file beside the database: it ends with its process, however that
        ends, and holds between containers that share the folder, where process ids say nothing.

        Raises:
            RunBusy: another process, thread or task holds the run.
        """
        _check_run_id(run_id)
        lock = self._lock(run_id)
        try:
            # Not zero: `interrupted` in another process may be probing this lock, for microseconds.
            lock.acquire(timeout=0.1, poll_interval=0.01)
        except Timeout:
            holders = self.rows("SELECT pid, host FROM leases WHERE run_id = ?", (run_id,))
            pid, host = (holders[0]["pid"], holders[0]["host"]) if holders else (None, None)
            raise RunBusy(run_id, pid, host) from None
        try:
            with self.transaction() as connection:
                connection.execute(
                    "INSERT OR REPLACE INTO leases (run_id, pid, host, since) VALUES (?, ?, ?, ?)",
                    (run_id, os.getpid(), socket.gethostname(), _now()),
                )
            yield
        finally:
            try:
                with self.transaction() as connection:
                    connection.execute("DELETE FROM leases WHERE run_id = ?", (run_id,))
            finally:
                _release(lock)

    def rows(self, sql: str, parameters: Sequence[str | int | float | None] = ()) -> Sequence[sqlite3.Row]:
        """All rows of a query.

        Raises:
            StoreDamaged: the database cannot be read.
        """
        with self._guard, damage_reported(self.path, _LOSS):
            return self._connection.execute(sql, parameters).fetchall()

    @contextmanager
    def transaction(self) -> Generator[sqlite3.Connection]:
        """Write several rows or none. Other processes wait up to 30 s for their turn.

        Raises:
            StoreDamaged: the database cannot be written for damage.
        """
        with self._guard, damage_reported(self.path, _LOSS):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Close the database. Leases that are still held stay held."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _update(self, run_id: str, assignments: str, values: Sequence[str | int | None]) -> Run:
        with self.transaction() as connection:
            sql = f"UPDATE runs SET {assignments}, updated = ? WHERE run_id = ?"
            connection.execute(sql, (*values, _now(), run_id))
        return self.get(run_id)

    def _read(self, row: sqlite3.Row) -> Run:
        values = dict(row)
        try:
            values["request"] = _JSON.validate_json(values["request"])
            values["result"] = None if values["result"] is None else _JSON.validate_json(values["result"])
        except ValueError as error:
            fault = f"the row of run {row['run_id']} holds no JSON"
            raise StoreDamaged(self.path, fault, way_out(self.path, _LOSS)) from error
        return Run(**values)

    def _lock(self, run_id: str) -> FileLock:
        return FileLock(self._locks / f"{run_id}.lock", thread_local=False)

    def _is_held(self, run_id: str) -> bool:
        lock = self._lock(run_id)
        if not Path(lock.lock_file).exists():
            return False
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return True
        _release(lock)
        return False


def _release(lock: FileLock) -> None:
    # Unlinked while still held: who opened the old file meanwhile finds it unlinked after locking it and
    # tries again.
    with suppress(PermissionError):  # Windows keeps open files; an empty lock file stays behind there
        Path(lock.lock_file).unlink(missing_ok=True)
    lock.release()


def _check_run_id(run_id: str) -> None:
    if not _RUN_ID.fullmatch(run_id):
        raise ValueError(
            f"{run_id!r} is no run id: use letters, digits, '.', '_' and '-', as new_run_id() does"
        )


def _dump(value: Mapping[str, JsonValue]) -> str:
    return json.dumps(dict(value), ensure_ascii=False, allow_nan=False)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")

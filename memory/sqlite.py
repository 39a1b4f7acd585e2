"""The ledger's database as a SQLite file in WAL mode, with locks as files beside it. Knows no row.

Connections are made by `memory/database.py`, which tells damage.
"""

import sqlite3
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from memory.database import damage_reported, prepare_database, way_out
from memory.errors import StoreDamaged
from memory.schema import find_missing
from memory.tables import Value

_LOSS = "the list of runs and the lessons learnt, but no picture"


class SqliteDatabase:
    """The file at `path`, created if it is not there. One object serves all threads of a process.

    Raises:
        StoreDamaged: the database cannot be read.
        StoreTooNew: a later version wrote it.
    """

    url: str | None = None
    elements = "SELECT value FROM json_each(?)"

    def __init__(self, path: Path) -> None:
        self.path: Path | None = path
        self._path = path
        self.name = str(path)
        self._locks = path.with_name(f"{path.name}.locks")
        self._guard = threading.RLock()
        prepare_database(path, _LOSS)
        self._locks.mkdir(exist_ok=True)
        self._connection = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
        self._connection.row_factory = sqlite3.Row
        try:
            self._migrate()
        except BaseException:
            self._connection.close()
            raise

    def rows(self, sql: str, parameters: Sequence[Value] = ()) -> Sequence[sqlite3.Row]:
        """All rows of a query.

        Raises:
            StoreDamaged: the database cannot be read.
        """
        with self._guard, damage_reported(self._path, _LOSS):
            return self._connection.execute(sql, parameters).fetchall()

    @contextmanager
    def transaction(self) -> Generator[sqlite3.Connection]:
        """Write several rows or none. Other processes wait up to 30 s for their turn.

        Raises:
            StoreDamaged: the database cannot be written for damage.
        """
        with self._guard, damage_reported(self._path, _LOSS):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def try_lock(self, name: str) -> Generator[bool]:
        """A lock of the operating system on a file beside the database: it ends with its process, however
        that ends, and holds between containers that share the folder, where process ids say nothing.
        """
        lock = self._lock(name)
        try:
            # Not zero: `held` in another process may be probing this lock, for microseconds.
            lock.acquire(timeout=0.1, poll_interval=0.01)
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            _release(lock)

    def held(self, names: Sequence[str]) -> set[str]:
        """Which of the names somebody holds now."""
        return {name for name in names if self._is_held(name)}

    def damaged(self, fault: str) -> StoreDamaged:
        """The error for rows that are not what was written."""
        return StoreDamaged(self._path, fault, way_out(self._path, _LOSS))

    def close(self) -> None:
        """Close the file. What is held stays held."""
        self._connection.close()

    def _migrate(self) -> None:
        """Apply what is missing, all of it or nothing. Its number is the database's `user_version`."""
        with self.transaction() as connection:
            version: int = connection.execute("PRAGMA user_version").fetchone()[0]
            missing = find_missing(version, self._path)
            for migration in missing:
                migration(connection)
            connection.execute(f"PRAGMA user_version = {version + len(missing)}")

    def _lock(self, name: str) -> FileLock:
        return FileLock(self._locks / f"{name}.lock", thread_local=False)

    def _is_held(self, name: str) -> bool:
        lock = self._lock(name)
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

"""SQLite files: made whole or not at all, and checked before they are used.

Knows no table. A database comes into being under a temporary name and is renamed, so that an empty file under
its real name can only be damage; SQLite alone would take it for a new database and the loss would pass in
silence.
"""

import os
import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path

from filelock import FileLock

from memory.errors import StoreDamaged

_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_IOERR_SHORT_READ}


def prepare_database(path: Path, loss: str) -> None:
    """Create an empty database in WAL mode at `path`, or check that the one there is whole.

    Reads the whole file (`PRAGMA quick_check`: about 1 ms per MB). `loss` ends the sentence "starting afresh
    loses ...".

    Raises:
        StoreDamaged: the file is empty, cut, overwritten, or gone while its write-ahead log is still there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.name}.lock")):
        if not path.exists():
            _create(path, loss)
    if path.stat().st_size == 0:
        raise StoreDamaged(path, "the database is an empty file", way_out(path, loss))
    with damage_reported(path, loss), closing(sqlite3.connect(path, timeout=30)) as connection:
        verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if verdict != "ok":
        raise StoreDamaged(
            path, f"the database is damaged ({verdict})".replace("\n", " "), way_out(path, loss)
        )


@contextmanager
def damage_reported(path: Path, loss: str) -> Generator[None]:
    """Turn SQLite's errors about damaged bytes into `StoreDamaged`; let its other errors pass."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
        if code in _DAMAGE or code & 0xFF in _DAMAGE:
            raise StoreDamaged(path, f"the database is damaged ({error})", way_out(path, loss)) from error
        raise


def way_out(path: Path, loss: str) -> str:
    """What to do about a damaged database, in commands that can be pasted."""
    return (
        f"Put a copy from a backup there; or save what can be read with `sqlite3 '{path}' .recover`; or move "
        f"'{path}', '{path}-wal' and '{path}-shm' away and start afresh, which loses {loss}"
    )


def _create(path: Path, loss: str) -> None:
    if (log := path.with_name(f"{path.name}-wal")).exists():
        raise StoreDamaged(path, f"the database is gone but its log {log.name} is there", way_out(path, loss))
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    with closing(sqlite3.connect(new)) as connection:
        # Must precede the first table: lets deleted checkpoints give their pages back without a full VACUUM.
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL")
    os.replace(new, path)

"""What models said, kept by key: a run that is resumed, replayed or repeated asks nothing twice.

A cache: losing it costs calls, no knowledge. Knows no role and no endpoint.
"""

import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path

from memory.database import damage_reported, prepare_database

_LOSS = "nothing but the time and the price of asking again"


class KeptReplies:
    """A SQLite file of texts by key. Any number of threads and processes may use it at the same time."""

    def __init__(self, path: Path) -> None:
        """Open the file, or make it.

        Raises:
            StoreDamaged: the file cannot be read.
        """
        self._path = path
        prepare_database(path, _LOSS)
        with self._open() as connection:
            connection.execute(
                "CREATE TABLE IF NOT EXISTS replies ("
                "key TEXT PRIMARY KEY, text TEXT NOT NULL, kept_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP)"
            )

    def find(self, key: str) -> str | None:
        """What was kept under `key`."""
        with self._open() as connection:
            row = connection.execute("SELECT text FROM replies WHERE key = ?", (key,)).fetchone()
        return None if row is None else row[0]

    def keep(self, key: str, text: str) -> None:
        """Keep `text` under `key`, in the place of what was kept there."""
        with self._open() as connection:
            connection.execute("INSERT OR REPLACE INTO replies (key, text) VALUES (?, ?)", (key, text))

    @contextmanager
    def _open(self) -> Generator[sqlite3.Connection]:
        with (
            damage_reported(self._path, _LOSS),
            closing(sqlite3.connect(self._path, timeout=30)) as connection,
            connection,  # commits, or rolls back
        ):
            yield connection

"""The tables of the ledger database, as numbered migrations. Knows no row.

A migration is never edited after a release; a change is a new function at the end of `MIGRATIONS`. They are
written in SQLite's words; `memory/postgres.py` spells their types anew. Each database keeps the number of
those applied.
"""

import secrets
from collections.abc import Callable, Sequence
from pathlib import Path

from memory.errors import StoreTooNew
from memory.tables import Transaction

Migration = Callable[[Transaction], None]


def find_missing(version: int, place: Path | str) -> Sequence[Migration]:
    """The migrations that a database at `place` that has had `version` of them still needs.

    Raises:
        StoreTooNew: the database has more migrations than this version knows.
    """
    if version > len(MIGRATIONS):
        fault = f"schema {version} is newer than {len(MIGRATIONS)}, the newest that this version knows"
        raise StoreTooNew(place, fault, "Upgrade Maulstick, or point it at another data folder or database")
    return MIGRATIONS[version:]


def _create_runs_1(connection: Transaction) -> None:
    connection.execute(
        """CREATE TABLE runs (
            run_id TEXT PRIMARY KEY,
            created TEXT NOT NULL,
            updated TEXT NOT NULL,
            status TEXT NOT NULL,
            request TEXT NOT NULL,
            result TEXT,
            pictures INTEGER NOT NULL DEFAULT 0
        )"""
    )
    connection.execute("CREATE INDEX runs_by_status ON runs (status, created)")
    connection.execute(
        """CREATE TABLE leases (
            run_id TEXT PRIMARY KEY,
            pid INTEGER NOT NULL,
            host TEXT NOT NULL,
            since TEXT NOT NULL
        )"""
    )


def _create_episodes_2(connection: Transaction) -> None:
    # AUTOINCREMENT: a sequence number is never given twice, so "newer than the last one folded in" is exact.
    connection.execute(
        """CREATE TABLE episodes (
            sequence INTEGER PRIMARY KEY AUTOINCREMENT,
            id TEXT NOT NULL UNIQUE,
            kind TEXT NOT NULL,
            before TEXT NOT NULL,
            after TEXT NOT NULL,
            pattern TEXT NOT NULL,
            rating_change REAL NOT NULL,
            backend TEXT NOT NULL,
            run_id TEXT NOT NULL,
            created TEXT NOT NULL
        )"""
    )
    connection.execute("CREATE INDEX episodes_by_case ON episodes (kind, pattern, backend)")


def _create_seed_trials_3(connection: Transaction) -> None:
    connection.execute(
        """CREATE TABLE seed_trials (
            id TEXT PRIMARY KEY,
            backend TEXT NOT NULL,
            things TEXT NOT NULL,
            seed INTEGER NOT NULL,
            gain REAL NOT NULL,
            run_id TEXT NOT NULL
        )"""
    )
    connection.execute("CREATE INDEX seed_trials_by_case ON seed_trials (backend, things, seed)")


def _exact_seed_trials_4(connection: Transaction) -> None:
    # Trials from before know their things and their gain over their run's mean, which was 3.9 on average;
    # what else was asked they do not know, so their other descriptions are nobody's.
    connection.execute("ALTER TABLE seed_trials RENAME TO old_seed_trials")
    connection.execute("DROP INDEX seed_trials_by_case")
    connection.execute(
        """CREATE TABLE seed_trials (
            sequence INTEGER PRIMARY KEY AUTOINCREMENT,
            id TEXT NOT NULL UNIQUE,
            backend TEXT NOT NULL,
            things TEXT NOT NULL,
            respects TEXT NOT NULL,
            request TEXT NOT NULL,
            seed INTEGER NOT NULL,
            rating REAL NOT NULL,
            run_id TEXT NOT NULL
        )"""
    )
    connection.execute(
        """INSERT INTO seed_trials (id, backend, things, respects, request, seed, rating, run_id)
            SELECT id, backend, things, '', '', seed, 3.9 + gain, run_id
            FROM old_seed_trials ORDER BY rowid"""
    )
    connection.execute("DROP TABLE old_seed_trials")
    connection.execute("CREATE INDEX seed_trials_by_things ON seed_trials (backend, things, sequence)")


def _create_identity_5(connection: Transaction) -> None:
    # Whose vectors a collection on a server holds: a ledger may be reached under several addresses, and
    # several ledgers may have one address in turn.
    connection.execute("CREATE TABLE identity (id TEXT NOT NULL)")
    connection.execute("INSERT INTO identity VALUES (?)", (secrets.token_hex(8),))


MIGRATIONS: tuple[Migration, ...] = (
    _create_runs_1,
    _create_episodes_2,
    _create_seed_trials_3,
    _exact_seed_trials_4,
    _create_identity_5,
)

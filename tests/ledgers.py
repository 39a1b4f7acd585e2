"""Ledgers for tests by one word: the path of a SQLite file, or a Postgres server's URL."""

from pathlib import Path

from memory.ledger import Ledger
from memory.postgres import PostgresDatabase


def open_ledger(place: str | Path) -> Ledger:
    if "://" in str(place):
        return Ledger(PostgresDatabase(str(place)))
    return Ledger(Path(place))

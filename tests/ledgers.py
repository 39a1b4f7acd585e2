"""Ledgers for tests by one word: the path of a SQLite file, or a Postgres server's URL."""

from pathlib import Path

from memory.ledger import Ledger
from memory.postgres import SCHEMES, PostgresDatabase


def open_ledger(place: str | Path) -> Ledger:
    if str(place).partition("://")[0] in SCHEMES:
        return Ledger(PostgresDatabase(str(place)))
    return Ledger(Path(place))

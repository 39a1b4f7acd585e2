"""What the ledger asks of a database: rows, transactions, and locks on names that end with their process.

Knows no table and no server. SQL is written once, as both SQLite (3.24) and Postgres read it: `?` for a
value, `ON CONFLICT` for rows that are there already. What they spell differently stands here by name.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from memory.errors import StoreError

Value = str | int | float | None


class Row(Protocol):
    """A row: values by place or by column, and the columns' names by `keys()`."""

    def __getitem__(self, key: Any, /) -> Any: ...
    def __iter__(self) -> Iterator[Any]: ...
    def keys(self) -> Iterable[str]: ...  # noqa: D102


class Cursor(Protocol):
    """What a statement did. `rowcount` is the number of rows changed, over all of an `executemany`."""

    @property
    def rowcount(self) -> int: ...  # noqa: D102


class Transaction(Protocol):
    """What may be said between the beginning and the end of a transaction."""

    def execute(self, sql: str, parameters: Sequence[Any] = ..., /) -> Cursor:
        """One statement."""
        ...

    def executemany(self, sql: str, parameters: Iterable[Sequence[Any]], /) -> Cursor:
        """One statement for each row of parameters."""
        ...


class Database(Protocol):
    """A database with the ledger's tables in it, brought up to date when it was opened."""

    name: str
    """What messages call it; without a password."""
    path: Path | None
    """Its file; None for a server's."""
    url: str | None
    """Its server's address, with the password if there is one; None for a file."""
    elements: str
    """A query whose rows are the texts of a JSON array, the one parameter."""

    def rows(self, sql: str, parameters: Sequence[Value] = ()) -> Sequence[Row]:
        """All rows of a query. Raises `StoreError`."""
        ...

    def transaction(self) -> AbstractContextManager[Transaction]:
        """Write several rows or none. Writers take turns. Raises `StoreError`."""
        ...

    def try_lock(self, name: str) -> AbstractContextManager[bool]:
        """Hold a name, a valid file's name, while the block lasts; False if somebody holds it already, in
        this process too. However the holder ends, its lock ends.
        """
        ...

    def held(self, names: Sequence[str]) -> set[str]:
        """Which of the names somebody holds now."""
        ...

    def damaged(self, fault: str) -> StoreError:
        """The error for rows that are not what was written."""
        ...

    def close(self) -> None:
        """Close it. What is held stays held."""
        ...

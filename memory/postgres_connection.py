"""Connections to a Postgres server, and what can go wrong with them in one line. Knows no table.

Imports psycopg (the extra [postgres]) when a server is first asked, and no sooner. Every message names the
server and the database and never the password: it is built from the URL's other parts.
"""

import hashlib
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from typing import Any

from memory.errors import StoreError, StoreUnreachable
from memory.postgres_url import FORM, check_url, describe_url

CONNECT_SECONDS = 10
PATIENCE = "30s"
"""How long a writer waits for its turn, as SQLite's do."""
_KEEPALIVE = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}
"""Seconds; a server that went away without a word is noticed after a minute."""


class PostgresRow(tuple[Any, ...]):
    """A row by place or by column, as SQLite's."""

    names: tuple[str, ...]

    def __getitem__(self, key: Any) -> Any:
        return super().__getitem__(self.names.index(key) if isinstance(key, str) else key)

    def keys(self) -> Iterator[str]:
        """The columns' names."""
        return iter(self.names)


def connect(url: str, options: str = "") -> Any:
    """A connection whose rows are `PostgresRow`s; `options` are settings for the server's side of it.

    Raises:
        StoreUnreachable: psycopg is not installed, or the URL cannot be read. psycopg's own errors pass.
    """
    psycopg = import_psycopg(url)
    address, arguments = connection_arguments(url)
    if options:
        given = psycopg.conninfo.conninfo_to_dict(url).get("options", "")
        arguments["options"] = f"{given} {options}".strip()
    connection = psycopg.connect(address, row_factory=_make_rows, **arguments)
    try:
        connection.execute(f"SET lock_timeout = '{PATIENCE}'")
    except BaseException:
        connection.close()
        raise
    return connection


def connection_arguments(url: str) -> tuple[str, dict[str, Any]]:
    """The URL and the settings with which every connection is made.

    Raises:
        StoreUnreachable: the URL cannot be read.
    """
    psycopg = import_psycopg(url)
    try:
        check_url(url)
        given = psycopg.conninfo.conninfo_to_dict(url)
    except (ValueError, psycopg.ProgrammingError):
        # Their words may hold a part of the password.
        raise StoreUnreachable(
            describe_url(url), "the URL cannot be read", f"Write MAULSTICK_DATABASE as {FORM}"
        ) from None
    own = {"connect_timeout": CONNECT_SECONDS, "application_name": "maulstick", **_KEEPALIVE}
    return url, {key: value for key, value in own.items() if key not in given} | {"autocommit": True}


def import_psycopg(url: str) -> Any:
    """The driver.

    Raises:
        StoreUnreachable: it is not installed.
    """
    try:
        return import_module("psycopg")
    except ImportError as error:
        fault = f"psycopg, which speaks to Postgres, cannot be imported ({error})"
        way_out = "Install it with `pip install maulstick[postgres]`, or unset MAULSTICK_DATABASE"
        raise StoreUnreachable(describe_url(url), fault, way_out) from error


def lock_key(name: str) -> int:
    """A name as the number, 64 bits with a sign, that Postgres locks by."""
    return int.from_bytes(hashlib.sha256(f"maulstick {name}".encode()).digest()[:8], "big", signed=True)


@contextmanager
def failures_told(url: str) -> Generator[None]:
    """Turn what the server, or the way to it, refuses into one line; let errors in the SQL pass.

    Raises:
        StoreUnreachable: the server does not answer, or the connection was lost.
        StoreError: the server does not let this user do it.
    """
    psycopg = import_psycopg(url)
    try:
        yield
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        way_out = "See that the server runs and lets you in, and try again; or correct MAULSTICK_DATABASE"
        raise StoreUnreachable(describe_url(url), f"no answer ({first_line(error)})", way_out) from error
    except psycopg.errors.InsufficientPrivilege as error:
        way_out = "Let the user of MAULSTICK_DATABASE do it; easiest, make it the owner of the database"
        raise StoreError(describe_url(url), first_line(error), way_out) from error


def first_line(error: BaseException) -> str:
    """What an error says first; libpq adds advice in more lines."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


@cache
def _row_class(names: tuple[str, ...]) -> Callable[[Sequence[Any]], PostgresRow]:
    return type("PostgresRow", (PostgresRow,), {"names": names})


def _make_rows(cursor: Any) -> Callable[[Sequence[Any]], PostgresRow]:
    return _row_class(tuple(column.name for column in cursor.description or ()))

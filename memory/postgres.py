"""The ledger's database on a Postgres server, with advisory locks for leases. Knows no row."""

import logging
import threading
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from memory.errors import StoreDamaged, StoreError, StoreUnreachable
from memory.postgres_connection import (
    PostgresRow,
    connect,
    failures_told,
    first_line,
    import_psycopg,
    lock_key,
)
from memory.postgres_url import describe_url
from memory.schema import find_missing
from memory.tables import Value

_LOG = logging.getLogger(__name__)
_HOLDER_DIED = "-c tcp_keepalives_idle=30 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=3"
"""And so does the server notice that a lock's holder lost its machine."""
_MAY_IDLE = "-c idle_session_timeout=0"
"""A lock's connection says nothing for as long as its run takes."""
_SPELLINGS = (
    ("INTEGER PRIMARY KEY AUTOINCREMENT", "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"),
    ("INTEGER", "BIGINT"),
    ("REAL", "DOUBLE PRECISION"),  # SQLite's REAL has 8 bytes, that of Postgres 4
    ("rowid", "ctid"),
)
"""Words of the migrations, as SQLite spells them and as Postgres does."""


class PostgresDatabase:
    """The database at `url`, its tables created if they are not there. One object serves all threads.

    A connection that was lost is told by the call that met it; the next call connects again.

    Raises:
        StoreUnreachable: the server does not answer, or psycopg is not installed.
        StoreTooNew: a later version wrote the tables.
        StoreError: the database has another program's tables, or the user may not make any.
    """

    path: Path | None = None
    elements = "SELECT jsonb_array_elements_text(CAST(? AS jsonb))"

    def __init__(self, url: str) -> None:
        self.url: str | None = url
        self._url = url
        self.name = describe_url(url)
        self._guard = threading.RLock()
        self._connection: Any = None
        try:
            self._migrate()
        except BaseException:
            self.close()
            raise

    def rows(self, sql: str, parameters: Sequence[Value] = ()) -> Sequence["PostgresRow"]:
        """All rows of a query.

        Raises:
            StoreUnreachable: the server does not answer.
        """
        with self._connected() as connection:
            return connection.execute(_translate(sql), parameters).fetchall()

    @contextmanager
    def transaction(self) -> Generator["PostgresTransaction"]:
        """Write several rows or none. Writers of all processes take turns, as SQLite's do.

        So sequence numbers are seen in their order: who has seen one has seen all that are smaller.

        Raises:
            StoreUnreachable: the server does not answer, or 30 s did not bring the turn; nothing is written.
        """
        with self._connected() as connection, connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (lock_key("writer"),))
            yield PostgresTransaction(connection)

    @contextmanager
    def try_lock(self, name: str) -> Generator[bool]:
        """An advisory lock on a connection of its own: it ends with its process, however that ends.

        Raises:
            StoreUnreachable: the server does not answer.
        """
        with failures_told(self._url):
            connection = connect(self._url, options=f"{_HOLDER_DIED} {_MAY_IDLE}")
        try:
            with failures_told(self._url):
                sql = "SELECT pg_try_advisory_lock(%s)"
                held = connection.execute(sql, (lock_key(f"lock {name}"),)).fetchone()[0]
            yield held
            with self._loss_logged(name):
                connection.execute("SELECT 1")
        finally:
            connection.close()  # and with it the lock

    @contextmanager
    def _loss_logged(self, name: str) -> Generator[None]:
        try:
            with failures_told(self._url):
                yield
        except StoreUnreachable as error:
            _LOG.warning("%s: the lock on %s was lost while it was held: %s", self.name, name, error.fault)

    def held(self, names: Sequence[str]) -> set[str]:
        """Which of the names somebody holds now."""
        sql = """SELECT classid::bigint, objid::bigint FROM pg_locks
            WHERE locktype = 'advisory' AND objsubid = 1 AND granted
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""
        locks = {(row[0] << 32) | row[1] for row in self.rows(sql)}
        return {name for name in names if lock_key(f"lock {name}") % 2**64 in locks}

    def damaged(self, fault: str) -> StoreDamaged:
        """The error for rows that are not what was written."""
        return StoreDamaged(self.name, fault, "Put the database back from a backup")

    def close(self) -> None:
        """Close the connection. What is held stays held."""
        with self._guard:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    @contextmanager
    def _connected(self) -> Generator[Any]:
        with self._guard, failures_told(self._url):
            if self._connection is None:
                self._connection = connect(self._url)
            connection = self._connection
            try:
                yield connection
            finally:
                if connection.closed:  # psycopg closes a connection that was lost
                    self._connection = None

    def _migrate(self) -> None:
        with self.transaction() as transaction, self._strangers_told():
            transaction.execute("CREATE TABLE IF NOT EXISTS maulstick_schema (version BIGINT NOT NULL)")
            version = self._version() or 0
            if not (missing := find_missing(version, self.name)):
                return
            for migration in missing:
                migration(PostgresMigration(transaction))
            transaction.execute("DELETE FROM maulstick_schema")
            transaction.execute("INSERT INTO maulstick_schema VALUES (?)", (version + len(missing),))

    def _version(self) -> int | None:
        rows = self.rows("SELECT max(version) FROM maulstick_schema")
        return rows[0][0]

    @contextmanager
    def _strangers_told(self) -> Generator[None]:
        psycopg = import_psycopg(self._url)
        try:
            yield
        except psycopg.errors.DuplicateTable as error:
            fault = f"the database has tables that are not Maulstick's ({first_line(error)})"
            raise StoreError(self.name, fault, "Give Maulstick a database of its own") from error


def find_tables(url: str) -> set[str]:
    """The tables in the database at `url`, without changing anything.

    Raises:
        StoreUnreachable: the server does not answer, or psycopg is not installed.
        StoreTooNew: a later version wrote the tables.
    """
    with failures_told(url):
        connection = connect(url)
        try:
            sql = "SELECT tablename FROM pg_tables WHERE schemaname = ANY (current_schemas(false))"
            tables = {row[0] for row in connection.execute(sql).fetchall()}
            if "maulstick_schema" in tables:
                version = connection.execute("SELECT max(version) FROM maulstick_schema").fetchone()[0]
                find_missing(version, describe_url(url))
        finally:
            connection.close()
    return tables


class PostgresTransaction:
    """Statements as SQLite spells them, said to Postgres."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> Any:
        """One statement."""
        return self._connection.execute(_translate(sql), parameters)

    def executemany(self, sql: str, parameters: Iterable[Sequence[Any]], /) -> Any:
        """One statement for each row of parameters."""
        cursor = self._connection.cursor()
        cursor.executemany(_translate(sql), list(parameters))
        return cursor


class PostgresMigration:
    """The statements of a migration, with the types' names spelt anew."""

    def __init__(self, transaction: PostgresTransaction) -> None:
        self._transaction = transaction

    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> Any:
        """One statement."""
        for ours, theirs in _SPELLINGS:
            sql = sql.replace(ours, theirs)
        return self._transaction.execute(sql, parameters)

    def executemany(self, sql: str, parameters: Iterable[Sequence[Any]], /) -> Any:
        """One statement for each row of parameters."""
        return self._transaction.executemany(sql, parameters)


def _translate(sql: str) -> str:
    return sql.replace("?", "%s")

"""LangGraph's checkpoints on a Postgres server: what `memory/checkpoints.py` promises of those in SQLite.

Knows no graph and no state. Imports LangGraph's saver (the extra [postgres]) when a server is first asked.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import cache
from importlib import import_module
from typing import Any

from memory.checkpoints import Checkpointer, check_strict
from memory.errors import StoreUnreachable
from memory.packing import packed
from memory.postgres_connection import connection_arguments, failures_told, import_psycopg, lock_key
from memory.postgres_url import describe_url


@asynccontextmanager
async def open_postgres_checkpointer(url: str) -> AsyncGenerator[Checkpointer]:
    """The checkpointer in the database at `url`, its tables created if they are not there.

    Raises:
        StoreUnreachable: the server does not answer; also when the connection is lost inside the block.
        RuntimeError: LangGraph was imported without strict deserialisation, so a checkpoint could run code.
    """
    check_strict()
    psycopg = import_psycopg(url)
    make = _saver_class(url)
    address, arguments = connection_arguments(url)
    rows = import_module("psycopg.rows").dict_row
    with failures_told(url):
        connection = await psycopg.AsyncConnection.connect(
            address, row_factory=rows, prepare_threshold=0, **arguments
        )
        async with connection:
            saver = make(connection)
            saver.serde = packed(saver.serde)
            await _set_up(saver, connection)
            yield saver


async def _set_up(saver: Any, connection: Any) -> None:
    # One process at a time. Tried, not waited for: a session that waits for a lock holds a snapshot, and
    # "CREATE INDEX CONCURRENTLY", which LangGraph's migrations use, waits for all snapshots to be gone.
    key = (lock_key("checkpoints' tables"),)
    while True:
        cursor = await connection.execute("SELECT pg_try_advisory_lock(%s) AS ours", key)
        if (await cursor.fetchone())["ours"]:
            break
        await asyncio.sleep(0.02)
    try:
        await saver.setup()
    finally:
        await connection.execute("SELECT pg_advisory_unlock(%s)", key)


@cache
def _saver_class(url: str) -> Any:
    try:
        base: Any = import_module("langgraph.checkpoint.postgres.aio").AsyncPostgresSaver
    except ImportError as error:
        fault = f"LangGraph's checkpoints in Postgres cannot be imported ({error})"
        way_out = "Install them with `pip install maulstick[postgres]`, or unset MAULSTICK_DATABASE"
        raise StoreUnreachable(describe_url(url), fault, way_out) from error

    class PostgresSaver(Checkpointer, base):
        """LangGraph's saver, which can be thinned out."""

        async def forget_steps(self, thread_id: str) -> int:
            """See `memory.checkpoints.prune`."""
            had = await self._count(thread_id)
            await self.aprune([thread_id])
            return had - await self._count(thread_id)

        async def _count(self, thread_id: str) -> int:
            sql = "SELECT count(*) AS steps FROM checkpoints WHERE thread_id = %s"
            async with self.lock:
                cursor = await self.conn.execute(sql, (thread_id,))
                return (await cursor.fetchone())["steps"]

    return PostgresSaver

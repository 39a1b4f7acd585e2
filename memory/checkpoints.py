"""LangGraph's checkpoints in SQLite: opened with damage told plainly, and thinned out when a run has ended.
Those on a server are in `memory/postgres_checkpoints.py`.

Knows no graph and no state. A checkpoint holds the whole state of a run after a step; pictures are not in it.
"""

import importlib
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiosqlite
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from memory.database import damage_reported, prepare_database
from memory.packing import packed

_LOSS = "the chance to resume unfinished runs and to go back in finished ones, but no picture and no result"


_ERROR = "__error__"
_OF_FAILURES = (_ERROR, "__error_source_node__")
"""LangGraph's channels for a step's failure, and for which error handler is to answer it."""


class Checkpointer(BaseCheckpointSaver[str]):
    """A saver that can be thinned out, and that keeps of a step that failed or was cancelled the failure
    alone.

    LangGraph (1.2) hands over what the step had written until then as well. That would make the step count as
    done when the run goes on: one that was cancelled between its work and the choice of what follows would
    end there, with nothing left to do.
    """

    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """Store what a step wrote; of one that failed, that it failed."""
        if any(channel == _ERROR for channel, _ in writes):
            writes = [write for write in writes if write[0] in _OF_FAILURES]
        await super().aput_writes(config, writes, task_id, task_path)

    async def forget_steps(self, thread_id: str) -> int:
        """See `prune`."""
        raise NotImplementedError


class SqliteSaver(Checkpointer, AsyncSqliteSaver):
    """LangGraph's saver, which can be thinned out."""

    async def forget_steps(self, thread_id: str) -> int:
        """See `prune`."""
        superseded = """thread_id = ? AND EXISTS (
            SELECT 1 FROM checkpoints AS later WHERE later.thread_id = {0}.thread_id
            AND later.checkpoint_ns = {0}.checkpoint_ns AND later.checkpoint_id > {0}.checkpoint_id)"""
        async with self.lock:
            await self.conn.execute(f"DELETE FROM writes WHERE {superseded.format('writes')}", (thread_id,))
            cursor = await self.conn.execute(
                f"DELETE FROM checkpoints WHERE {superseded.format('checkpoints')}", (thread_id,)
            )
            removed = cursor.rowcount
            await cursor.close()
            await self.conn.commit()
            # A script: `execute` would give one page back and stop, for the pragma's rows have no columns.
            await self.conn.executescript("PRAGMA incremental_vacuum")
        return removed


@asynccontextmanager
async def open_checkpointer(path: Path) -> AsyncGenerator[SqliteSaver]:
    """The checkpointer on the database at `path`, created if it is not there.

    Raises:
        StoreDamaged: the database cannot be read; also when that shows only inside the block.
        RuntimeError: LangGraph was imported without strict deserialisation, so a checkpoint could run code.
    """
    check_strict()
    path = Path(path)
    prepare_database(path, _LOSS)
    with damage_reported(path, _LOSS):
        async with aiosqlite.connect(path, timeout=30) as connection:
            # A killed process loses nothing; a power cut may lose the last steps, never the file's integrity,
            # and steps that run again make the same pictures. Waiting for the disk at each of a hundred
            # writes would cost a run of ten seconds half a second.
            await connection.execute("PRAGMA synchronous = NORMAL")
            saver = SqliteSaver(connection)
            saver.serde = packed(saver.serde)
            await saver.setup()
            yield saver


async def prune(saver: Checkpointer, thread_id: str) -> int:
    """Keep the last checkpoint of a thread (in each namespace) and forget the others. Returns how many are
    gone.

    The last one is all that a resume needs, interrupted or ended; going back in time needs the others. Not
    for states with `DeltaChannel`s, whose checkpoints build on each other.
    """
    return await saver.forget_steps(thread_id)


def check_strict() -> None:
    """Find out whether LangGraph loads from checkpoints only the types that it is told.

    Raises:
        RuntimeError: it loads any.
    """
    serde = importlib.import_module("langgraph.checkpoint.serde._msgpack")
    if not serde.STRICT_MSGPACK_ENABLED:
        raise RuntimeError(
            "LangGraph would load any type from a checkpoint: set LANGGRAPH_STRICT_MSGPACK=true, or "
            "import `memory` before the first import of langgraph"
        )

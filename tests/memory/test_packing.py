from pathlib import Path

import aiosqlite
import pytest
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from memory.checkpoints import open_checkpointer

CONFIG = {"configurable": {"thread_id": "one", "checkpoint_ns": ""}}
WORDS = ["a red cube left of a blue sphere"] * 200


async def put(saver: AsyncSqliteSaver) -> None:
    checkpoint = empty_checkpoint() | {"channel_values": {"words": WORDS}}
    await saver.aput(CONFIG, checkpoint, {"step": 0}, {})  # type: ignore[arg-type]


async def words(saver: AsyncSqliteSaver) -> object:
    found = await saver.aget_tuple(CONFIG)  # type: ignore[arg-type]
    assert found is not None
    return found.checkpoint["channel_values"]["words"]


async def test_a_checkpoint_is_packed_and_comes_back(tmp_path: Path) -> None:
    async with open_checkpointer(tmp_path / "checkpoints.db") as saver:
        await put(saver)
        async with saver.conn.execute("SELECT type, length(checkpoint) FROM checkpoints") as cursor:
            [(kind, size)] = await cursor.fetchall()
        assert kind == "msgpack+zlib"
        assert size < len("".join(WORDS)) / 10
        assert await words(saver) == WORDS


async def test_checkpoints_from_before_packing_are_read(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints.db"
    async with open_checkpointer(path):
        pass
    async with aiosqlite.connect(path) as connection:
        await put(AsyncSqliteSaver(connection))
    async with open_checkpointer(path) as saver:
        assert await words(saver) == WORDS


@pytest.mark.parametrize(
    ("change", "fault"),
    [("checkpoint = x'00010203'", "cannot be unpacked"), ("type = 'msgpack+lz4'", "packed as 'lz4'")],
)
async def test_what_cannot_be_unpacked_is_named(tmp_path: Path, change: str, fault: str) -> None:
    async with open_checkpointer(tmp_path / "checkpoints.db") as saver:
        await put(saver)
        await saver.conn.execute(f"UPDATE checkpoints SET {change}")
        with pytest.raises(ValueError, match=fault):
            await words(saver)

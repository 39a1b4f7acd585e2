import asyncio
import os
import random
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Annotated, Any

import pytest
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, interrupt
from pydantic import BaseModel

from memory.checkpoints import open_checkpointer, prune
from memory.errors import StoreDamaged, StoreUnreachable
from memory.postgres_checkpoints import open_postgres_checkpointer

Opener = Callable[[], AbstractAsyncContextManager[Any]]


@pytest.fixture
def opener(place: str) -> Opener:
    """Opens the checkpoints of one place, again and again: a file's, and a server's."""
    if place.startswith("postgresql:"):
        return lambda: open_postgres_checkpointer(place)
    return lambda: open_checkpointer(Path(place).with_name("checkpoints.db"))


class Plan(BaseModel):
    words: list[str]


def join(left: list[str], right: list[str]) -> list[str]:
    return left + right


class State(BaseModel):
    prompt: str
    plan: Plan | None = None
    log: Annotated[list[str], join] = []


def plan(state: State) -> dict[str, Any]:
    return {"plan": Plan(words=state.prompt.split()), "log": ["plan"]}


def think(state: State) -> dict[str, Any]:
    return {"log": [random.Random(0).randbytes(10_000).hex()]}  # packs to half, no further


def ask(state: State) -> dict[str, Any]:
    assert state.plan is not None
    choice = interrupt({"ask": "pick"})
    return {"log": [state.plan.words[choice]]}


def build() -> Any:
    graph = StateGraph(State)
    for node in (plan, think, ask):
        graph.add_node(node)
    graph.add_edge(START, "plan")
    graph.add_edge("plan", "think")
    graph.add_edge("think", "ask")
    graph.add_edge("ask", END)
    return graph


def thread(name: str) -> Any:
    return {"configurable": {"thread_id": name}}


async def count(saver: Any, name: str) -> int:
    return len([checkpoint async for checkpoint in saver.alist(thread(name))])


async def test_an_interrupted_run_goes_on_after_closing_and_pruning(opener: Opener) -> None:
    async with opener() as saver:
        for name in ("one", "two"):
            await (
                build()
                .compile(checkpointer=saver)
                .ainvoke({"prompt": "cube ball"}, thread(name), durability="sync")
            )
    async with opener() as saver:
        graph = build().compile(checkpointer=saver)
        had, others = await count(saver, "one"), await count(saver, "two")
        assert await prune(saver, "one") == had - 1 > 1
        assert (await count(saver, "one"), await count(saver, "two")) == (1, others)
        snapshot = await graph.aget_state(thread("one"))
        assert snapshot.next == ("ask",)
        assert type(snapshot.values["plan"]) is Plan  # strict deserialisation knows the state's types
        for name in ("one", "two"):
            out = await graph.ainvoke(Command(resume=1), thread(name), durability="sync")
            assert (out["log"][0], out["log"][-1]) == ("plan", "ball")


async def test_pruning_an_ended_run_keeps_its_state_and_gives_the_space_back(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints.db"
    async with open_checkpointer(path) as saver:
        graph = build().compile(checkpointer=saver)
        for number in range(6):
            await graph.ainvoke({"prompt": "cube ball"}, thread(str(number)), durability="sync")
            await graph.ainvoke(Command(resume=0), thread(str(number)), durability="sync")
    size = path.stat().st_size
    async with open_checkpointer(path) as saver:
        graph = build().compile(checkpointer=saver)
        for number in range(6):
            await prune(saver, str(number))
            assert await prune(saver, str(number)) == 0
            snapshot = await graph.aget_state(thread(str(number)))
            assert snapshot.next == () and snapshot.values["log"][-1] == "cube"
        async with saver.conn.execute("SELECT count(*) FROM writes") as cursor:
            assert await cursor.fetchone() == (0,)
    assert path.stat().st_size < size / 2


async def test_a_damaged_database_is_one_clear_line(tmp_path: Path, damaged: Callable[[Path], None]) -> None:
    path = tmp_path / "checkpoints.db"
    async with open_checkpointer(path) as saver:
        await (
            build().compile(checkpointer=saver).ainvoke({"prompt": "cube"}, thread("one"), durability="sync")
        )
    damaged(path)
    with pytest.raises(StoreDamaged, match=r"recover.*which loses the chance to resume") as error:
        async with open_checkpointer(path):
            pass
    assert "\n" not in str(error.value)


async def test_damage_during_a_run_is_told_in_the_same_way(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints.db"
    with pytest.raises(StoreDamaged, match="damaged"):
        async with open_checkpointer(path) as saver:
            graph = build().compile(checkpointer=saver)
            await graph.ainvoke({"prompt": "cube"}, thread("one"), durability="sync")
            async with saver.conn.execute("PRAGMA wal_checkpoint(TRUNCATE)"):
                pass
            path.write_bytes(b"\xff" * path.stat().st_size)
            async with saver.conn.execute("PRAGMA shrink_memory"):  # else the pages come from its cache
                pass
            await graph.aget_state(thread("one"))


@pytest.mark.parametrize("setting", ["true", "false", None])
def test_types_are_checked_or_it_does_not_open(tmp_path: Path, setting: str | None) -> None:
    script = f"""
import asyncio
from pathlib import Path
from memory.checkpoints import open_checkpointer
async def main():
    async with open_checkpointer(Path({str(tmp_path / "checkpoints.db")!r})):
        print("open")
asyncio.run(main())
"""
    environment = {k: v for k, v in os.environ.items() if k != "LANGGRAPH_STRICT_MSGPACK"}
    if setting is not None:
        environment["LANGGRAPH_STRICT_MSGPACK"] = setting
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=root, env=environment, text=True, capture_output=True
    )
    if setting == "false":
        assert "RuntimeError" in done.stderr and "set LANGGRAPH_STRICT_MSGPACK=true" in done.stderr
    else:
        assert done.stdout == "open\n", done.stderr


async def test_of_a_step_that_failed_only_the_failure_is_kept(opener: Opener) -> None:
    config: Any = {"configurable": {"thread_id": "cut"}}
    async with opener() as saver:
        await build().compile(checkpointer=saver).ainvoke(State(prompt="a cube"), config, durability="sync")
        last = await saver.aget_tuple(config)
        assert last is not None
        cut = [("plan", Plan(words=[])), ("__error__", asyncio.CancelledError())]
        await saver.aput_writes(last.config, cut, "failed")
        await saver.aput_writes(last.config, [("plan", Plan(words=["a"]))], "done")
        again = await saver.aget_tuple(config)
    assert again is not None and again.pending_writes is not None
    kept = {(task, channel) for task, channel, _ in again.pending_writes if task in ("failed", "done")}
    assert kept == {("failed", "__error__"), ("done", "plan")}


async def test_pruning_forgets_what_only_the_forgotten_needed(opener: Opener) -> None:
    async with opener() as saver:
        graph = build().compile(checkpointer=saver)
        await graph.ainvoke({"prompt": "cube ball"}, thread("one"), durability="sync")
        await graph.ainvoke(Command(resume=0), thread("one"), durability="sync")
        before = (await graph.aget_state(thread("one"))).values
        assert await prune(saver, "one") > 1
        assert await prune(saver, "one") == 0
        assert await prune(saver, "nobody") == 0
        assert (await graph.aget_state(thread("one"))).values == before


@pytest.mark.postgres
async def test_many_open_an_empty_database_at_once(postgres_server: Any) -> None:
    url = postgres_server.new_database()

    async def use(name: str) -> None:
        async with open_postgres_checkpointer(url) as saver:
            graph = build().compile(checkpointer=saver)
            await graph.ainvoke({"prompt": "cube ball"}, thread(name), durability="sync")

    await asyncio.gather(*(use(str(number)) for number in range(6)))
    async with open_postgres_checkpointer(url) as saver:
        assert [await count(saver, str(number)) for number in range(6)] == [4] * 6
        cursor = await saver.conn.execute("SELECT DISTINCT type FROM checkpoint_blobs")
        assert {row["type"] for row in await cursor.fetchall()} <= {"msgpack+zlib", "null+zlib", "empty"}


@pytest.mark.postgres
async def test_a_connection_that_is_lost_during_a_run_is_told(postgres_server: Any) -> None:
    url = postgres_server.new_database()
    with pytest.raises(StoreUnreachable, match=r"postgresql://127.0.0.1:\d+/test_\w+: no answer"):
        async with open_postgres_checkpointer(url) as saver:
            graph = build().compile(checkpointer=saver)
            await graph.ainvoke({"prompt": "cube ball"}, thread("one"), durability="sync")
            postgres_server.cut_connections()
            await graph.ainvoke(Command(resume=1), thread("one"), durability="sync")
    async with open_postgres_checkpointer(url) as saver:
        graph = build().compile(checkpointer=saver)
        out = await graph.ainvoke(Command(resume=1), thread("one"), durability="sync")
        assert out["log"][-1] == "ball"

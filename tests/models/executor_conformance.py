"""What every executor promises. The test class of a kind of executor inherits `ExecutorConformance` and gives
the fixture `make_executor`.
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest

from models.executor import ExecutorClosed, QueueFull, UnknownTool, find_devices
from models.tool import Progress, ToolCancelled, ToolError
from tests.models.echo import Busy, Echo, EchoRequest, Shelf, logged

MakeExecutor = Callable[..., Any]
"""Makes an executor of the kind under test that offers the tools below, on one CPU unless told otherwise."""

TOOLS = (Echo(), Shelf())
PATIENT = 0.3
"""Seconds for batch mates to gather where a test names the batches: a busy machine may stop the loop."""


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(100):
        while not condition():
            await asyncio.sleep(0.002)


async def occupy(executor: Any, gate: Path, log: Path) -> "asyncio.Task[Any]":
    """Keep the worker busy until `gate` exists."""
    request = EchoRequest(text="blocker", key="blocker", gate=gate, log=log)
    task = asyncio.create_task(executor.submit("echo", request))
    await until(lambda: "run blocker" in logged(log))
    return task


class ExecutorConformance:
    death: Literal["exit", "kill", "fault"] = "exit"
    """How a worker of this kind dies."""

    @pytest.fixture
    def gate(self, tmp_path: Path) -> Path:
        return tmp_path / "gate"

    @pytest.fixture
    def log(self, tmp_path: Path) -> Path:
        return tmp_path / "log"

    async def test_requests_with_equal_keys_run_in_one_batch_in_arrival_order(
        self, make_executor: MakeExecutor, gate: Path, log: Path
    ) -> None:
        async with make_executor() as executor:
            blocker = await occupy(executor, gate, log)
            asked = [EchoRequest(text=text, key=text[0], log=log) for text in ("a1", "b1", "a2", "b2", "a3")]
            tasks = [asyncio.create_task(executor.submit("echo", request)) for request in asked]
            await asyncio.sleep(0)
            gate.touch()
            results = await asyncio.gather(blocker, *tasks)
        assert [result.text for result in results] == ["blocker", "a1", "b1", "a2", "b2", "a3"]
        assert logged(log) == ["run blocker", "run a1 a2 a3", "run b1 b2"]

    async def test_requests_to_different_models_never_share_a_batch(
        self, make_executor: MakeExecutor
    ) -> None:
        async with make_executor(batch_wait=PATIENT) as executor:
            asked = [EchoRequest(text=model, model=model) for model in ("x:1", "y:1", "x:1")]
            results = await asyncio.gather(*(executor.submit("echo", request) for request in asked))
        assert [(result.batch, result.model) for result in results] == [
            (("x:1", "x:1"), "x:1 on cpu"),
            (("y:1",), "y:1 on cpu"),
            (("x:1", "x:1"), "x:1 on cpu"),
        ]

    async def test_no_batch_is_larger_than_the_tool_allows(self, make_executor: MakeExecutor) -> None:
        async with make_executor(batch_wait=PATIENT) as executor:
            results = await asyncio.gather(
                *(executor.submit("echo", EchoRequest(text=str(n))) for n in range(19))
            )
        assert [len(result.batch) for result in results] == [8] * 16 + [3] * 3

    async def test_a_queued_request_that_is_cancelled_never_runs(
        self, make_executor: MakeExecutor, gate: Path, log: Path
    ) -> None:
        async with make_executor(max_queue=2) as executor:
            blocker = await occupy(executor, gate, log)
            dropped, kept = (
                asyncio.create_task(executor.submit("echo", EchoRequest(text=text, log=log)))
                for text in ("drop", "keep")
            )
            await asyncio.sleep(0)
            dropped.cancel()
            with pytest.raises(asyncio.CancelledError):
                await dropped
            third = asyncio.create_task(
                executor.submit("echo", EchoRequest(text="third", log=log))
            )  # its place is free
            await asyncio.sleep(0)
            gate.touch()
            await asyncio.gather(blocker, kept, third)
        assert logged(log) == ["run blocker", "run keep third"]

    async def test_a_running_batch_stops_once_nobody_waits_for_it(
        self, make_executor: MakeExecutor, gate: Path, log: Path
    ) -> None:
        async with make_executor(batch_wait=PATIENT) as executor:
            tasks = [
                asyncio.create_task(executor.submit("echo", EchoRequest(text=text, gate=gate, log=log)))
                for text in "ab"
            ]
            await until(lambda: logged(log) == ["run a b"])
            tasks[0].cancel()
            await asyncio.sleep(0.05)
            assert logged(log) == ["run a b"], "somebody still waits for b"
            tasks[1].cancel()
            await until(lambda: logged(log) == ["run a b", "cancelled a b"])
            gate.touch()
            assert (await executor.submit("echo", EchoRequest(text="next"))).text == "next"

    async def test_a_full_queue_refuses_with_the_numbers(
        self, make_executor: MakeExecutor, gate: Path, log: Path
    ) -> None:
        async with make_executor(max_queue=3) as executor:
            blocker = await occupy(executor, gate, log)
            tasks = [asyncio.create_task(executor.submit("echo", EchoRequest(text=text))) for text in "abc"]
            await asyncio.sleep(0)
            with pytest.raises(QueueFull, match="3 requests wait already and at most 3 may"):
                await executor.submit("echo", EchoRequest(text="d"))
            gate.touch()
            await asyncio.gather(blocker, *tasks)
            assert (await executor.submit("echo", EchoRequest(text="d"))).text == "d"

    @pytest.mark.parametrize("kind", ["MemoryError", "RuntimeError", "OutOfMemoryError", "allocator"])
    async def test_out_of_memory_halves_the_batch_and_remembers(
        self, make_executor: MakeExecutor, log: Path, kind: str
    ) -> None:
        async with make_executor(batch_wait=PATIENT) as executor:
            asked = [EchoRequest(text=str(n), fits=3, memory_error=kind, log=log) for n in range(8)]
            for _ in range(2):
                results = await asyncio.gather(*(executor.submit("echo", request) for request in asked))
                assert [result.text for result in results] == list("01234567")
        fitting = ["run 0 1", "run 2 3", "run 4 5", "run 6 7"]
        assert logged(log) == ["run 0 1 2 3 4 5 6 7", "run 0 1 2 3", *fitting, *fitting]

    async def test_what_does_not_fit_alone_fails_alone(self, make_executor: MakeExecutor) -> None:
        async with make_executor(batch_wait=PATIENT) as executor:
            asked = [EchoRequest(text=str(n), fits=0 if n == 1 else 99) for n in range(3)]
            results = await asyncio.gather(
                *(executor.submit("echo", request) for request in asked), return_exceptions=True
            )
        assert [results[0].text, results[2].text] == ["0", "2"]
        assert isinstance(results[1], ToolError)
        assert "echo ran out of memory" in str(results[1])

    async def test_an_error_reaches_only_the_request_that_caused_it(
        self, make_executor: MakeExecutor
    ) -> None:
        async with make_executor() as executor:
            asked = [EchoRequest(text=str(n), fails=n == 1) for n in range(4)]
            results = await asyncio.gather(
                *(executor.submit("echo", request) for request in asked), return_exceptions=True
            )
        assert [getattr(result, "text", None) for result in results] == ["0", None, "2", "3"]
        assert isinstance(results[1], ToolError)
        assert str(results[1]) == "echo failed with ValueError: cannot say 1"

    async def test_a_model_that_does_not_load_fails_its_own_requests_only(
        self, make_executor: MakeExecutor
    ) -> None:
        async with make_executor() as executor:
            broken = executor.submit("echo", EchoRequest(text="a", model="broken:1"))
            good = executor.submit("echo", EchoRequest(text="b"))
            results = await asyncio.gather(broken, good, return_exceptions=True)
        assert str(results[0]) == "broken:1 is damaged"
        assert results[1].text == "b"

    async def test_an_error_of_a_tool_keeps_its_class_and_words(self, make_executor: MakeExecutor) -> None:
        async with make_executor() as executor:
            with pytest.raises(Busy, match="ask again later"):
                await executor.submit("echo", EchoRequest(text="busy"))
            with pytest.raises(ToolError, match="this and that"):
                await executor.submit("echo", EchoRequest(text="stubborn"))

    async def test_a_lost_result_is_an_error(self, make_executor: MakeExecutor) -> None:
        async with make_executor() as executor:
            with pytest.raises(ToolError, match="0 results for 1 requests"):
                await executor.submit("echo", EchoRequest(text="swallow"))

    async def test_unknown_tools_and_wrong_requests_are_named(self, make_executor: MakeExecutor) -> None:
        async with make_executor() as executor:
            with pytest.raises(UnknownTool, match="no tool is called 'ehco'; known tools: echo"):
                await executor.submit("ehco", EchoRequest(text="a"))
            with pytest.raises(TypeError, match="echo takes a EchoRequest, not a Progress"):
                await executor.submit("echo", Progress(done=0, total=1))

    async def test_a_model_larger_than_the_budget_is_refused(self, make_executor: MakeExecutor) -> None:
        async with make_executor(memory_budget=100) as executor:
            with pytest.raises(
                ToolError, match="'huge:101' of echo needs 101 bytes and the memory budget is 100"
            ):
                await executor.submit("echo", EchoRequest(text="a", model="huge:101"))

    async def test_two_devices_work_at_the_same_time(
        self, make_executor: MakeExecutor, tmp_path: Path, log: Path
    ) -> None:
        async with make_executor(devices=("cpu:0", "cpu:1")) as executor:
            gates = [tmp_path / "a", tmp_path / "b"]
            tasks = [
                asyncio.create_task(
                    executor.submit("echo", EchoRequest(text=gate.name, key=gate.name, gate=gate, log=log))
                )
                for gate in gates
            ]
            await until(lambda: sorted(logged(log)) == ["run a", "run b"])
            for gate in gates:
                gate.touch()
            assert len({result.worker for result in await asyncio.gather(*tasks)}) == 2

    async def test_idle_devices_share_a_batch(
        self, make_executor: MakeExecutor, gate: Path, log: Path
    ) -> None:
        async with make_executor(devices=("cpu:0", "cpu:1"), batch_wait=PATIENT) as executor:
            tasks = [
                asyncio.create_task(executor.submit("echo", EchoRequest(text=text, gate=gate, log=log)))
                for text in "abcd"
            ]
            await until(lambda: sorted(logged(log)) == ["run a b", "run c d"])
            gate.touch()
            await asyncio.gather(*tasks)

    async def test_progress_arrives_in_order_on_the_callers_loop_before_the_result(
        self,
        make_executor: MakeExecutor,
    ) -> None:
        seen: list[tuple[int, str]] = []

        def on_progress(progress: Progress) -> None:
            assert asyncio.get_running_loop() is loop
            seen.append((progress.done, threading.current_thread().name))

        loop = asyncio.get_running_loop()
        async with make_executor(batch_wait=PATIENT) as executor:
            asked = [EchoRequest(text=str(n)) for n in range(3)]
            await asyncio.gather(*(executor.submit("echo", request, on_progress) for request in asked))
        here = threading.current_thread().name
        assert seen == [(done, here) for done in (1, 2, 3) for _ in range(3)]

    async def test_closing_cancels_what_runs_and_refuses_what_waits(
        self, make_executor: MakeExecutor, gate: Path, log: Path
    ) -> None:
        executor = make_executor()
        running = await occupy(executor, gate, log)
        waiting = asyncio.create_task(executor.submit("echo", EchoRequest(text="late", log=log)))
        await asyncio.sleep(0)
        await executor.close()
        with pytest.raises(ToolCancelled, match="the executor was closed"):
            await running
        with pytest.raises(ExecutorClosed, match="closed before echo ran"):
            await waiting
        with pytest.raises(ExecutorClosed, match="open another one"):
            await executor.submit("echo", EchoRequest(text="later"))
        assert logged(log) == ["run blocker", "cancelled blocker"]

    def test_one_executor_serves_several_event_loops_in_turn(self, make_executor: MakeExecutor) -> None:
        executor = make_executor()
        for text in ("first", "second"):
            assert asyncio.run(executor.submit("echo", EchoRequest(text=text))).text == text
        asyncio.run(executor.close())

    async def test_draining_finishes_what_was_accepted(
        self, make_executor: MakeExecutor, gate: Path, log: Path
    ) -> None:
        executor = make_executor()
        running = await occupy(executor, gate, log)
        waiting = asyncio.create_task(executor.submit("echo", EchoRequest(text="late", log=log)))
        await asyncio.sleep(0)
        closing = asyncio.create_task(executor.close(drain=True))
        await asyncio.sleep(0.02)
        gate.touch()
        await closing
        assert [(await running).text, (await waiting).text] == ["blocker", "late"]
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("maulstick")]
        assert executor.resident() == []

    async def test_the_least_recently_used_model_leaves_first(self, make_executor: MakeExecutor) -> None:
        async with make_executor(memory_budget=100) as executor:
            for model in ("a:40", "b:40", "a:40", "c:40"):
                await executor.submit("echo", EchoRequest(text="x", model=model))
            assert [name for _, _, name in executor.resident()] == ["a:40", "c:40"]
            await executor.submit("echo", EchoRequest(text="x", model="d:100"))
            assert [name for _, _, name in executor.resident()] == ["d:100"]

    async def test_what_a_model_takes_counts_more_than_what_it_declares(
        self, make_executor: MakeExecutor
    ) -> None:
        async with make_executor(memory_budget=9000) as executor:
            for model in ("a:10", "b:10", "c:10"):  # each takes 4000 bytes
                await executor.submit("shelf", EchoRequest(text="x", model=model))
            assert [name for _, _, name in executor.resident()] == ["b:10", "c:10"]
            await executor.submit("echo", EchoRequest(text="x", model="d:1000"))
            await executor.submit("shelf", EchoRequest(text="x", model="a:10"))  # measured before
            assert [name for _, _, name in executor.resident()] == ["c:10", "d:1000", "a:10"]

    async def test_a_model_that_takes_more_than_the_budget_is_refused(
        self, make_executor: MakeExecutor
    ) -> None:
        async with make_executor(memory_budget=3000) as executor:
            with pytest.raises(ToolError, match="'a:10' of shelf needs 4,000 bytes and the memory budget is"):
                await executor.submit("shelf", EchoRequest(text="x", model="a:10"))
            assert executor.resident() == []

    async def test_statistics_count_requests_batches_and_seconds(
        self, make_executor: MakeExecutor, gate: Path, log: Path
    ) -> None:
        async with make_executor() as executor:
            blocker = await occupy(executor, gate, log)
            await asyncio.sleep(0.05)
            tasks = [asyncio.create_task(executor.submit("echo", EchoRequest(text=text))) for text in "abc"]
            await asyncio.sleep(0)
            gate.touch()
            await asyncio.gather(blocker, *tasks)
            stats = executor.stats()["echo"]
        assert (stats.calls, stats.batches, stats.deaths) == (4, 2, 0)
        assert 0.05 < stats.run_seconds < 60
        assert 0 <= stats.load_seconds < 60

    async def test_what_a_dead_worker_was_doing_is_done_again(
        self, make_executor: MakeExecutor, log: Path
    ) -> None:
        async with make_executor(batch_wait=PATIENT) as executor:
            asked = [
                EchoRequest(text=text, kills=1 if text == "b" else 0, death=self.death, log=log)
                for text in "abc"
            ]
            results = await asyncio.gather(*(executor.submit("echo", request) for request in asked))
            after = await executor.submit("echo", EchoRequest(text="after"))
            stats = executor.stats()["echo"]
        assert [(result.text, result.batch) for result in results] == [(text, (text,)) for text in "abc"]
        assert after.text == "after"
        assert stats.deaths == 1
        assert logged(log) == ["run a b c", "b dies", "run a", "run b", "run c"]

    async def test_another_worker_takes_over_while_the_dead_one_recovers(
        self, make_executor: MakeExecutor, gate: Path, log: Path
    ) -> None:
        async with make_executor(devices=("cpu:0", "cpu:1"), batch_wait=PATIENT) as executor:
            asked = [
                EchoRequest(text=str(n), key=str(n), kills=int(n == 1), death=self.death, log=log)
                for n in range(4)
            ]
            results = await asyncio.gather(*(executor.submit("echo", request) for request in asked))
            assert [result.text for result in results] == list("0123")
            assert executor.stats()["echo"].deaths == 1

    async def test_a_request_that_kills_every_worker_fails_alone(
        self, make_executor: MakeExecutor, log: Path
    ) -> None:
        async with make_executor(batch_wait=PATIENT) as executor:
            asked = [
                EchoRequest(text=text, kills=99 if text == "b" else 0, death=self.death, log=log)
                for text in "abc"
            ]
            results = await asyncio.gather(
                *(executor.submit("echo", request) for request in asked), return_exceptions=True
            )
        assert [getattr(result, "text", None) for result in results] == ["a", None, "c"]
        assert isinstance(results[1], ToolError)
        assert "echo ended its worker 3 times, the last time on cpu" in str(results[1])

    async def test_says_so_where_it_falls_back_to_the_cpu(
        self, make_executor: MakeExecutor, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.INFO, logger="models"):
            async with make_executor(devices="auto") as executor:
                result = await executor.submit("echo", EchoRequest(text="where"))
        on_cpu = result.model.endswith("on cpu")
        assert on_cpu == (find_devices() == ("cpu",))
        assert on_cpu == any("on the CPU" in record.getMessage() for record in caplog.records)

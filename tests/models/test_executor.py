"""The executors' conformance suite: every test of `make_executor` holds for each kind of executor.

The tool is a real one that records what it saw in its results and in a log file, so that the suite also works
for workers in other processes.
"""

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from pydantic import BaseModel

from memory.artifacts import Artifacts
from models.executor import Executor, ExecutorClosed, LocalExecutor, QueueFull, UnknownTool
from models.threads import choose_threads
from models.tool import Progress, Tool, ToolCancelled, ToolContext, ToolError


class EchoRequest(BaseModel):
    text: str
    key: str = "k"
    model: str = "m:10"
    """Name and declared bytes."""
    gate: Path | None = None
    """Runs until this file exists."""
    log: Path | None = None
    fails: bool = False
    fits: int = 99
    """Larger batches run out of memory."""
    memory_error: str = "MemoryError"


class EchoResult(BaseModel):
    text: str
    batch: tuple[str, ...]
    model: str
    worker: str
    threads: int | None = None
    inference: bool = False


class Echo(Tool[EchoRequest, EchoResult, str]):
    name = "echo"
    summary = "Says it again."
    request_type = EchoRequest
    result_type = EchoResult
    max_batch = 8

    def model_key(self, request: EchoRequest) -> str:
        return request.model

    def batch_key(self, request: EchoRequest) -> str:
        return request.key

    def memory_bytes(self, model_key: str) -> int:
        return int(model_key.partition(":")[2])

    def load(self, model_key: str, device: str) -> str:
        if model_key.startswith("broken"):
            raise ToolError(f"{model_key} is damaged")
        return f"{model_key} on {device}"

    def run(self, model: str, requests: Sequence[EchoRequest], context: ToolContext) -> list[EchoResult]:
        batch = tuple(request.text for request in requests)
        note(requests[0], f"run {' '.join(batch)}")
        if len(requests) > min(request.fits for request in requests):
            raise out_of_memory(requests[0].memory_error)
        for step, request in enumerate(requests):
            while request.gate is not None and not request.gate.exists():
                try:
                    context.check_cancelled()
                except ToolCancelled:
                    note(request, f"cancelled {' '.join(batch)}")
                    raise
                time.sleep(0.002)
            context.report(Progress(done=step + 1, total=len(requests)))
        if bad := [request.text for request in requests if request.fails]:
            raise ValueError(f"cannot say {bad[0]}")
        worker = threading.current_thread().name
        return [
            EchoResult(text=text, batch=batch, model=model, worker=worker)
            for text in batch
            if text != "swallow"
        ]


def note(request: EchoRequest, line: str) -> None:
    if request.log is not None:
        with request.log.open("a") as log:
            log.write(line + "\n")


def out_of_memory(kind: str) -> Exception:
    if kind == "MemoryError":
        return MemoryError()
    import torch

    return {
        "RuntimeError": RuntimeError("HIP out of memory. Tried to allocate 2 GiB"),
        "OutOfMemoryError": torch.cuda.OutOfMemoryError("CUDA out of memory"),
        "allocator": RuntimeError(
            "DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
        ),
    }[kind]


MakeExecutor = Callable[..., Executor]
PATIENT = 0.3
"""Seconds for batch mates to gather where a test names the batches: a busy machine may stop the loop."""


@pytest.fixture(params=["local"])
def make_executor(request: pytest.FixtureRequest, artifacts: Artifacts) -> MakeExecutor:
    """Makes an executor of each kind that offers the `echo` tool."""

    def make(**options: object) -> Executor:
        return {"local": LocalExecutor}[request.param](
            [Echo()], artifacts, **({"devices": ("cpu",)} | options)
        )

    return make


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    return tmp_path / "gate"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.002)


def logged(log: Path) -> list[str]:
    return log.read_text().splitlines() if log.exists() else []


async def occupy(executor: Executor, gate: Path, log: Path) -> "asyncio.Task[BaseModel]":
    """Keep the worker busy until `gate` exists."""
    request = EchoRequest(text="blocker", key="blocker", gate=gate, log=log)
    task = asyncio.create_task(executor.submit("echo", request))
    await until(lambda: "run blocker" in logged(log))
    return task


async def test_requests_with_equal_keys_run_in_one_batch_in_arrival_order(
    make_executor: MakeExecutor, gate: Path, log: Path
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


async def test_requests_to_different_models_never_share_a_batch(make_executor: MakeExecutor) -> None:
    async with make_executor(batch_wait=PATIENT) as executor:
        asked = [EchoRequest(text=model, model=model) for model in ("x:1", "y:1", "x:1")]
        results = await asyncio.gather(*(executor.submit("echo", request) for request in asked))
    assert [(result.batch, result.model) for result in results] == [
        (("x:1", "x:1"), "x:1 on cpu"),
        (("y:1",), "y:1 on cpu"),
        (("x:1", "x:1"), "x:1 on cpu"),
    ]


async def test_no_batch_is_larger_than_the_tool_allows(make_executor: MakeExecutor) -> None:
    async with make_executor(batch_wait=PATIENT) as executor:
        results = await asyncio.gather(
            *(executor.submit("echo", EchoRequest(text=str(n))) for n in range(19))
        )
    assert [len(result.batch) for result in results] == [8] * 16 + [3] * 3


async def test_a_queued_request_that_is_cancelled_never_runs(
    make_executor: MakeExecutor, gate: Path, log: Path
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
    make_executor: MakeExecutor, gate: Path, log: Path
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
    make_executor: MakeExecutor, gate: Path, log: Path
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
    make_executor: MakeExecutor, log: Path, kind: str
) -> None:
    async with make_executor(batch_wait=PATIENT) as executor:
        asked = [EchoRequest(text=str(n), fits=3, memory_error=kind, log=log) for n in range(8)]
        for _ in range(2):
            results = await asyncio.gather(*(executor.submit("echo", request) for request in asked))
            assert [result.text for result in results] == list("01234567")
    fitting = ["run 0 1", "run 2 3", "run 4 5", "run 6 7"]
    assert logged(log) == ["run 0 1 2 3 4 5 6 7", "run 0 1 2 3", *fitting, *fitting]


async def test_what_does_not_fit_alone_fails_alone(make_executor: MakeExecutor) -> None:
    async with make_executor(batch_wait=PATIENT) as executor:
        asked = [EchoRequest(text=str(n), fits=0 if n == 1 else 99) for n in range(3)]
        results = await asyncio.gather(
            *(executor.submit("echo", request) for request in asked), return_exceptions=True
        )
    assert [results[0].text, results[2].text] == ["0", "2"]
    assert isinstance(results[1], ToolError)
    assert "echo ran out of memory" in str(results[1])


async def test_an_error_reaches_only_the_request_that_caused_it(make_executor: MakeExecutor) -> None:
    async with make_executor() as executor:
        asked = [EchoRequest(text=str(n), fails=n == 1) for n in range(4)]
        results = await asyncio.gather(
            *(executor.submit("echo", request) for request in asked), return_exceptions=True
        )
    assert [getattr(result, "text", None) for result in results] == ["0", None, "2", "3"]
    assert isinstance(results[1], ToolError)
    assert str(results[1]) == "echo failed with ValueError: cannot say 1"


async def test_a_model_that_does_not_load_fails_its_own_requests_only(make_executor: MakeExecutor) -> None:
    async with make_executor() as executor:
        broken = executor.submit("echo", EchoRequest(text="a", model="broken:1"))
        good = executor.submit("echo", EchoRequest(text="b"))
        results = await asyncio.gather(broken, good, return_exceptions=True)
    assert str(results[0]) == "broken:1 is damaged"
    assert results[1].text == "b"


async def test_a_lost_result_is_an_error(make_executor: MakeExecutor) -> None:
    async with make_executor() as executor:
        with pytest.raises(ToolError, match="0 results for 1 requests"):
            await executor.submit("echo", EchoRequest(text="swallow"))


async def test_unknown_tools_and_wrong_requests_are_named(make_executor: MakeExecutor) -> None:
    async with make_executor() as executor:
        with pytest.raises(UnknownTool, match="no tool is called 'ehco'; known tools: echo"):
            await executor.submit("ehco", EchoRequest(text="a"))
        with pytest.raises(TypeError, match="echo takes a EchoRequest, not a Progress"):
            await executor.submit("echo", Progress(done=0, total=1))


async def test_a_model_larger_than_the_budget_is_refused(make_executor: MakeExecutor) -> None:
    async with make_executor(memory_budget=100) as executor:
        with pytest.raises(
            ToolError, match="'huge:101' of echo needs 101 bytes and the memory budget is 100"
        ):
            await executor.submit("echo", EchoRequest(text="a", model="huge:101"))


async def test_two_devices_work_at_the_same_time(
    make_executor: MakeExecutor, tmp_path: Path, log: Path
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


async def test_idle_devices_share_a_batch(make_executor: MakeExecutor, gate: Path, log: Path) -> None:
    async with make_executor(devices=("cpu:0", "cpu:1"), batch_wait=PATIENT) as executor:
        tasks = [
            asyncio.create_task(executor.submit("echo", EchoRequest(text=text, gate=gate, log=log)))
            for text in "abcd"
        ]
        await until(lambda: sorted(logged(log)) == ["run a b", "run c d"])
        gate.touch()
        await asyncio.gather(*tasks)


async def test_progress_arrives_in_order_on_the_callers_loop_before_the_result(
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
    make_executor: MakeExecutor, gate: Path, log: Path
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


def test_one_executor_serves_several_event_loops_in_turn(make_executor: MakeExecutor) -> None:
    executor = make_executor()
    for text in ("first", "second"):
        assert asyncio.run(executor.submit("echo", EchoRequest(text=text))).text == text
    asyncio.run(executor.close())


async def test_draining_finishes_what_was_accepted(artifacts: Artifacts, gate: Path, log: Path) -> None:
    executor = LocalExecutor([Echo()], artifacts, devices=("cpu",))
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


async def test_the_least_recently_used_model_leaves_first(artifacts: Artifacts) -> None:
    async with LocalExecutor([Echo()], artifacts, devices=("cpu",), memory_budget=100) as executor:
        for model in ("a:40", "b:40", "a:40", "c:40"):
            await executor.submit("echo", EchoRequest(text="x", model=model))
        assert [name for _, _, name in executor.resident()] == ["a:40", "c:40"]
        await executor.submit("echo", EchoRequest(text="x", model="d:100"))
        assert [name for _, _, name in executor.resident()] == ["d:100"]


async def test_a_model_in_use_never_leaves(artifacts: Artifacts, gate: Path, log: Path) -> None:
    devices = ("cpu:0", "cpu:1")
    async with LocalExecutor([Echo()], artifacts, devices=devices, memory_budget=100) as executor:
        holding = EchoRequest(text="holds", model="a:60", gate=gate, log=log)
        first = asyncio.create_task(executor.submit("echo", holding))
        await until(lambda: logged(log) == ["run holds"])
        second = asyncio.create_task(
            executor.submit("echo", EchoRequest(text="waits", model="b:60", log=log))
        )
        await asyncio.sleep(0.05)
        assert [name for _, _, name in executor.resident()] == ["a:60"]
        assert logged(log) == ["run holds"]
        gate.touch()
        await asyncio.gather(first, second)
        assert [name for _, _, name in executor.resident()] == ["b:60"]


async def test_statistics_count_requests_batches_and_seconds(
    artifacts: Artifacts, gate: Path, log: Path
) -> None:
    async with LocalExecutor([Echo()], artifacts, devices=("cpu",)) as executor:
        blocker = await occupy(executor, gate, log)
        await asyncio.sleep(0.05)
        tasks = [asyncio.create_task(executor.submit("echo", EchoRequest(text=text))) for text in "abc"]
        await asyncio.sleep(0)
        gate.touch()
        await asyncio.gather(blocker, *tasks)
        stats = executor.stats()["echo"]
    assert (stats.calls, stats.batches) == (4, 2)
    assert 0.05 < stats.run_seconds < 60
    assert 0 <= stats.load_seconds < 60


class TorchSettings(Echo):
    """Reports the torch settings that it runs under."""

    def run(self, model: str, requests: Sequence[EchoRequest], context: ToolContext) -> list[EchoResult]:
        import torch

        return [
            EchoResult(
                text=request.text,
                batch=(),
                model=model,
                worker="",
                threads=torch.get_num_threads(),
                inference=torch.is_inference_mode_enabled(),
            )
            for request in requests
        ]


async def test_torch_runs_in_inference_mode_on_the_threads_asked_for(artifacts: Artifacts) -> None:
    import torch  # noqa: F401  # as a tool that loads a torch model does

    for threads in (1, 3):
        async with LocalExecutor([TorchSettings()], artifacts, devices=("cpu",), threads=threads) as executor:
            result = await executor.submit("echo", EchoRequest(text="a"))
        assert (result.threads, result.inference) == (threads, True)


def test_threads_follow_the_setting_or_the_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.delenv("MAULSTICK_THREADS", raising=False)
    for load, workers, expected in ((0.5, 1, 8), (0.5, 2, 4), (4.1, 1, 1), (0.0, 16, 1)):
        monkeypatch.setattr(os, "getloadavg", lambda load=load: (load, 0.0, 0.0))
        assert choose_threads(workers) == expected
    monkeypatch.setenv("MAULSTICK_THREADS", "5")
    assert choose_threads() == 5
    for wrong in ("0", "two", "-1", ""):
        monkeypatch.setenv("MAULSTICK_THREADS", wrong)
        with pytest.raises(ValueError, match=f"MAULSTICK_THREADS='{wrong}'"):
            choose_threads()


def test_tools_and_executor_import_without_torch() -> None:
    heavy = ("torch", "diffusers", "transformers")
    code = (
        f"import sys, models.executor, models.tools; print([name for name in {heavy} if name in sys.modules])"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

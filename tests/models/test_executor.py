"""The executor in this process: what every executor promises, and what only threads can."""

import asyncio
import logging
import os
import subprocess
import sys
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from memory.artifacts import Artifacts
from models.device import explain_cpu, tensor_bytes
from models.executor import LocalExecutor
from models.threads import choose_threads
from models.tool import Tool, ToolContext, ToolError
from tests.models.echo import Echo, EchoRequest, EchoResult, logged
from tests.models.executor_conformance import TOOLS, ExecutorConformance, MakeExecutor, until


class TestLocalExecutor(ExecutorConformance):
    @pytest.fixture
    def make_executor(self, artifacts: Artifacts) -> MakeExecutor:
        def make(**options: Any) -> LocalExecutor:
            return LocalExecutor(TOOLS, artifacts, **({"devices": ("cpu",), "threads": 1} | options))

        return make


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    return tmp_path / "gate"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


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


async def test_a_device_that_a_fault_took_is_left_out(artifacts: Artifacts, log: Path) -> None:
    async with LocalExecutor([Echo()], artifacts, devices=("cuda:0", "cuda:1"), threads=1) as executor:
        faulty = EchoRequest(text="a", kills=1, death="fault", log=log)
        first = await executor.submit("echo", faulty)
        rest = [await executor.submit("echo", EchoRequest(text=str(n))) for n in range(3)]
        assert len({result.model for result in (first, *rest)}) == 1, "the other device does all the work"
        with pytest.raises(ToolError, match="echo has no worker: RuntimeError: CUDA error: an illegal"):
            await executor.submit("echo", EchoRequest(text="b", kills=1, death="fault", log=log))
        with pytest.raises(ToolError, match="open another executor"):
            await executor.submit("echo", EchoRequest(text="c"))


class Weights:
    """A model that can be counted."""


class Hungry(Tool[EchoRequest, EchoResult, Weights]):
    """Its device holds one model; a second one, or one beside another, runs out of memory."""

    name = "hungry"
    summary = "Wants the device for itself."
    request_type = EchoRequest
    result_type = EchoResult
    alive: ClassVar["weakref.WeakSet[Weights]"] = weakref.WeakSet()
    grows = False

    def model_key(self, request: EchoRequest) -> str:
        return request.model

    def memory_bytes(self, model_key: str) -> int:
        return 0

    def load(self, model_key: str, device: str) -> Weights:
        if self.alive and not self.grows:
            raise MemoryError(f"{model_key} does not fit")
        self.alive.add(weights := Weights())
        return weights

    def run(self, model: Weights, requests: Sequence[EchoRequest], context: ToolContext) -> list[EchoResult]:
        if len(self.alive) > 1:
            raise MemoryError("no room to work")
        return [EchoResult(text=request.text, batch=(), model="", worker="") for request in requests]


@pytest.mark.parametrize("grows", [False, True], ids=["loading", "running"])
async def test_idle_models_leave_where_memory_runs_out(artifacts: Artifacts, grows: bool) -> None:
    tool = Hungry()
    tool.grows, Hungry.alive = grows, weakref.WeakSet()
    async with LocalExecutor([tool], artifacts, devices=("cpu",), threads=1) as executor:
        for model in ("a", "b"):
            assert (await executor.submit("hungry", EchoRequest(text=model, model=model))).text == model
        assert [name for _, _, name in executor.resident()] == ["b"]


def test_a_slow_device_is_told_louder_the_faster_it_could_be() -> None:
    level, said = explain_cpu(2, mps=False)
    assert level == logging.WARNING and "2 NVIDIA card(s)" in said and "MAULSTICK_DEVICE=cpu" in said
    level, said = explain_cpu(0, mps=True)
    assert level == logging.WARNING and "MAULSTICK_DEVICE=mps" in said
    assert explain_cpu(0, mps=False)[0] == logging.INFO


def test_shared_weights_are_counted_once() -> None:
    import torch

    linear = torch.nn.Linear(10, 10)
    tied = torch.nn.Sequential(linear, torch.nn.Linear(10, 10, bias=False))
    tied[1].weight = linear.weight
    assert tensor_bytes({"model": tied, "again": [linear], "name": "tied"}) == 4 * (100 + 10)
    assert tensor_bytes("nothing") == 0

"""A tool that records what it saw in its results and in a log file, and fails in every way asked for.

What it leaves is files and results, so that it also tells of workers in other processes.
"""

import os
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from models.tool import Progress, Tool, ToolCancelled, ToolContext, ToolError


class Busy(ToolError):
    """An error with a name of its own, which callers may go by."""


class Stubborn(ToolError):
    """An error that a pickle cannot bring back."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} and {second}")


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
    kills: int = 0
    """The worker dies the first so many times that it runs this; they are counted in the log."""
    death: Literal["exit", "kill", "fault"] = "exit"
    """SystemExit in the worker's thread, SIGKILL of its process, or a fault of the device."""


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
        if requests[0].text == "busy":
            raise Busy("ask again later")
        if requests[0].text == "stubborn":
            raise Stubborn("this", "that")
        if len(requests) > min(request.fits for request in requests):
            raise out_of_memory(requests[0].memory_error)
        for step, request in enumerate(requests):
            die_if_asked(request)
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
        worker = f"{os.getpid()} {threading.current_thread().name}"
        return [
            EchoResult(text=text, batch=batch, model=model, worker=worker)
            for text in batch
            if text != "swallow"
        ]


class Shelf(Tool[EchoRequest, EchoResult, object]):
    """Models of 1000 parameters, 4000 bytes, that declare what their name says."""

    name = "shelf"
    summary = "Takes up memory."
    request_type = EchoRequest
    result_type = EchoResult

    def model_key(self, request: EchoRequest) -> str:
        return request.model

    def memory_bytes(self, model_key: str) -> int:
        return int(model_key.partition(":")[2])

    def load(self, model_key: str, device: str) -> object:
        import torch

        return {"weights": torch.nn.Linear(1000, 1, bias=False)}

    def run(self, model: object, requests: Sequence[EchoRequest], context: ToolContext) -> list[EchoResult]:
        return [
            EchoResult(text=request.text, batch=(), model=request.model, worker="") for request in requests
        ]


def note(request: EchoRequest, line: str) -> None:
    if request.log is not None:
        with request.log.open("a") as log:
            log.write(line + "\n")


def logged(log: Path) -> list[str]:
    return log.read_text().splitlines() if log.exists() else []


def die_if_asked(request: EchoRequest) -> None:
    dies = f"{request.text} dies"
    if request.log is None or logged(request.log).count(dies) >= request.kills:
        return
    note(request, dies)
    if request.death == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if request.death == "fault":
        raise RuntimeError("CUDA error: an illegal memory access was encountered")
    raise SystemExit(f"{request.text} was too much")


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

"""What a Ray actor holds: one device's worker, told over messages what to run and what to stop.

Imports no Ray: `models/ray_executor.py` makes actors of it. What goes in and out is pydantic models and
references to stored pictures, never tensors.
"""

import pickle
import queue
import socket
import traceback
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from pydantic import BaseModel

from models.artifact import ArtifactRef, ArtifactStore
from models.backends import keep_backends_in, name_backends
from models.cards import Backend
from models.device import is_out_of_memory
from models.device_worker import DeviceWorker
from models.residency import AnyTool, Residency
from models.threads import choose_threads
from models.tool import Progress, ToolCancelled, ToolError
from models.worker import CannotLoad, Done, WorkerDied, as_tool_error

Kept = tuple[tuple[str, str, str], ...]
"""(device, tool, model) of what is loaded."""


@dataclass(frozen=True, slots=True)
class Failed:
    """A batch that did not run through, with an error of ours: those of libraries do not travel between
    processes.
    """

    error: Exception
    trace: str
    """The traceback as text, which exceptions lose on their way."""
    loading: bool = False

    def reraise(self) -> NoReturn:
        """Raise what the worker raised, with its traceback as a note."""
        self.error.add_note(self.trace)
        raise CannotLoad(self.error) if self.loading else self.error


@dataclass(frozen=True, slots=True)
class Outcome:
    """The last word on a batch, and what the worker keeps loaded after it."""

    said: Done | Failed
    kept: Kept


class RayWorker:
    """Lives in a process of its own. `run` and the other methods are called on different threads."""

    def __init__(
        self,
        tools: Sequence[AnyTool],
        artifacts: ArtifactStore,
        device: str,
        memory_budget: int | None,
        threads: int | None,
        named: Mapping[str, Backend],
        kept_in: Path | None,
    ) -> None:
        """`device` is as this process sees it: Ray shows an actor only its own cards. `named` are the user's
        cards, which are known by name in the process that read the settings and nowhere else; so are those
        `kept_in` a folder that all machines share.
        """
        name_backends(named)
        if kept_in is not None:
            keep_backends_in(kept_in)
        self._tools = {tool.name: tool for tool in tools}
        self._artifacts = artifacts
        self._residency = Residency(memory_budget)
        self._worker = DeviceWorker(device, self._residency, artifacts, threads or choose_threads())
        # One thread for all batches: torch keeps its settings, and CUDA its context, by thread.
        self._bench = ThreadPoolExecutor(max_workers=1, thread_name_prefix="maulstick")
        self._cancelled: set[int] = set()

    def check_store(self, probe: ArtifactRef) -> str:
        """This machine's name, once the worker is up and sees the pictures that the others see.

        Raises:
            ToolError: it does not see `probe`.
        """
        host = socket.gethostname()
        try:
            self._artifacts.load_image(probe)
        except LookupError as error:
            raise ToolError(
                f"the worker on {host} does not see the pictures of the machine that asks ({error}): put "
                "MAULSTICK_HOME in a folder that all machines share under the same path"
            ) from None
        return host

    def cancel(self, ticket: int) -> None:
        """Stop the batch of this number at its next `check_cancelled`."""
        self._cancelled.add(ticket)

    def run(
        self, ticket: int, tool: str, model_key: str, requests: list[BaseModel]
    ) -> Generator[Progress | Outcome]:
        """Run a batch: its progress as it comes, and the outcome last."""
        said: queue.SimpleQueue[Progress | Outcome] = queue.SimpleQueue()
        self._bench.submit(self._play, ticket, self._tools[tool], model_key, requests, said)
        while isinstance(word := said.get(), Progress):
            yield word
        yield word

    def _play(
        self,
        ticket: int,
        tool: AnyTool,
        model_key: str,
        requests: list[BaseModel],
        said: "queue.SimpleQueue[Progress | Outcome]",
    ) -> None:
        def check() -> None:
            if ticket in self._cancelled:
                raise ToolCancelled(f"batch {ticket} of {tool.name} was stopped")

        outcome: Done | Failed
        try:
            outcome = self._worker.run(tool, model_key, requests, said.put, check)
        except Exception as error:
            outcome = _describe(tool, error)
        finally:
            self._cancelled.discard(ticket)
        said.put(Outcome(outcome, tuple(self._residency.taken())))


def _describe(tool: AnyTool, error: Exception) -> Failed:
    trace = "".join(traceback.format_exception(error))
    match error:
        case CannotLoad():
            return Failed(_portable(error.error), trace, loading=True)
        case ToolCancelled() | WorkerDied():
            return Failed(_portable(error), trace)
        case _ if is_out_of_memory(error):
            return Failed(MemoryError(str(error)), trace)
        case _:
            return Failed(_portable(as_tool_error(tool, error)), trace)


def _portable(error: Exception) -> Exception:
    """The error, if another process can make it from what a pickle carries; else a ToolError of its words."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # whatever its class does with its arguments
        return ToolError(str(error))
    return error

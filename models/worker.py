"""A worker: what runs a batch of one tool's requests, and how it tells what went wrong.

Knows neither the queue in front of it nor which devices there are.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from pydantic import BaseModel

from models.device import is_out_of_memory
from models.residency import AnyTool
from models.tool import Progress, ToolCancelled, ToolError, ToolUnavailable

OnProgress = Callable[[Progress], None]


class WorkerDied(RuntimeError):
    """A worker ended in the middle of a batch. Nobody knows how far it came."""


class WorkerLost(WorkerDied):
    """A worker ended and cannot come back."""


class CannotLoad(RuntimeError):
    """The model that a batch needs could not be loaded; its cause is the ToolError to hand over."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass(frozen=True, slots=True)
class Done:
    """A batch that ran: one result per request, in order, and the seconds of loading and of running."""

    results: list[BaseModel]
    load_seconds: float
    run_seconds: float


class Worker(Protocol):
    """Runs one batch at a time, always called from the same thread."""

    device: str

    def run(
        self,
        tool: AnyTool,
        model_key: str,
        requests: list[BaseModel],
        report: OnProgress,
        check_cancelled: Callable[[], None],
    ) -> Done:
        """Run one batch.

        Raises:
            CannotLoad: the model did not load.
            WorkerDied: the worker ended; call `recover` before it is used again.
            Exception: the tool failed, or `check_cancelled` did.
        """
        ...

    def recover(self) -> None:
        """Get ready for work after a death.

        Raises:
            WorkerLost: that is not possible.
        """
        ...


def as_tool_error(tool: AnyTool, error: Exception) -> Exception:
    """What the caller is told of an error of a tool, of a library or of the device."""
    if isinstance(error, ToolError | ToolCancelled):
        return error
    if is_out_of_memory(error):
        wrapped = ToolError(f"{tool.name} ran out of memory: {error}; use a smaller model or size")
    elif isinstance(error, ConnectionError | TimeoutError):
        wrapped = ToolUnavailable(f"{tool.name} got no answer ({type(error).__name__}: {error}): try again")
    else:
        wrapped = ToolError(f"{tool.name} failed with {type(error).__name__}: {error}")
    wrapped.__cause__ = error
    return wrapped

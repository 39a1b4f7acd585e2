"""One device at work: its models come and go by `Residency`, and a batch runs on the one that it needs.

The same in a thread of this process and in a process of its own. Knows no queue.
"""

import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from pydantic import BaseModel

from models.artifact import ArtifactStore
from models.device import inference, is_device_lost, is_out_of_memory, pool_of
from models.residency import AnyTool, Residency
from models.tool import ToolContext
from models.worker import CannotLoad, Done, OnProgress, WorkerDied, WorkerLost, as_tool_error


class DeviceWorker:
    """Runs batches on one device, within a memory budget that it may share with other workers."""

    def __init__(self, device: str, residency: Residency, artifacts: ArtifactStore, threads: int) -> None:
        """`threads` are those that torch may use on the CPU."""
        self.device = device
        self._residency = residency
        self._artifacts = artifacts
        self._threads = threads

    def run(
        self,
        tool: AnyTool,
        model_key: str,
        requests: list[BaseModel],
        report: OnProgress,
        check_cancelled: Callable[[], None],
    ) -> Done:
        """See `models.dispatch.Worker.run`."""
        context = ToolContext(self._artifacts, report, check_cancelled)
        began = time.perf_counter()
        try:
            with ExitStack() as stack:
                try:
                    model = stack.enter_context(self._residency.hold(tool, model_key, self.device))
                except Exception as error:
                    if is_device_lost(error):
                        raise
                    raise CannotLoad(as_tool_error(tool, error)) from error
                loaded = time.perf_counter()
                with inference(self._threads):
                    results = self._run_with_room(tool, model, requests, context)
                return Done(results, loaded - began, time.perf_counter() - loaded)
        except Exception as error:
            if is_device_lost(error):
                raise WorkerLost(f"{type(error).__name__}: {error}") from error
            raise
        except BaseException as error:  # SystemExit of a library, say: it would end this thread unseen
            raise WorkerDied(f"{type(error).__name__}: {error}") from error

    def recover(self) -> None:
        """Nothing to do: the model that the worker died with has been dropped."""

    def _run_with_room(
        self, tool: AnyTool, model: Any, requests: list[BaseModel], context: ToolContext
    ) -> list[BaseModel]:
        """Run; if memory runs out while models lie idle on the device, let go of them and run again."""
        try:
            return tool.run(model, requests, context)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            failed = error.with_traceback(None)  # which would keep the batch's tensors alive
        if not self._residency.free(pool_of(self.device)):
            raise failed
        return tool.run(model, requests, context)

"""Runs tools on the devices of a Ray cluster, or in processes of their own on this machine.

The same queue, batches and promises as `LocalExecutor`; a worker is an actor that Ray places, restarts and
gives its cards. Needs the extra [ray], which is imported when the first request comes.
"""

import itertools
import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, Literal

from PIL import Image
from pydantic import BaseModel

from models.artifact import ArtifactStore
from models.backends import shelf_if_any, user_backends
from models.dispatch import Dispatch
from models.ray_worker import Kept, Outcome, RayWorker
from models.residency import AnyTool
from models.tool import Progress, ToolCancelled, ToolError
from models.worker import Done, OnProgress, Worker, WorkerDied, WorkerLost

_LOG = logging.getLogger(__name__)

OBJECT_STORE_BYTES = 80 * 2**20
"""Ray's shared memory on this machine: messages hold words and references, and Ray takes 75 MiB at least."""
POLL = 0.05
"""Seconds between looks at whether somebody still waits for a running batch."""
START_SECONDS = 180.0
"""For an actor to be placed and to come up; a process that imports torch on a busy machine takes a while."""
_CARRIED = ("MKL_CBWR", "HF_HUB_OFFLINE", "HF_HOME", "MAULSTICK_THREADS", "TOKENIZERS_PARALLELISM")
"""Variables that decide what a worker computes, or what it may load: the same there as here."""


def import_ray() -> Any:
    """The library, with its reports home switched off.

    Raises:
        ToolError: it is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        return import_module("ray")
    except ImportError as error:
        raise ToolError(
            f"the executor 'ray' needs Ray ({error}): pip install maulstick[ray], or set "
            "MAULSTICK_EXECUTOR=local"
        ) from error


class RayExecutor(Dispatch):
    """Tools as Ray actors, one for each device, all sharing one store of pictures by its path.

    An actor that dies is restarted by Ray, and meanwhile its work is done by the others.
    """

    def __init__(
        self,
        tools: Sequence[AnyTool],
        artifacts: ArtifactStore,
        devices: Sequence[str] | Literal["auto"] = "auto",
        memory_budget: int | None = None,
        max_queue: int = 256,
        batch_wait: float = 0.01,
        threads: int | None = None,
        *,
        address: str | None = None,
        num_cpus: float = 1.0,
        num_gpus: float = 1.0,
        max_restarts: int = 3,
    ) -> None:
        """Ray and the actors start with the first request, which takes seconds.

        Args:
            tools: what may be asked for, by `tool.name`; actors get copies.
            artifacts: the store that tools read pictures from and save them to. Its folder has to be there
                under the same path on every machine, which each actor checks.
            devices: one actor each, such as `("cuda", "cuda")` or `("cpu:0", "cpu:1")`; "auto" takes every
                GPU of the cluster, or one CPU worker where there is none.
            memory_budget: bytes of memory that models may take while they stay loaded, per actor; None means
                unlimited.
            max_queue: requests that may wait.
            batch_wait: seconds that a request may wait for batch mates.
            threads: CPU threads of each actor; by default `MAULSTICK_THREADS`, or what the load leaves.
            address: a running cluster, "HOST:6379" or "auto"; None starts Ray on this machine, and ends it.
            num_cpus: cores that an actor reserves in Ray's books.
            num_gpus: the share of a GPU that an actor on one reserves; below 1, several share a card, and
                `memory_budget` has to be shared out by hand.
            max_restarts: how often Ray brings an actor back; -1 without end.

        Raises:
            ValueError: the address is one of Ray Client, or a share is not positive.
        """
        super().__init__(tools, max_queue, batch_wait)
        if address is not None and address.startswith("ray://"):
            raise ValueError(
                f"{address!r} is an address of Ray Client, which carries no progress: run on a machine of "
                "the cluster and use 'auto' or HOST:6379"
            )
        if num_cpus < 0 or num_gpus <= 0:
            raise ValueError(
                f"an actor cannot reserve {num_cpus} cores and {num_gpus} GPUs: use 0 or more, and above 0"
            )
        self._artifacts = artifacts
        self._devices = devices
        self._memory_budget = memory_budget
        self._cpu_threads = threads
        self._address = address
        self._num_cpus, self._num_gpus = num_cpus, num_gpus
        self._max_restarts = max_restarts
        self._actors: list[_ActorWorker] = []
        self._ray: Any = None
        self._started_ray = False

    def resident(self) -> list[tuple[str, str, str]]:
        """(device, tool, model) of the loaded models as each actor last told, least recently used first."""
        return [kept for actor in self._actors for kept in actor.kept]

    def _open_workers(self) -> Sequence[Worker]:
        ray = self._ray = import_ray()
        self._connect(ray)
        try:
            devices = self._place(ray)
            kind: Any = ray.remote(max_restarts=self._max_restarts, max_task_retries=0, max_concurrency=3)(
                RayWorker
            )
            probe = self._artifacts.save_image(
                Image.new("RGB", (1, 1)), seed=None, provenance={"purpose": "seen by every Ray worker"}
            )
            for device in devices:
                self._actors.append(_ActorWorker(ray, self._make(kind, device), device, probe))
            for actor in self._actors:
                actor.recover()
        except BaseException:
            self._close_workers()
            raise
        return self._actors

    def _connect(self, ray: Any) -> None:
        # We are in a thread, where Ray leaves the process's signal handlers alone: a run drains on SIGTERM.
        if ray.is_initialized():
            return
        # It also says so, and how it authenticates: nothing that the user can mend, which stderr is for.
        logging.getLogger("ray").setLevel(logging.ERROR)
        environment = {name: os.environ[name] for name in _CARRIED if name in os.environ}
        options: dict[str, Any] = {"configure_logging": False, "log_to_driver": False}
        if self._address is None:
            # A worker of this machine runs the code that this process runs.
            environment["PYTHONPATH"] = os.pathsep.join(os.path.abspath(path or ".") for path in sys.path)
            options |= {
                "address": "local",
                "include_dashboard": False,
                "object_store_memory": OBJECT_STORE_BYTES,
            }
        else:
            options["address"] = self._address
        try:
            ray.init(**options, runtime_env={"env_vars": environment})
        except (ConnectionError, RuntimeError, ValueError) as error:
            where = "on this machine" if self._address is None else f"at {self._address!r}"
            raise ToolError(f"Ray cannot be used {where}: {error}; look at MAULSTICK_RAY_ADDRESS") from error
        self._started_ray = True

    def _place(self, ray: Any) -> Sequence[str]:
        """The devices, after a look at whether the cluster has them.

        Raises:
            ToolError: it has not.
        """
        there: dict[str, float] = ray.cluster_resources()
        cpus, gpus = there.get("CPU", 0.0), there.get("GPU", 0.0)
        if self._devices == "auto":
            devices = ("cuda",) * int(gpus / self._num_gpus) or ("cpu",)
            if devices == ("cpu",):
                _LOG.warning("the Ray cluster has no GPU: models run on the CPU, in one worker")
        else:
            devices = tuple(self._devices)
        on_gpus = sum(device.startswith("cuda") for device in devices)
        if on_gpus * self._num_gpus > gpus or len(devices) * self._num_cpus > cpus:
            raise ToolError(
                f"{len(devices)} workers need {on_gpus * self._num_gpus:g} GPUs and "
                f"{len(devices) * self._num_cpus:g} cores, and the Ray cluster has {gpus:g} and {cpus:g}: "
                "ask for fewer devices, or for less with num_gpus and num_cpus"
            )
        return devices

    def _make(self, kind: Any, device: str) -> Any:
        on_gpu = device.startswith("cuda")
        return kind.options(num_cpus=self._num_cpus, num_gpus=self._num_gpus if on_gpu else 0).remote(
            list(self._tools.values()),
            self._artifacts,
            "cuda:0" if on_gpu else device,
            self._memory_budget,
            self._cpu_threads,
            user_backends(),
            shelf_if_any(),
        )

    def _close_workers(self) -> None:
        for actor in self._actors:
            actor.end()
        self._actors.clear()
        if self._started_ray:
            self._started_ray = False
            self._ray.shutdown()


class _ActorWorker:
    """An actor as a worker of `Dispatch`."""

    def __init__(self, ray: Any, actor: Any, device: str, probe: Any) -> None:
        self.device = device
        self.kept: Kept = ()
        self._ray = ray
        self._actor = actor
        self._probe = probe
        self._tickets = itertools.count()

    def run(
        self,
        tool: AnyTool,
        model_key: str,
        requests: list[BaseModel],
        report: OnProgress,
        check_cancelled: Callable[[], None],
    ) -> Done:
        """See `models.worker.Worker.run`."""
        ticket = next(self._tickets)
        stopped: ToolCancelled | None = None
        try:
            words = self._actor.run.options(num_returns="streaming").remote(
                ticket, tool.name, model_key, requests
            )
            while True:
                ready, _ = self._ray.wait([words], timeout=POLL)
                if ready:
                    word: Progress | Outcome = self._ray.get(next(words))
                    if isinstance(word, Outcome):
                        break
                    report(word)
                elif stopped is None:
                    try:
                        check_cancelled()
                    except ToolCancelled as cancelled:
                        stopped = cancelled
                        self._actor.cancel.remote(ticket)
        except (self._ray.exceptions.RayError, StopIteration) as error:
            self.kept = ()
            raise WorkerDied(_first_line(error)) from error
        self.kept = word.kept
        if isinstance(word.said, Done):
            return word.said
        if stopped is not None and isinstance(word.said.error, ToolCancelled):
            raise stopped
        word.said.reraise()

    def recover(self) -> None:
        """Wait until the actor is up, for the first time or again, and sees the store of pictures.

        Raises:
            WorkerLost: Ray does not bring it back.
            ToolError: it does not see the pictures.
        """
        errors = self._ray.exceptions
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                self._ray.get(self._actor.check_store.remote(self._probe), timeout=START_SECONDS)
                return
            except errors.RayTaskError as error:
                raise ToolError(str(error.cause)) from error
            except errors.ActorUnavailableError as error:
                if time.monotonic() > deadline:
                    raise WorkerLost(f"it did not come back: {_first_line(error)}") from error
                time.sleep(POLL)
            except errors.RayError as error:
                raise WorkerLost(_first_line(error)) from error

    def end(self) -> None:
        """End the actor's process."""
        self._ray.kill(self._actor, no_restart=True)


def _first_line(error: Exception) -> str:
    return (
        f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else 'no reason given'}"
    )

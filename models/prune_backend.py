"""The tool that prunes: a backend in, one or several smaller or sparser backends by name out.

Knows how a pipeline is calibrated and where backends are kept; how layers are pruned is in `obs_diff`.
"""

import hashlib
import json
import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

from models.backends import find_folder, memory_bytes, resolve, shelf
from models.cards import Backend, Defaults
from models.obs_diff.order import Order
from models.painting import Painter, Settled, denoise, settle
from models.picture_request import GenerateRequest
from models.pipelines import load_pipeline
from models.prune_request import PrunedBackend, PruneRequest, PruneResult
from models.threads import fixed_threads
from models.tool import Progress, Tool, ToolContext, ToolError

_LOG = logging.getLogger(__name__)
WORK = ".work"
"""Below the shelf: what prunings under way need to go on."""


@dataclass(frozen=True, slots=True)
class Bench:
    """Where a pruning takes place. The pipeline is loaded for each order, since pruning changes it."""

    backend: Backend
    device: str


class PruneBackend(Tool[PruneRequest, PruneResult, Bench]):
    """Prunes a backend's denoiser by OBS-Diff or by a baseline."""

    name = "prune_backend"
    summary = "Make a smaller, faster or sparser backend of a diffusion backend, and keep it under a name."
    request_type = PruneRequest
    result_type = PruneResult
    max_batch = 1

    def model_key(self, request: PruneRequest) -> str:
        """The backend's name.

        Raises:
            UnknownBackend: it names none.
        """
        return resolve(request.backend).name

    def memory_bytes(self, model_key: str) -> int:
        """What the backend's weights take, in bytes."""
        return memory_bytes(resolve(model_key))

    def load(self, model_key: str, device: str) -> Bench:
        """Look at the backend.

        Raises:
            ToolError: it is an endpoint, or carries adapters.
        """
        backend = resolve(model_key)
        if backend.kind == "openai-images":
            raise ToolError(f"{backend.name} is an endpoint and no diffusion model here: it cannot be pruned")
        if backend.loras:
            raise ToolError(
                f"{backend.name} carries a LoRA: prune the backend without it, and put it on the pruned one"
            )
        return Bench(backend, device)

    def run(self, model: Bench, requests: Sequence[PruneRequest], context: ToolContext) -> list[PruneResult]:
        """Prune, one order after another.

        Raises:
            ToolError: a name is taken, a prompt does not suit the backend, its family is unknown, calibration
                gave wrong numbers, or the result could not be saved.
        """
        return [self._prune(model, request, context) for request in requests]

    def _prune(self, bench: Bench, request: PruneRequest, context: ToolContext) -> PruneResult:
        from models.obs_diff.packages import Shared

        for order in request.orders:
            if (shelf() / (name := request.name_of(order))).exists():
                raise ToolError(
                    f"there is a backend {name!r} already: choose another name, or "
                    f"`maulstick backends remove {name}`"
                )
        shared = Shared() if len(request.orders) > 1 else None
        with fixed_threads(bench.backend.threads):
            made = [
                _prune_once(bench, request, order, number, shared, context)
                for number, order in enumerate(request.orders)
            ]
        return PruneResult(backends=tuple(made))


@dataclass(slots=True)
class PipelineCalibration:
    """Paints the prompts to latents: each with noise of its own, no picture is decoded."""

    painter: Painter
    settled: Settled
    prompts: tuple[str, ...]
    seed: int
    batch: int

    @property
    def batches(self) -> int:
        """How many."""
        return -(-len(self.prompts) // self.batch)

    def run(self, batch: int) -> None:
        """Denoise one batch."""
        part = range(len(self.prompts))[batch * self.batch : (batch + 1) * self.batch]
        seeds = [self.seed + number for number in part]
        denoise(self.painter, [self.prompts[number] for number in part], seeds, self.settled)

    def steps(self) -> int:
        """The run's different timesteps; schedulers of second order visit some twice."""
        timesteps = self.painter.pipeline.scheduler.timesteps.tolist()
        return 1 + sum(one != other for one, other in pairwise(timesteps))


def calibration_of(painter: Painter, request: PruneRequest) -> PipelineCalibration:
    """The request's calibration by a loaded backend.

    Raises:
        ToolError: a prompt or a setting does not suit the backend.
    """
    settled = [
        settle(
            painter,
            GenerateRequest(
                prompt=prompt,
                backend=painter.backend.name,
                seed=0,
                steps=request.steps,
                guidance=request.guidance,
            ),
        )
        for prompt in request.prompts
    ]
    return PipelineCalibration(painter, settled[0], request.prompts, request.seed, request.batch)


def _prune_once(
    bench: Bench, request: PruneRequest, order: Order, number: int, shared: Any, context: ToolContext
) -> PrunedBackend:
    from models.obs_diff.packages import forget_state, prune_denoiser
    from models.obs_diff.saving import denoiser_name, read_pruning

    began = time.perf_counter()
    pipeline = load_pipeline(bench.backend, bench.device)
    painter = Painter(bench.backend, pipeline)
    calibration = calibration_of(painter, request)
    denoiser = getattr(pipeline, denoiser_name(pipeline))
    before = denoiser.num_parameters()
    folder, work = shelf() / request.name_of(order), shelf() / WORK
    if (earlier := read_pruning(find_folder(bench.backend))) is not None:
        _LOG.warning("%s was pruned before (%s); it is pruned further", bench.backend.name, earlier[1].told)
    key = _fingerprint(bench.backend, request, calibration)
    state = work / f"{key}-{_digest(order.model_dump_json())}"

    def watch(done: int, total: int, unit: str) -> None:
        context.check_cancelled()
        message = f"{request.name_of(order)} ({number + 1} of {len(request.orders)})"
        context.report(Progress(done=done, total=total, unit=unit, message=message))

    outcome = prune_denoiser(
        denoiser,
        order,
        calibration,
        state=state,
        recording=work / f"{key}-calls",
        placement="disk" if request.on_disk else "memory",
        shared=shared,
        watch=watch,
    )
    made = PrunedBackend(
        name=request.name_of(order),
        parent=bench.backend.name,
        folder=str(folder),
        method=order.method,
        pattern=order.pattern,
        sparsity=order.sparsity,
        removed=sum(report.removed for report in outcome.reports)
        / sum(report.of for report in outcome.reports),
        parameters_before=before,
        parameters=denoiser.num_parameters(),
        error_before=fmean(report.error_before for report in outcome.reports),
        error=fmean(report.error for report in outcome.reports),
        packages=outcome.packages,
        hessian_bytes=outcome.hessian_bytes,
        seconds=time.perf_counter() - began,
    )
    _save(pipeline, bench.backend, request, order, made, outcome, folder)
    forget_state(state)
    if number == len(request.orders) - 1:
        forget_state(work / f"{key}-calls")
        _remove_if_empty(work)
    return made


def _save(
    pipeline: Any,
    backend: Backend,
    request: PruneRequest,
    order: Order,
    made: PrunedBackend,
    outcome: Any,
    folder: Path,
) -> None:
    from models.obs_diff.model_card import write_card
    from models.obs_diff.saving import Pruning, save_pruned

    parent = find_folder(backend)
    pruning = Pruning(
        method=order.method,
        pattern=order.pattern,
        sparsity=order.sparsity,
        parent=backend.name,
        kind="embedded" if backend.kind == "embedded" else "diffusers",
        order=json.loads(order.model_dump_json()),
        calibration={
            "prompts": len(request.prompts),
            "prompts_sha256": _digest(json.dumps(request.prompts)),
            "steps": request.steps or backend.steps,
            "guidance": request.guidance if request.guidance is not None else backend.guidance,
            "seed": request.seed,
            "batch": request.batch,
        },
        measured={
            **made.model_dump(
                include={"removed", "parameters_before", "parameters", "error_before", "error"}
            ),
            "layers": [asdict(report) for report in outcome.reports],
        },
    )
    defaults = backend.model_dump(include=set(Defaults.model_fields), exclude_none=True)
    defaults["notes"] = f"{backend.name} pruned: {order.told()}."
    save_pruned(
        pipeline,
        folder,
        pruning,
        outcome.masks,
        like=parent,
        finish=lambda unfinished: write_card(unfinished, pruning, defaults, parent),
    )


def _remove_if_empty(folder: Path) -> None:
    with suppress(OSError):  # another pruning is under way there
        folder.rmdir()


def _fingerprint(backend: Backend, request: PruneRequest, calibration: PipelineCalibration) -> str:
    """What a recording of the dense denoiser's calls depends on: its weights, and how it is calibrated."""
    files = sorted(find_folder(backend).rglob("*.safetensors"))
    told = [
        *((path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files),
        request.prompts,
        request.seed,
        request.batch,
        asdict(calibration.settled),
        backend.model_dump(mode="json", include={"dtype", "scheduler", "scheduler_config"}),
    ]
    return _digest(json.dumps(told))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]

"""Brings a backend's diffusers pipeline onto a device: precision, offloading, scheduler, adapters.

Knows neither names nor requests.
"""

import inspect
import json
import logging
from pathlib import Path
from typing import Any

from models.backends import find_folder
from models.cards import Backend
from models.step_noise import own_noise
from models.tool import ToolError
from models.weights import check_pipeline


def load_pipeline(backend: Backend, device: str) -> Any:
    """The backend's pipeline on `device`. No remote code is run; safetensors only, unless its card says so.

    Raises:
        ToolError: weights are missing or damaged, the hub's cache lacks the backend, or its card asks for
            what this pipeline or device cannot do.
    """
    folder = find_folder(backend)
    if not (backend.allow_pickle or backend.variant):
        check_pipeline(folder)
    _quieten()
    if backend.kind == "embedded":
        import torch

        from models.embedded.painter import load_painter

        dtype = torch.float32 if device.startswith("cpu") else torch.bfloat16
        return load_painter(folder, device, **_narrowed(folder, dtype))
    if backend.offload != "none" and not device.startswith("cuda"):
        raise ToolError(
            f"{backend.name} is to offload by {backend.offload!r}, which needs a CUDA device, not {device}: "
            "leave offload out"
        )
    pipeline = _read(backend, folder, device)
    pipeline.set_progress_bar_config(disable=True)
    if backend.scheduler or backend.scheduler_config:
        pipeline.scheduler = _scheduler(backend, pipeline)
    own_noise(pipeline)
    if backend.loras:
        _adapt(backend, pipeline)
    if backend.vae_tiling:
        if not hasattr(pipeline.vae, "enable_tiling"):
            raise ToolError(f"{backend.name} has an autoencoder without tiles: leave vae_tiling out")
        pipeline.vae.enable_tiling()
    match backend.offload:
        case "model":
            pipeline.enable_model_cpu_offload(device=device)
        case "sequential":
            pipeline.enable_sequential_cpu_offload(device=device)
        case "none":
            pipeline = pipeline.to(device)
    return pipeline


def _quieten() -> None:
    for library in ("diffusers", "transformers"):  # they report optional packages that painting does not use
        logging.getLogger(library).setLevel(logging.ERROR)
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()


def _read(backend: Backend, folder: Path, device: str) -> Any:
    import torch
    from diffusers.pipelines.pipeline_utils import DiffusionPipeline

    stock: Any = DiffusionPipeline
    auto = torch.float32 if device.startswith("cpu") else torch.bfloat16
    dtypes = {"auto": auto, "fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    try:
        return stock.from_pretrained(
            str(folder),
            dtype=dtypes[backend.dtype],
            variant=backend.variant,
            use_safetensors=None if backend.allow_pickle else True,
            local_files_only=True,
            trust_remote_code=False,
            **_left_out(folder),
            **_narrowed(folder, dtypes[backend.dtype]),
        )
    except (OSError, ValueError) as error:
        raise ToolError(f"{backend.name} cannot be loaded from {folder}: {error}") from error


def _left_out(folder: Path) -> dict[str, None]:
    """Components that were saved as none, such as SD3's T5; diffusers wants to be told again."""
    index: dict[str, Any] = json.loads((folder / "model_index.json").read_text("utf-8"))
    return {name: None for name, entry in index.items() if entry == [None, None]}


def _narrowed(folder: Path, dtype: Any) -> dict[str, Any]:
    """The denoiser of a pipeline whose layers were pruned narrower, which stock diffusers cannot load."""
    from models.obs_diff.saving import load_pruned, read_pruning

    found = read_pruning(folder)
    if found is None or not (found[1].linears or found[1].heads):
        return {}
    return {found[0]: load_pruned(folder, dtype)}


def _scheduler(backend: Backend, pipeline: Any) -> Any:
    """The scheduler that the card names, with the pipeline's configuration and the card's changes to it."""
    import diffusers

    own: Any = pipeline.scheduler
    fitting = {kind.__name__: kind for kind in (*own.compatibles, type(own))}
    name = backend.scheduler or type(own).__name__
    kind: Any = fitting.get(name) or getattr(diffusers, name, None)
    mixin: Any = diffusers.SchedulerMixin
    if not (isinstance(kind, type) and issubclass(kind, mixin)):
        raise ToolError(
            f"{backend.name}: diffusers has no scheduler {name!r}; fitting: {', '.join(sorted(fitting))}"
        )
    known = inspect.signature(kind.__init__).parameters
    if unknown := sorted(set(backend.scheduler_config) - set(known)):
        raise ToolError(
            f"{backend.name}: {name} has no setting {unknown[0]!r} for scheduler_config to change"
        )
    chosen: Any = kind
    return chosen.from_config(own.config, **backend.scheduler_config)


def _adapt(backend: Backend, pipeline: Any) -> None:
    """Load the card's adapters, all of them at once, each with its weight."""
    if not hasattr(pipeline, "load_lora_weights"):
        raise ToolError(
            f"{backend.name} is a {type(pipeline).__name__}, which takes no LoRA: leave loras out"
        )
    names: list[str] = []
    for number, lora in enumerate(backend.loras, start=1):
        path = Path(lora.path).expanduser()
        if not path.exists():
            raise ToolError(f"{backend.name}: there is no LoRA at {lora.path!r}")
        names.append(f"lora{number}")
        where = {"weight_name": path.name} if path.is_file() else {}
        try:
            pipeline.load_lora_weights(
                str(path.parent if path.is_file() else path),
                adapter_name=names[-1],
                local_files_only=True,
                use_safetensors=True,
                **where,
            )
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise ToolError(f"{backend.name}: the LoRA at {lora.path!r} does not fit: {error}") from error
    pipeline.set_adapters(names, adapter_weights=[lora.weight for lora in backend.loras])

"""A depth pipeline in a folder: `transformer/`, `scheduler/`, `semantic_encoder/`, `model_index.json`."""

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from models.pixel_perfect_depth.modeling import PixelPerfectTransformer2DModel
from models.pixel_perfect_depth.pipeline import PixelPerfectDepthPipeline
from models.pixel_perfect_depth.semantics import PerceptionSemantics
from models.tool import ToolError
from models.weights import check_folder

ENCODERS = ("PerceptionSemantics", "Dinov2Model", "Dinov2WithRegistersModel")


def new_scheduler() -> FlowMatchEulerDiscreteScheduler:
    """The official sampler: 1000 training steps, no shift."""
    return FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, shift=1.0)


def load_pipeline(folder: Path, dtype: torch.dtype = torch.float32) -> PixelPerfectDepthPipeline:
    """The pipeline that `save_pretrained` wrote into `folder`.

    Raises:
        ToolError: a part is missing or damaged, or its encoder is none that is known.
    """
    index = folder / "model_index.json"
    if not index.is_file():
        raise ToolError(f"{folder} is no depth pipeline: it has no model_index.json")
    told: dict[str, Any] = json.loads(index.read_text("utf-8"))
    if told.get("_class_name") != PixelPerfectDepthPipeline.__name__:
        raise ToolError(
            f"{folder} holds a {told.get('_class_name')}, not a {PixelPerfectDepthPipeline.__name__}"
        )
    check_folder(folder / "transformer")
    transformer = PixelPerfectTransformer2DModel.from_pretrained(
        folder / "transformer", torch_dtype=dtype, local_files_only=True
    )
    encoder = _load_encoder(folder, told.get("semantic_encoder"), dtype)
    scheduler: Any = FlowMatchEulerDiscreteScheduler.from_pretrained(
        folder / "scheduler", local_files_only=True
    )
    try:
        return PixelPerfectDepthPipeline(transformer, scheduler, encoder, told.get("default_area"))
    except ValueError as error:
        raise ToolError(f"{folder}: {error}") from error


def _load_encoder(folder: Path, entry: Any, dtype: torch.dtype) -> Any:
    if not entry or entry[1] is None:
        return None
    if entry[1] not in ENCODERS:
        raise ToolError(f"{folder} has the encoder {entry[1]}, and only {', '.join(ENCODERS)} are known")
    check_folder(folder / "semantic_encoder")
    if entry[1] == PerceptionSemantics.__name__:
        kind: Any = PerceptionSemantics
    else:
        import transformers

        kind = getattr(transformers, entry[1])
    return kind.from_pretrained(folder / "semantic_encoder", torch_dtype=dtype, local_files_only=True).eval()

"""A vision model from where its makers published it, to put beside a converted depth network.

A file is a checkpoint of Depth-Anything-V2 (`depth_anything_v2_vit*.pth`), a folder one of transformers:
DINOv2, with registers or without, or Depth-Anything, whose backbone is taken. Nothing is fetched.
"""

import json
from pathlib import Path
from typing import Any

from models.pixel_perfect_depth.convert import read_tensors
from models.pixel_perfect_depth.semantics import read_depth_anything
from models.tool import ToolError
from models.weights import check_folder

HEAD = 64
"""Channels of an attention head in every DINOv2."""
FOLDERS = {"dinov2": "Dinov2Model", "dinov2_with_registers": "Dinov2WithRegistersModel"}
"""By transformers' model_type."""


def open_encoder(path: Path) -> Any:
    """A Dinov2Model or Dinov2WithRegistersModel in float32.

    Raises:
        ToolError: there is nothing at `path`, or something else.
    """
    return _of_folder(path) if path.is_dir() else _of_file(path)


def _of_file(path: Path) -> Any:
    tensors = read_tensors(path)
    first = tensors.get("pretrained.patch_embed.proj.weight")
    if first is None:
        raise ToolError(
            f"{path} is no checkpoint of Depth-Anything-V2: it has no pretrained.patch_embed.proj.weight"
        )
    try:
        return read_depth_anything(tensors, max(1, len(first) // HEAD))
    except (KeyError, RuntimeError) as error:
        raise ToolError(f"{path} is no whole checkpoint of Depth-Anything-V2: {error}") from error


def _of_folder(folder: Path) -> Any:
    import transformers

    told = folder / "config.json"
    kind = json.loads(told.read_text("utf-8")).get("model_type") if told.is_file() else None
    if kind != "depth_anything" and kind not in FOLDERS:
        known = ", ".join((*FOLDERS, "depth_anything"))
        raise ToolError(f"{folder} holds {kind or 'no config.json'}: an encoder is one of {known}")
    check_folder(folder)
    transformers.utils.logging.disable_progress_bar()  # a small bar of its own, beside our one line
    if kind in FOLDERS:
        return getattr(transformers, FOLDERS[kind]).from_pretrained(folder, local_files_only=True).eval()
    whole = transformers.DepthAnythingForDepthEstimation.from_pretrained(folder, local_files_only=True)
    backbone: Any = whole.backbone
    if backbone.config.model_type != "dinov2":
        raise ToolError(f"{folder} stands on {backbone.config.model_type}, and only dinov2 is known")
    encoder = transformers.Dinov2Model(backbone.config)
    encoder.load_state_dict(backbone.state_dict())
    return encoder.eval()

"""A pruned pipeline on disk: a diffusers folder with safetensors, and `pruning.json` beside its denoiser.

Where only values became zero, stock diffusers loads it as it is. Where layers became narrower, the widths
stand in `pruning.json`, and `load_pruned` reads it. A folder is written whole or not at all.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from models.obs_diff.narrowing import Widths, differing_widths, narrow
from models.obs_diff.order import tell
from models.tool import ToolError

PRUNING_FILE = "pruning.json"
MASKS_FILE = "masks.bits"
"""Not *.safetensors, which loaders would take for weights; the format is the same."""


class Pruning(BaseModel):
    """What was done to a denoiser: how it came about, and the widths that it has now."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    method: str
    pattern: str
    """ "unstructured", "structured", or "N:M" with N zeros among M."""
    sparsity: float
    parent: str
    """The backend that was pruned."""
    kind: Literal["embedded", "diffusers"] = "diffusers"
    """Of the parent."""
    order: dict[str, JsonValue] = {}
    """All settings of the method."""
    calibration: dict[str, JsonValue] = {}
    measured: dict[str, JsonValue] = {}
    linears: dict[str, tuple[int, int]] = {}
    """(out_features, in_features) of narrowed layers."""
    heads: dict[str, int] = {}
    """Of narrowed attentions."""

    @property
    def told(self) -> str:
        """In a few words, such as "obs, 2:4"."""
        return tell(self.method, self.pattern, self.sparsity)

    @property
    def widths(self) -> Widths:
        """As `narrow` takes them."""
        return Widths(dict(self.linears), dict(self.heads))


def denoiser_name(pipeline: Any) -> str:
    """The component that denoises: "transformer" or "unet".

    Raises:
        ToolError: the pipeline has neither, so it is no diffusion model.
    """
    for name in ("transformer", "unet"):
        if pipeline.components.get(name) is not None:
            return name
    raise ToolError(f"a {type(pipeline).__name__} has no transformer and no unet to prune")


def save_pruned(
    pipeline: Any,
    folder: Path,
    pruning: Pruning,
    masks: Mapping[str, Any] | None = None,
    *,
    like: Path | None = None,
    finish: Callable[[Path], None] = lambda unfinished: None,
) -> None:
    """Save a pipeline whose denoiser was pruned. `masks` (True: removed) are kept with one bit a weight.

    Components get the precision that they have in the pipeline's folder `like`: a pruned backend is not to
    grow because it was pruned in float32. `finish` adds its own files before the folder gets its name.

    Raises:
        ToolError: the folder exists, or could not be written; nothing is left behind.
    """
    from safetensors import SafetensorError

    name = denoiser_name(pipeline)
    denoiser = getattr(pipeline, name)
    if folder.exists():
        raise ToolError(f"{folder} is there already: name another folder, or remove it")
    widths = differing_widths(denoiser, _dense(denoiser))
    pruning = pruning.model_copy(update={"linears": widths.linears, "heads": widths.heads})
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        if like is not None:
            _restore_precision(pipeline, like)
        pipeline.save_pretrained(unfinished, safe_serialization=True)
        (unfinished / name / PRUNING_FILE).write_text(pruning.model_dump_json(indent=1), "utf-8")
        if masks:
            _save_masks(masks, unfinished / name / MASKS_FILE)
        finish(unfinished)
        unfinished.chmod(0o777 & ~_umask())  # as other folders have it; temporary ones are private
        unfinished.rename(folder)
    except (OSError, SafetensorError) as error:
        raise ToolError(f"{folder} could not be written: {error}; nothing is left there") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def read_pruning(folder: Path) -> tuple[str, Pruning] | None:
    """The denoiser's name and what was done to it; None for a pipeline that was not pruned.

    Raises:
        ToolError: `pruning.json` is not one of this version.
    """
    for name in ("transformer", "unet"):
        path = folder / name / PRUNING_FILE
        if path.is_file():
            try:
                return name, Pruning.model_validate_json(path.read_text("utf-8"))
            except (ValidationError, UnicodeDecodeError) as error:
                raise ToolError(f"{path} is no card of a pruning: {str(error).splitlines()[0]}") from error
    return None


def load_pruned(folder: Path, dtype: Any = None) -> Any:
    """The denoiser of a pruned pipeline's folder, with its own widths.

    Raises:
        ToolError: the folder holds no pruned pipeline, or weights that do not have the widths that it tells.
    """
    import diffusers

    found = read_pruning(folder)
    if found is None:
        raise ToolError(f"{folder} holds no pruned pipeline: there is no {PRUNING_FILE}")
    name, pruning = found
    config: dict[str, Any] = json.loads((folder / name / "config.json").read_text("utf-8"))
    kind: Any = getattr(diffusers, config["_class_name"])
    model = kind.from_config(config)
    narrow(model, pruning.widths)
    weights = _read_weights(folder / name)
    try:
        model.load_state_dict(weights, strict=True, assign=True)
    except RuntimeError as error:
        raise ToolError(
            f"{folder / name}: the weights do not fit the widths in {PRUNING_FILE}: "
            f"{str(error).splitlines()[1].strip()}"
        ) from error
    return (model if dtype is None else model.to(dtype)).eval()


def load_masks(folder: Path) -> dict[str, Any]:
    """The masks of a pruned pipeline's folder by layer, True where a weight was removed; {} without any."""
    import numpy as np
    import torch
    from safetensors import safe_open

    found = read_pruning(folder)
    path = folder / found[0] / MASKS_FILE if found else None
    if path is None or not path.is_file():
        return {}
    masks: dict[str, Any] = {}
    with safe_open(path, "pt") as file:
        shapes: dict[str, list[int]] = json.loads((file.metadata() or {})["shapes"])
        for name, (rows, columns) in shapes.items():
            bits = np.unpackbits(file.get_tensor(name).numpy(), axis=1, count=columns)
            masks[name] = torch.from_numpy(bits.astype(bool))
            assert masks[name].shape == (rows, columns)
    return masks


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _restore_precision(pipeline: Any, like: Path) -> None:
    import torch
    from safetensors import safe_open

    for name, component in pipeline.components.items():
        files = sorted((like / name).glob("*.safetensors")) if isinstance(component, torch.nn.Module) else []
        if files:
            with safe_open(files[0], "pt") as file:
                component.to(file.get_tensor(next(iter(file.keys()))).dtype)


def _save_masks(masks: Mapping[str, Any], path: Path) -> None:
    import numpy as np
    import torch
    from safetensors.torch import save_file

    packed = {
        name: torch.from_numpy(np.packbits(mask.cpu().numpy().astype(bool), axis=1))
        for name, mask in masks.items()
    }
    shapes = {name: list(mask.shape) for name, mask in masks.items()}
    save_file(packed, path, metadata={"shapes": json.dumps(shapes)})


def _read_weights(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    weights: dict[str, Any] = {}
    for path in sorted(folder.glob("*.safetensors")):
        weights |= load_file(path)
    return weights


def _dense(denoiser: Any) -> Any:
    """A denoiser as its configuration alone would have it, without weights."""
    import torch

    with torch.device("meta"):
        return type(denoiser).from_config(denoiser.config)

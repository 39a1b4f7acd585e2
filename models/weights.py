"""Are the weights in a folder all there? Reads safetensors headers only; imports neither torch nor diffusers.

Knows nothing about what the tensors mean. Format: https://huggingface.co/docs/safetensors, an 8-byte
little-endian header length, a JSON header with `data_offsets` per tensor, then the bytes of the tensors.
"""

import json
import math
from pathlib import Path
from typing import Any

from models.tool import ToolError

LFS_POINTER = b"version https://git-lfs"
WAY_OUT = "see `maulstick doctor`"


def check_safetensors(path: Path) -> int:
    """The number of values in a safetensors file, after checking that the file is whole.

    Raises:
        ToolError: the file is missing, a git-lfs pointer, truncated or no safetensors file.
    """
    if not path.is_file():
        raise ToolError(f"the weights {path} are missing; {WAY_OUT}")
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(len(LFS_POINTER))
        if start == LFS_POINTER:
            raise ToolError(
                f"{path} is a git-lfs pointer and not the weights: run `git lfs pull`, or {WAY_OUT}"
            )
        length = int.from_bytes(start[:8], "little")
        if size < 8 or size < 8 + length:
            raise ToolError(
                f"{path} is truncated or no safetensors file: {size:,} bytes lack a header; {WAY_OUT}"
            )
        file.seek(8)
        try:
            header: dict[str, Any] = json.loads(file.read(length))
        except ValueError as error:
            raise ToolError(
                f"{path} is no safetensors file: its header is not JSON ({error}); {WAY_OUT}"
            ) from error
    tensors = [entry for name, entry in header.items() if name != "__metadata__"]
    promised = 8 + length + max((entry["data_offsets"][1] for entry in tensors), default=0)
    if size != promised:
        raise ToolError(
            f"{path} is damaged: it has {size:,} bytes and its header promises {promised:,}; {WAY_OUT}"
        )
    return sum(math.prod(entry["shape"]) for entry in tensors)


def check_folder(folder: Path) -> int:
    """The number of values in a component's folder: one safetensors file, or the shards of its index.

    Raises:
        ToolError: there are no safetensors weights, or a file is missing or damaged.
    """
    index = next(iter(sorted(folder.glob("*.safetensors.index.json"))), None)
    if index is not None:
        named: dict[str, str] = json.loads(index.read_text("utf-8"))["weight_map"]
        files = [folder / name for name in sorted(set(named.values()))]
    else:
        files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise ToolError(f"{folder} holds no *.safetensors weights (pickled weights are refused); {WAY_OUT}")
    return sum(check_safetensors(file) for file in files)


def check_pipeline(folder: Path) -> int:
    """The number of values in a diffusers pipeline's folder, after checking every component that has weights.

    Raises:
        ToolError: the folder is no pipeline, or a component's weights are missing or damaged.
    """
    index = folder / "model_index.json"
    if not index.is_file():
        raise ToolError(f"{folder} is no diffusers pipeline: it has no model_index.json; {WAY_OUT}")
    entries: dict[str, Any] = json.loads(index.read_text("utf-8"))
    components = [name for name, entry in entries.items() if isinstance(entry, list) and entry[0] is not None]
    if gone := next((name for name in components if not (folder / name).is_dir()), None):
        raise ToolError(f"{folder} names the component {gone!r} and has no such folder; {WAY_OUT}")
    # Models have a config.json; schedulers, tokenizers and image processors name theirs differently.
    models = [folder / name for name in components if (folder / name / "config.json").is_file()]
    return sum(check_folder(component) for component in models)

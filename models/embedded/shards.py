"""Weights in files that a code host takes: what is larger than one file is split, with an index beside it.

The format is the hub's (`model-00001-of-00002.safetensors`, `model.safetensors.index.json`), which diffusers,
transformers and `models.weights` read too.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from huggingface_hub import save_torch_state_dict
from safetensors.torch import load_file
from torch import Tensor

SHARD_BYTES = 15 * 2**20
"""Tensors in one file at most, in bytes: with its header it stays under 16 MiB. A single larger tensor has a
file of its own."""
FILE = "model.safetensors"


def save_state(state: Mapping[str, Tensor], folder: Path, limit: int = SHARD_BYTES) -> None:
    """Write tensors into `folder` as one file, or as shards of at most `limit` bytes; older weights there are
    removed.
    """
    tensors = {name: value.contiguous().cpu() for name, value in state.items()}
    save_torch_state_dict(tensors, folder, max_shard_size=limit)


def load_state(folder: Path) -> dict[str, Tensor]:
    """The tensors of `save_state`.

    Raises:
        FileNotFoundError: the file, or a shard that the index names, is not there.
    """
    return {name: value for file in weight_files(folder) for name, value in load_file(file).items()}


def weight_files(folder: Path) -> list[Path]:
    """The one file, or the shards that the index in `folder` names."""
    index = folder / f"{FILE}.index.json"
    if not index.is_file():
        return [folder / FILE]
    named: dict[str, str] = json.loads(index.read_text("utf-8"))["weight_map"]
    return [folder / name for name in sorted(set(named.values()))]

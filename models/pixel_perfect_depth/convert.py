"""Official checkpoints (`ppd.pth`, `ppd_moge.pth`, `ppvd.pth`, or safetensors of those keys) to our networks.

Strict: every key is taken or refused, sizes are read from the tensors, and pickles are opened for tensors
only. Source of the names: the official code's state_dict, spec section 2.1.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.tool import ToolError

PREFIXES = ("pipeline.dit_video.", "pipeline.dit.", "dit_video.", "dit.", "")
ENCODERS = re.compile(r"(pipeline\.)?(sem_encoder|semantics_encoder|pi3)\.")
"""Frozen vision models that some checkpoints carry along."""
NAMES = (
    (r"x_embedder\.proj", "patch_embed"),
    (r"t_embedder\.mlp\.0", "time_embed.linear_1"),
    (r"t_embedder\.mlp\.2", "time_embed.linear_2"),
    (r"(blocks|temporal_blocks)\.(\d+)\.attn\.qkv", r"\1.\2.attn.to_qkv"),
    (r"(blocks|temporal_blocks)\.(\d+)\.attn\.q_norm", r"\1.\2.attn.norm_q"),
    (r"(blocks|temporal_blocks)\.(\d+)\.attn\.k_norm", r"\1.\2.attn.norm_k"),
    (r"(blocks|temporal_blocks)\.(\d+)\.attn\.proj", r"\1.\2.attn.to_out"),
    (r"(blocks|temporal_blocks)\.(\d+)\.mlp\.fc1", r"\1.\2.mlp.inner"),
    (r"(blocks|temporal_blocks)\.(\d+)\.mlp\.fc2", r"\1.\2.mlp.outer"),
    (r"(blocks|temporal_blocks)\.(\d+)\.adaLN_modulation\.1", r"\1.\2.modulation"),
    (r"proj_fusion\.(\d)", r"fusion.\1"),
    (r"final_layer\.linear", "proj_out"),
    (r"final_layer\.adaLN_modulation\.1", "norm_out"),
)
"""(official name of a layer, ours)."""
SEMANTICS = {"dinov2": "DINOv2 of Depth-Anything-V2-Large", "moge2": "MoGe-2"}
"""What the official image weights were trained with."""


def read_official(path: Path | str, semantic_encoder: str | None = None) -> Any:
    """The network of an official checkpoint, in the precision that it is stored in.

    Args:
        path: a .pth, .pt, .ckpt or .safetensors file.
        semantic_encoder: which of SEMANTICS it was trained with; kept in the configuration, so that a
            pipeline refuses another. None: what the checkpoint itself tells, if it does.

    Raises:
        ToolError: the file cannot be read, a tensor is missing, surplus or of a wrong shape, or the
            checkpoint carries another encoder than the one named.
    """
    path = Path(path)
    tensors = read_tensors(path)
    official = {name: value for name, value in tensors.items() if not ENCODERS.match(name)}
    _check_encoder(path, tensors.keys() - official.keys(), semantic_encoder)
    official = _without_prefix(path, official)
    config = sizes(path, official)
    if "pos_embed" not in official and semantic_encoder is not None:
        config["semantic_encoder"] = semantic_encoder
    return build(path, official, config)


def build(path: Path, official: Mapping[str, Any], config: Mapping[str, Any]) -> Any:
    """The network of official tensors without prefix.

    Raises:
        ToolError: a tensor is missing, surplus or of a wrong shape.
    """
    import torch

    from models.pixel_perfect_depth.modeling import PixelPerfectTransformer2DModel
    from models.pixel_perfect_depth.video import VideoDepthTransformer

    kind = VideoDepthTransformer if "pos_embed" in official else PixelPerfectTransformer2DModel
    with torch.device("meta"):
        network = kind(**config)
    own = network.state_dict()
    state = {rename(path, name): value for name, value in official.items()}
    if missing := sorted(own.keys() - state.keys()):
        raise ToolError(f"{path} lacks {len(missing)} tensors of the network, {missing[0]} among them")
    if surplus := sorted(state.keys() - own.keys()):
        raise ToolError(f"{path} has {len(surplus)} tensors too many, {surplus[0]} among them")
    for name, value in state.items():
        if value.shape != own[name].shape:
            raise ToolError(f"{path}: {name} is {tuple(value.shape)}, not {tuple(own[name].shape)}")
    network.load_state_dict(state, assign=True)
    return network.eval()


def read_tensors(path: Path) -> dict[str, Any]:
    """All tensors of a checkpoint; a trainer's wrapping is taken off.

    Raises:
        ToolError: there is no such file, or it is no checkpoint of tensors.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise ToolError(f"there is no file {path}")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        read = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError, ValueError, RuntimeError, EOFError) as error:
        raise ToolError(f"{path} could not be read as a checkpoint: {error}") from error
    except Exception as error:  # pickle's own, of which some derive from Exception alone
        raise ToolError(f"{path} holds more than tensors, and is not opened: {error}") from error
    wrapped = read.get("state_dict", read) if isinstance(read, dict) else None
    if not wrapped or not all(isinstance(value, torch.Tensor) for value in wrapped.values()):
        raise ToolError(f"{path} is no checkpoint of named tensors")
    return wrapped


def _check_encoder(path: Path, carried: set[str], wanted: str | None) -> None:
    if wanted is not None and wanted not in SEMANTICS:
        raise ToolError(f"semantics by {wanted!r}: the official weights know {', '.join(SEMANTICS)}")
    if not carried or wanted is None:
        return
    found = "dinov2" if any(".pretrained." in name or ".blocks." in name for name in carried) else "moge2"
    if any(".encoder.backbone." in name for name in carried):
        found = "moge2"
    if found != wanted:
        raise ToolError(
            f"{path} carries the encoder {SEMANTICS[found]} and was trained with it, not with {wanted!r}"
        )


def _without_prefix(path: Path, tensors: Mapping[str, Any]) -> dict[str, Any]:
    mark = "x_embedder.proj.weight"
    prefix = next((prefix for prefix in PREFIXES if prefix + mark in tensors), None)
    if prefix is None:
        raise ToolError(
            f"{path} is no checkpoint of Pixel-Perfect Depth: it has no {mark}, with or without one of the "
            f"prefixes {', '.join(prefix for prefix in PREFIXES if prefix)}"
        )
    if strange := sorted(name for name in tensors if not name.startswith(prefix)):
        raise ToolError(f"{path} has {len(strange)} tensors beside {prefix}*, {strange[0]} among them")
    return {name[len(prefix) :]: value for name, value in tensors.items()}


def sizes(path: Path, official: Mapping[str, Any]) -> dict[str, Any]:
    """The network's sizes, read from its tensors.

    Raises:
        ToolError: one that tells a size is missing.
    """
    try:
        width, channels, inlet, _ = official["x_embedder.proj.weight"].shape
        head = official["blocks.0.attn.q_norm.weight"].shape[0]
        hidden = official["blocks.0.mlp.fc1.weight"].shape[0]
        fused = official["proj_fusion.0.weight"].shape[1]
        outlet = official["final_layer.linear.weight"].shape[0]
    except (KeyError, ValueError) as error:
        raise ToolError(
            f"{path} does not tell the network's sizes: {error} is missing or misshapen"
        ) from error
    patch = inlet // 2
    found: dict[str, Any] = {
        "in_channels": channels,
        "out_channels": outlet // patch**2,
        "hidden_size": width,
        "num_layers": _count(official, "blocks"),
        "num_heads": width // head,
        "patch_size": patch,
        "mlp_ratio": hidden / width,
        "semantic_dim": fused - width,
    }
    if "pos_embed" in official:
        side = round(official["pos_embed"].shape[1] ** 0.5)
        found["sample_size"] = side * inlet
        found["num_temporal_layers"] = _count(official, "temporal_blocks")
    return found


def _count(tensors: Mapping[str, Any], name: str) -> int:
    numbers = [int(found[1]) for key in tensors if (found := re.match(rf"{name}\.(\d+)\.", key))]
    return max(numbers, default=-1) + 1


def rename(path: Path, name: str) -> str:
    """Our name of an official tensor.

    Raises:
        ToolError: the network has no such tensor.
    """
    if name == "pos_embed":
        return name
    layer, _, end = name.rpartition(".")
    for theirs, ours in NAMES:
        if found := re.fullmatch(theirs, layer):
            return f"{found.expand(ours)}.{end}"
    raise ToolError(f"{path} has the tensor {name}, which is none of Pixel-Perfect Depth's")


def convert_official(
    official: Path,
    out: Path,
    semantic_encoder: str | None,
    config: Path | None = None,
    encoder: Path | None = None,
) -> Any:
    """Write an official checkpoint as safetensors and configuration into the folder `out`; gives the network.

    Args:
        official: the checkpoint.
        out: receives the network, or with `encoder` a whole pipeline.
        semantic_encoder: see `read_official`.
        config: a JSON file of sizes that must agree with the tensors'.
        encoder: the vision model that it was trained with; see `encoders.open_encoder`.

    Raises:
        ToolError: see `read_official`; `out` is there already, the sizes disagree, the encoder is none or
            gives tokens of another width, or the network is the video's.
    """
    if out.exists():
        raise ToolError(f"{out} is there already: name another folder, or remove it")
    network = read_official(official, semantic_encoder)
    if config is not None:
        told = json.loads(config.read_text("utf-8"))
        for name, value in told.items():
            if not name.startswith("_") and network.config.get(name) != value:
                raise ToolError(
                    f"{config} says {name} = {value!r}, and {official} has {network.config.get(name)!r}"
                )
    if encoder is None:
        network.save_pretrained(out)
    else:
        _save_pipeline(network, encoder, out)
    return network


def _save_pipeline(network: Any, encoder: Path, out: Path) -> None:
    from models.pixel_perfect_depth.encoders import open_encoder
    from models.pixel_perfect_depth.folders import new_scheduler
    from models.pixel_perfect_depth.modeling import PixelPerfectTransformer2DModel
    from models.pixel_perfect_depth.pipeline import PixelPerfectDepthPipeline

    if not isinstance(network, PixelPerfectTransformer2DModel):
        raise ToolError("the video network takes tokens of all frames together: convert it without --encoder")
    if network.config["semantic_encoder"] == "moge2":
        raise ToolError("MoGe-2's encoder is not known here: convert the network without --encoder")
    try:
        pipeline = PixelPerfectDepthPipeline(network, new_scheduler(), open_encoder(encoder))
    except ValueError as error:
        raise ToolError(f"{encoder}: {error}") from error
    pipeline.save_pretrained(out)

"""A denoiser as one safetensors file with the original key names, which ComfyUI and others read.

Tables say how a layer of diffusers is called there; what diffusers splits, such as queries, keys and values,
is joined again. Source: the names in Black Forest Labs' and Stability's checkpoints, as diffusers reads them.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from models.obs_diff.ldm_names import Rule, unet_rules
from models.obs_diff.narrowing import differing_widths
from models.tool import ToolError
from models.whole_file import whole_file

PREFIX = "model.diffusion_model."

_MLP = {"timestep_embedder": "time", "text_embedder": "vector", "guidance_embedder": "guidance"}

# Parts that are joined say [0], [1]; "~" swaps halves.
FLUX: tuple[Rule, ...] = (
    *(
        (rf"time_text_embed\.{ours}\.linear_{number}", f"{theirs}_in.{end}_layer")
        for ours, theirs in _MLP.items()
        for number, end in ((1, "in"), (2, "out"))
    ),
    ("context_embedder", "txt_in"),
    ("x_embedder", "img_in"),
    ("proj_out", "final_layer.linear"),
    (r"norm_out\.linear", "final_layer.adaLN_modulation.1~"),
    (r"transformer_blocks\.(\d+)\.norm1\.linear", r"double_blocks.\1.img_mod.lin"),
    (r"transformer_blocks\.(\d+)\.norm1_context\.linear", r"double_blocks.\1.txt_mod.lin"),
    *(
        (rf"transformer_blocks\.(\d+)\.attn\.{name}", rf"double_blocks.\1.{stream}_attn.qkv[{part}]")
        for stream, names in (
            ("img", ("to_q", "to_k", "to_v")),
            ("txt", ("add_q_proj", "add_k_proj", "add_v_proj")),
        )
        for part, name in enumerate(names)
    ),
    (r"transformer_blocks\.(\d+)\.attn\.to_out\.0", r"double_blocks.\1.img_attn.proj"),
    (r"transformer_blocks\.(\d+)\.attn\.to_add_out", r"double_blocks.\1.txt_attn.proj"),
    *(
        (
            rf"transformer_blocks\.(\d+)\.attn\.norm_{added}{letter}\.weight",
            rf"double_blocks.\1.{stream}_attn.norm.{word}_norm.scale",
        )
        for added, stream in (("", "img"), ("added_", "txt"))
        for letter, word in (("q", "query"), ("k", "key"))
    ),
    (r"transformer_blocks\.(\d+)\.ff\.net\.0\.proj", r"double_blocks.\1.img_mlp.0"),
    (r"transformer_blocks\.(\d+)\.ff\.net\.2", r"double_blocks.\1.img_mlp.2"),
    (r"transformer_blocks\.(\d+)\.ff_context\.net\.0\.proj", r"double_blocks.\1.txt_mlp.0"),
    (r"transformer_blocks\.(\d+)\.ff_context\.net\.2", r"double_blocks.\1.txt_mlp.2"),
    (r"single_transformer_blocks\.(\d+)\.norm\.linear", r"single_blocks.\1.modulation.lin"),
    *(
        (rf"single_transformer_blocks\.(\d+)\.{name}", rf"single_blocks.\1.linear1[{part}]")
        for part, name in enumerate((r"attn\.to_q", r"attn\.to_k", r"attn\.to_v", "proj_mlp"))
    ),
    (r"single_transformer_blocks\.(\d+)\.attn\.norm_q\.weight", r"single_blocks.\1.norm.query_norm.scale"),
    (r"single_transformer_blocks\.(\d+)\.attn\.norm_k\.weight", r"single_blocks.\1.norm.key_norm.scale"),
    (r"single_transformer_blocks\.(\d+)\.proj_out", r"single_blocks.\1.linear2"),
)

SD3: tuple[Rule, ...] = (
    (r"pos_embed\.pos_embed", "pos_embed"),
    (r"pos_embed\.proj", "x_embedder.proj"),
    (r"time_text_embed\.timestep_embedder\.linear_1", "t_embedder.mlp.0"),
    (r"time_text_embed\.timestep_embedder\.linear_2", "t_embedder.mlp.2"),
    (r"time_text_embed\.text_embedder\.linear_1", "y_embedder.mlp.0"),
    (r"time_text_embed\.text_embedder\.linear_2", "y_embedder.mlp.2"),
    ("context_embedder", "context_embedder"),
    ("proj_out", "final_layer.linear"),
    (r"norm_out\.linear", "final_layer.adaLN_modulation.1~"),
    (r"transformer_blocks\.(\d+)\.norm1\.linear", r"joint_blocks.\1.x_block.adaLN_modulation.1"),
    (
        r"transformer_blocks\.(\d+)\.norm1_context\.linear",
        r"joint_blocks.\1.context_block.adaLN_modulation.1",
    ),
    *(
        (rf"transformer_blocks\.(\d+)\.{name}", rf"joint_blocks.\1.{block}.{attention}.qkv[{part}]")
        for block, attention, names in (
            ("x_block", "attn", (r"attn\.to_q", r"attn\.to_k", r"attn\.to_v")),
            ("x_block", "attn2", (r"attn2\.to_q", r"attn2\.to_k", r"attn2\.to_v")),
            ("context_block", "attn", (r"attn\.add_q_proj", r"attn\.add_k_proj", r"attn\.add_v_proj")),
        )
        for part, name in enumerate(names)
    ),
    (r"transformer_blocks\.(\d+)\.(attn2?)\.to_out\.0", r"joint_blocks.\1.x_block.\2.proj"),
    (r"transformer_blocks\.(\d+)\.attn\.to_add_out", r"joint_blocks.\1.context_block.attn.proj"),
    (r"transformer_blocks\.(\d+)\.(attn2?)\.norm_([qk])", r"joint_blocks.\1.x_block.\2.ln_\3"),
    (r"transformer_blocks\.(\d+)\.attn\.norm_added_([qk])", r"joint_blocks.\1.context_block.attn.ln_\2"),
    (r"transformer_blocks\.(\d+)\.ff\.net\.0\.proj", r"joint_blocks.\1.x_block.mlp.fc1"),
    (r"transformer_blocks\.(\d+)\.ff\.net\.2", r"joint_blocks.\1.x_block.mlp.fc2"),
    (r"transformer_blocks\.(\d+)\.ff_context\.net\.0\.proj", r"joint_blocks.\1.context_block.mlp.fc1"),
    (r"transformer_blocks\.(\d+)\.ff_context\.net\.2", r"joint_blocks.\1.context_block.mlp.fc2"),
)
TABLES: dict[str, Callable[[Any], Sequence[Rule]]] = {
    "FluxTransformer2DModel": lambda denoiser: FLUX,
    "SD3Transformer2DModel": lambda denoiser: SD3,
    "UNet2DConditionModel": unet_rules,
}


def export_single_file(denoiser: Any, path: Path, metadata: Mapping[str, str] | None = None) -> int:
    """Write a denoiser's weights with their original names; gives the number of tensors.

    Raises:
        ToolError: there are no original names for this class or one of its layers, layers were narrowed,
            `path` is there already or cannot be written.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    kind = type(denoiser).__name__
    if kind not in TABLES:
        raise ToolError(f"a {kind} cannot be exported as one file; known: {', '.join(TABLES)}")
    with torch.device("meta"):
        dense = type(denoiser).from_config(denoiser.config)
    if differing_widths(denoiser, dense).linears:
        raise ToolError(
            "other programs build all blocks of one width, and this denoiser was pruned narrower: export one "
            "that was pruned unstructured or N:M"
        )
    if path.exists():
        raise ToolError(f"{path} is there already: name another file, or remove it")
    tensors = {PREFIX + name: tensor for name, tensor in original_weights(denoiser).items()}
    try:
        with whole_file(path) as new:
            save_file(tensors, new, metadata={"format": "pt", **(metadata or {})})
    except (OSError, SafetensorError) as error:
        raise ToolError(f"{path} could not be written: {error}") from error
    return len(tensors)


def original_weights(denoiser: Any) -> dict[str, Any]:
    """The state of a denoiser by the original names.

    Raises:
        ToolError: a layer has none.
    """
    import torch

    table = TABLES[type(denoiser).__name__](denoiser)
    # The last adaptive norms hold scale and shift the other way round.
    last = f"transformer_blocks.{len(denoiser.transformer_blocks) - 1}" if table is SD3 else ""
    parts: dict[str, dict[int, Any]] = {}
    for name, tensor in denoiser.state_dict().items():
        theirs = _rename(name, table)
        swapped = theirs.endswith("~") or name.startswith(f"{last}.norm1_context.linear.")
        layer, _, part = theirs.rstrip("~").partition("[")
        end = name.rpartition(".")[2] if not _whole(name, table) else ""
        key = f"{layer}.{end}" if end else layer
        value = torch.cat(tensor.chunk(2)[::-1]) if swapped else tensor
        parts.setdefault(key, {})[int(part.rstrip("]") or 0)] = value
    return {
        key: torch.cat([pieces[number] for number in sorted(pieces)]).contiguous().clone()
        for key, pieces in parts.items()
    }


def _whole(name: str, table: Sequence[Rule]) -> bool:
    """Whether a rule names this very tensor, and not its layer."""
    return any(re.fullmatch(pattern, name) for pattern, _ in table)


def _rename(name: str, table: Sequence[Rule]) -> str:
    layer = name if _whole(name, table) else name.rpartition(".")[0]
    for pattern, theirs in table:
        if found := re.fullmatch(pattern, layer):
            return found.expand(theirs)
    raise ToolError(f"{name} has no original name: this variant of the model cannot be exported as one file")

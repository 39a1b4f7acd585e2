"""One file with the original names: diffusers' own readers give the same weights back."""

from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.loaders import single_file_utils as readers
from safetensors.torch import load_file

from models.obs_diff.narrowing import set_linear
from models.obs_diff.single_file import export_single_file
from models.tool import ToolError
from tests.models.families import VARIANTS

UNET: dict[str, Any] = {
    "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
    "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
    "block_out_channels": (4, 8, 16, 16),
    "norm_num_groups": 2,
    "cross_attention_dim": 8,
    "attention_head_dim": 2,
}
"""The build of SD1.5 with few channels."""
XL: dict[str, Any] = UNET | {
    "down_block_types": ("DownBlock2D",) + ("CrossAttnDownBlock2D",) * 2,
    "up_block_types": ("CrossAttnUpBlock2D",) * 2 + ("UpBlock2D",),
    "block_out_channels": (4, 8, 16),
    "transformer_layers_per_block": (1, 2, 10),
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 4,
    "projection_class_embeddings_input_dim": 32,
}
"""The build of SDXL."""
UNETS: dict[str, tuple[dict[str, Any], int, tuple[str, ...]]] = {
    "sd15": (
        UNET,
        686,
        (
            "input_blocks.3.0.op.weight",
            "input_blocks.4.0.skip_connection.weight",
            "input_blocks.11.0.out_layers.3.weight",
            "middle_block.1.transformer_blocks.0.ff.net.0.proj.weight",
            "output_blocks.2.1.conv.weight",
            "output_blocks.5.2.conv.weight",
            "output_blocks.11.1.transformer_blocks.0.attn2.to_k.weight",
            "out.2.bias",
        ),
    ),
    "sdxl": (
        XL,
        1680,
        (
            "label_emb.0.0.weight",
            "input_blocks.8.1.transformer_blocks.9.ff.net.2.weight",
            "output_blocks.2.2.conv.weight",
            "output_blocks.8.0.skip_connection.weight",
        ),
    ),
    "sd2": (UNET | {"use_linear_projection": True}, 686, ("input_blocks.1.1.proj_in.weight",)),
    # SSD-1B and its kin leave blocks out.
    "without a middle": (UNET | {"mid_block_type": None}, 640, ("input_blocks.0.0.weight",)),
}
"""(config, tensors that the model of this build has, names among them)."""
READERS: dict[str, Any] = {
    "flux": readers.convert_flux_transformer_checkpoint_to_diffusers,
    "sd3": readers.convert_sd3_transformer_checkpoint_to_diffusers,
    "sd35": readers.convert_sd3_transformer_checkpoint_to_diffusers,
}


def denoiser(name: str) -> Any:
    torch.manual_seed(0)
    return VARIANTS[name]().transformer


def split_small(tensor: torch.Tensor, sizes: Any, dim: int = 0) -> Any:
    """The reader of Flux knows one width alone, 3072; these have 32."""
    return tuple(
        tensor.narrow(dim, start * 32, length * 32) for start, length in ((0, 1), (1, 1), (2, 1), (3, 4))
    )


@pytest.mark.parametrize("name", sorted(READERS))
def test_the_readers_of_diffusers_give_the_weights_back(name: str, tmp_path: Path) -> None:
    model = denoiser(name)
    file = tmp_path / "one.safetensors"
    number = export_single_file(model, file, {"maulstick.backend": name})
    read = load_file(file)
    assert len(read) == number and all(key.startswith("model.diffusion_model.") for key in read)
    with patch.object(readers.torch, "split", split_small):
        back = READERS[name](dict(read))
    own = model.state_dict()
    assert back.keys() == own.keys()
    for key, value in own.items():
        assert torch.equal(back[key], value), key


@pytest.mark.parametrize("name", sorted(UNETS))
def test_the_reader_of_diffusers_gives_unets_back(name: str, tmp_path: Path) -> None:
    config, number, known = UNETS[name]
    torch.manual_seed(0)
    unet = UNet2DConditionModel(sample_size=8, **config)
    file = tmp_path / "one.safetensors"
    assert export_single_file(unet, file) == number
    read = load_file(file)
    assert not {f"model.diffusion_model.{key}" for key in known} - read.keys()
    back = readers.convert_ldm_unet_checkpoint(dict(read), dict(unet.config))
    own: dict[str, torch.Tensor] = unet.state_dict()
    assert back.keys() == own.keys()
    for key, value in own.items():
        assert torch.equal(back[key], value), key


def test_layers_that_stable_diffusion_lacks_are_named(tmp_path: Path) -> None:
    file = tmp_path / "one.safetensors"
    config: dict[str, Any]
    for config, refused in (
        (UNET | {"time_cond_proj_dim": 4}, r"time_embedding\.cond_proj\.weight"),
        (UNET | {"encoder_hid_dim": 4}, r"encoder_hid_proj\.weight"),
        (
            UNET | {"down_block_types": ("SimpleCrossAttnDownBlock2D",) * 3 + ("DownBlock2D",)},
            r"down_blocks\.0\.attentions\.0\.group_norm\.weight",
        ),
    ):
        with pytest.raises(ToolError, match=f"^{refused} has no original name: this variant of the model"):
            export_single_file(UNet2DConditionModel(sample_size=8, **config), file)
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_exported(tmp_path: Path) -> None:
    file = tmp_path / "one.safetensors"
    with pytest.raises(
        ToolError, match="a Linear cannot be exported as one file; known: FluxTransformer2DModel"
    ):
        export_single_file(torch.nn.Linear(2, 2), file)
    model = denoiser("flux")
    export_single_file(model, file)
    with pytest.raises(ToolError, match="is there already: name another file"):
        export_single_file(model, file)
    layer = model.transformer_blocks[0].ff.net[2]
    set_linear(model, "transformer_blocks.0.ff.net.2", layer.weight[:, :64], layer.bias)
    with pytest.raises(
        ToolError, match="was pruned narrower: export one that was pruned unstructured or N:M"
    ):
        export_single_file(model, tmp_path / "two.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["one.safetensors"]

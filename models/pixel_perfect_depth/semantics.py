"""Semantic tokens of a picture, whatever vision model they come from: one row per token of the depth network.

Source: spec section 3. DINOv2's positions are interpolated as its authors do it, with a tenth of a cell
added to the grid; transformers leaves that out, and features differ by some per cent.
"""

from typing import Any

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor

from models.embedded.perception import STRIDE, CentreBackbone, PerceptionNetwork

MEAN, SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""ImageNet's, per channel."""
OFFSET = 0.1
"""What DINOv2's own code adds to the number of cells before it interpolates positions."""


class PerceptionSemantics(ModelMixin, ConfigMixin):
    """The features of the embedded critic: its backbone, frozen, without its heads.

    Args:
        width: of the backbone; see `models.embedded.perception`.
        depth: of the backbone.
        fold: so many cells a side make one token, their channels side by side: the critic sees cells of 8
            pixels, and a depth network's coarse tokens may be larger.
    """

    @register_to_config
    def __init__(self, width: int = 96, depth: int = 3, fold: int = 1) -> None:
        super().__init__()
        self.backbone = CentreBackbone(width, depth)

    @classmethod
    def of(cls, network: PerceptionNetwork, fold: int = 1) -> "PerceptionSemantics":
        """The backbone of a centre detector.

        Raises:
            ValueError: the network is of another architecture.
        """
        if network.config.architecture != "centre":
            raise ValueError(
                f"semantic tokens are read from a centre detector, not {network.config.architecture}"
            )
        made = cls(network.config.width, network.config.depth, fold)
        made.backbone.load_state_dict(network.backbone.state_dict())
        return made.eval()

    def tokens(self, pictures: Tensor, rows: int, columns: int) -> Tensor:
        """See `encode_semantics`."""
        fold = self.config["fold"]
        size = (rows * fold * STRIDE, columns * fold * STRIDE)
        if pictures.shape[-2:] != size:
            pictures = F.interpolate(pictures, size, mode="bilinear", align_corners=False, antialias=True)
        features = F.pixel_unshuffle(self.backbone((2 * pictures - 1).to(self.dtype)), fold)
        return features.flatten(2).transpose(1, 2)


def encode_semantics(encoder: Any, pictures: Tensor, rows: int, columns: int) -> Tensor:
    """Semantic tokens (N, rows * columns, C), row-major, not yet of unit length.

    Args:
        encoder: a `PerceptionSemantics`, or of transformers a Dinov2Model, a Dinov2WithRegistersModel, one of
            their backbones, or a Depth-Anything model, whose backbone is taken.
        pictures: (N, 3, H, W) in 0..1.
        rows: of the depth network's coarse grid.
        columns: of that grid.

    Raises:
        ValueError: there is no way to read this encoder.
    """
    if isinstance(encoder, PerceptionSemantics):
        return encoder.tokens(pictures, rows, columns)
    if hasattr(encoder, "backbone"):
        encoder = encoder.backbone
    if not hasattr(getattr(encoder, "embeddings", None), "position_embeddings"):
        raise ValueError(
            f"a {type(encoder).__name__} gives no semantic tokens: take a DINOv2, with registers or without, "
            "a Depth-Anything model, or the embedded critic's PerceptionSemantics"
        )
    return _dino_tokens(encoder, pictures, rows, columns)


def encoder_width(encoder: Any) -> int:
    """The channels of an encoder's tokens."""
    if isinstance(encoder, PerceptionSemantics):
        return int(encoder.config["width"]) * int(encoder.config["fold"]) ** 2
    return int(getattr(encoder, "backbone", encoder).config.hidden_size)


def dino_pixels(pictures: Tensor, rows: int, columns: int, patch: int = 14) -> Tensor:
    """What a DINOv2 is shown: normalised first, then resized by a cubic to whole patches."""
    mean = torch.tensor(MEAN, device=pictures.device, dtype=pictures.dtype).view(3, 1, 1)
    spread = torch.tensor(SPREAD, device=pictures.device, dtype=pictures.dtype).view(3, 1, 1)
    size = (rows * patch, columns * patch)
    return F.interpolate((pictures - mean) / spread, size, mode="bicubic", align_corners=False)


def interpolate_positions(positions: Tensor, rows: int, columns: int) -> Tensor:
    """Position embeddings (1, 1 + side^2, C), class token first, for a grid: (1, 1 + rows * columns, C)."""
    side = round((positions.shape[1] - 1) ** 0.5)
    if (rows, columns) == (side, side):
        return positions
    grid = positions[:, 1:].float().unflatten(1, (side, side)).permute(0, 3, 1, 2)
    scale = ((rows + OFFSET) / side, (columns + OFFSET) / side)
    resized = F.interpolate(grid, scale_factor=scale, mode="bicubic", align_corners=False)
    if resized.shape[-2:] != (rows, columns):
        raise ValueError(f"positions for {rows}x{columns} cells came out as {tuple(resized.shape[-2:])}")
    flat = resized.flatten(2).transpose(1, 2).to(positions.dtype)
    return torch.cat([positions[:, :1], flat], 1)


def _dino_tokens(encoder: Any, pictures: Tensor, rows: int, columns: int) -> Tensor:
    inlet = encoder.embeddings
    patch = inlet.patch_embeddings.patch_size
    patch = patch[0] if not isinstance(patch, int) else patch
    x = inlet.patch_embeddings(dino_pixels(pictures, rows, columns, patch))
    x = torch.cat([inlet.cls_token.expand(len(x), -1, -1), x], 1)
    x = x + interpolate_positions(inlet.position_embeddings, rows, columns)
    registers = getattr(inlet, "register_tokens", None)
    if registers is not None:
        x = torch.cat([x[:, :1], registers.expand(len(x), -1, -1), x[:, 1:]], 1)
    x = encoder.layernorm(encoder.encoder(x).last_hidden_state)
    return x[:, -rows * columns :]


def read_depth_anything(tensors: dict[str, Tensor], heads: int) -> Any:
    """The Dinov2Model of a Depth-Anything-V2 checkpoint (`pretrained.*` of depth_anything_v2_vit*.pth).

    Args:
        tensors: the checkpoint's; its depth head is left out.
        heads: of the attention: 6, 12 or 16 for the S, B and L models.

    Raises:
        KeyError: a tensor is missing.
    """
    from transformers import Dinov2Config, Dinov2Model

    own = {name[11:]: value for name, value in tensors.items() if name.startswith("pretrained.")}
    layers = 1 + max(int(name.split(".")[1]) for name in own if name.startswith("blocks."))
    width, _, patch, _ = own["patch_embed.proj.weight"].shape
    side = round((own["pos_embed"].shape[1] - 1) ** 0.5)
    config = Dinov2Config(
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        mlp_ratio=own["blocks.0.mlp.fc1.weight"].shape[0] // width,
        image_size=side * patch,
        patch_size=patch,
    )
    model = Dinov2Model(config)
    state: dict[str, Tensor] = {}
    for name, value in own.items():
        for ours, part in _dino_name(name, value):
            state[ours] = part
    model.load_state_dict(state)
    return model.eval()


_LAYERS: dict[str, str] = {
    "norm1": "norm1",
    "norm2": "norm2",
    "ls1.gamma": "layer_scale1.lambda1",
    "ls2.gamma": "layer_scale2.lambda1",
    "attn.proj": "attention.o_proj",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
}
_WHOLE: dict[str, str] = {
    "cls_token": "embeddings.cls_token",
    "mask_token": "embeddings.mask_token",
    "pos_embed": "embeddings.position_embeddings",
    "patch_embed.proj.weight": "embeddings.patch_embeddings.projection.weight",
    "patch_embed.proj.bias": "embeddings.patch_embeddings.projection.bias",
    "norm.weight": "layernorm.weight",
    "norm.bias": "layernorm.bias",
}


def _dino_name(name: str, value: Tensor) -> list[tuple[str, Tensor]]:
    if name in _WHOLE:
        return [(_WHOLE[name], value)]
    _, number, layer = name.split(".", 2)
    block = f"encoder.layer.{number}"
    if layer.startswith("attn.qkv."):
        end = layer.rpartition(".")[2]
        names = (f"{block}.attention.{letter}_proj.{end}" for letter in "qkv")
        return list(zip(names, value.chunk(3), strict=True))
    for theirs, ours in _LAYERS.items():
        if layer.startswith(theirs):
            return [(f"{block}.{ours}{layer[len(theirs) :]}", value)]
    raise KeyError(name)

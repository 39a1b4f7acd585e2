"""The method and what it is compared with: how each variant is built, what it minimises, how it predicts.

All have the same blocks in the same widths, and see the same pictures. Source: paper, ablations of section 4;
"latent" is Marigold's way (arXiv 2312.02145), depth painted in the latents of an autoencoder.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor

from models.embedded.painter import encode
from models.embedded.perception import STRIDE, PerceptionNetwork
from models.embedded.training.loop import Losses
from models.pixel_perfect_depth.folders import load_pipeline
from models.pixel_perfect_depth.losses import GRADIENT_WEIGHT, gradient_loss, training_loss, velocity_loss
from models.pixel_perfect_depth.modeling import PixelPerfectTransformer2DModel
from models.pixel_perfect_depth.normalisation import normalise
from models.pixel_perfect_depth.profiles import DepthProfile, Variant
from models.pixel_perfect_depth.schedule import TIMESTEPS, add_noise, draw_timesteps, steps_of, timestep_grid
from models.pixel_perfect_depth.semantics import PerceptionSemantics, encode_semantics
from models.tool import ToolError

LATENT_CHANNELS = 16


def build_network(
    recipe: DepthProfile, variant: Variant, semantic_dim: int
) -> PixelPerfectTransformer2DModel:
    """An untrained network of a profile's sizes."""
    latent = variant == "latent"
    return PixelPerfectTransformer2DModel(
        in_channels=2 * LATENT_CHANNELS if latent else 4,
        out_channels=LATENT_CHANNELS if latent else 1,
        hidden_size=recipe.width,
        num_layers=recipe.layers,
        num_coarse_layers=recipe.coarse,
        num_heads=recipe.heads,
        patch_size=1 if latent else recipe.patch,
        semantic_dim=0 if variant == "plain" else semantic_dim,
        cascade=variant not in ("flat", "latent"),
        semantic_encoder="critic" if variant != "plain" else None,
        prediction="sample" if variant == "direct" else "velocity",
    )


def build_encoder(recipe: DepthProfile, variant: Variant, critic: PerceptionNetwork) -> PerceptionSemantics:
    """The critic's backbone, with as many cells in a token as the variant's tokens are large."""
    fold = 2 * recipe.patch // STRIDE if variant in ("full", "plain", "direct") else 1
    return PerceptionSemantics.of(critic, fold)


@dataclass(frozen=True, slots=True)
class Batch:
    """Pictures (N, 3, S, S) in 0..1, normalised depths (N, 1, S, S), where they are known (1, else 0), and
    semantic tokens or None.
    """

    pictures: Tensor
    clean: Tensor
    mask: Tensor
    semantics: Tensor | None

    @classmethod
    @torch.no_grad()
    def of(
        cls, pictures: Tensor, depth: Tensor, mask: Tensor, encoder: PerceptionSemantics | None, token: int
    ) -> "Batch":
        """A batch of metric depths, known where `mask` says so; semantic tokens of `token` pixels."""
        tokens = None
        if encoder is not None:
            side = pictures.shape[-1] // max(token, STRIDE)
            tokens = encode_semantics(encoder, pictures, side, side)
        return cls(pictures, normalise(depth, mask), mask.to(depth.dtype), tokens)


def _diffusion_loss(network: Any, batch: Batch, noise: torch.Generator, second: bool, _vae: Any) -> Losses:
    clean = batch.clean
    at = draw_timesteps(len(clean), noise).to(clean.device)
    drawn = torch.randn(clean.shape, generator=noise).to(clean)
    noisy = add_noise(clean, drawn, at)
    inputs = torch.cat([noisy, batch.pictures - 0.5], 1)
    velocity = network(inputs, at, batch.semantics, return_dict=False)[0].float()
    return training_loss(velocity, noisy, clean, drawn, at, batch.mask, gradients=second)


def _direct_loss(network: Any, batch: Batch, _noise: torch.Generator, second: bool, _vae: Any) -> Losses:
    depth = regress(network, batch.pictures, batch.semantics).float()
    losses = {"depth": velocity_loss(depth, batch.clean, batch.mask)}
    if second:
        losses["gradients"] = GRADIENT_WEIGHT * gradient_loss(depth, batch.clean, batch.mask)
    return losses


def _latent_loss(network: Any, batch: Batch, noise: torch.Generator, _second: bool, vae: Any) -> Losses:
    with torch.no_grad():
        clean = depth_latents(vae, batch.clean)
        given = picture_latents(vae, batch.pictures)
    at = draw_timesteps(len(clean), noise).to(clean.device)
    drawn = torch.randn(clean.shape, generator=noise).to(clean)
    noisy = add_noise(clean, drawn, at)
    velocity = network(torch.cat([noisy, given], 1), at, batch.semantics, return_dict=False)[0].float()
    # A latent cell counts where all of its pixels are known.
    side = batch.mask.shape[-1] // clean.shape[-1]
    mask = -F.max_pool2d(-batch.mask, side).expand_as(clean)
    return {"velocity": velocity_loss(velocity, drawn - clean, mask)}


LOSSES: Mapping[Variant, Callable[..., Losses]] = {
    "full": _diffusion_loss,
    "plain": _diffusion_loss,
    "flat": _diffusion_loss,
    "direct": _direct_loss,
    "latent": _latent_loss,
}


def regress(network: Any, pictures: Tensor, semantics: Tensor | None) -> Tensor:
    """Depth in one pass, of the variant "direct": from no noise at all, at the last timestep."""
    inputs = torch.cat([torch.zeros_like(pictures[:, :1]), pictures - 0.5], 1)
    return network(inputs, TIMESTEPS, semantics, return_dict=False)[0]


def depth_latents(vae: AutoencoderKL, clean: Tensor) -> Tensor:
    """Normalised latents (N, 16, S / 8, S / 8) of normalised depths, painted as grey in -1..1."""
    return _scaled(vae, encode(vae, ((clean + 0.25) / 0.75).clamp(-1, 1).expand(-1, 3, -1, -1)))


def picture_latents(vae: AutoencoderKL, pictures: Tensor) -> Tensor:
    """The same of pictures in 0..1."""
    return _scaled(vae, encode(vae, 2 * pictures - 1))


def depth_of_latents(vae: AutoencoderKL, latents: Tensor) -> Tensor:
    """Normalised depths of normalised latents."""
    factor, shift = vae.config["scaling_factor"], vae.config["shift_factor"] or 0.0
    grey = vae.decoder(latents / factor + shift).mean(1, keepdim=True)
    return grey * 0.75 - 0.25


def _scaled(vae: AutoencoderKL, latents: Tensor) -> Tensor:
    return (latents - (vae.config["shift_factor"] or 0.0)) * vae.config["scaling_factor"]


def load_regression(folder: Path) -> tuple[PixelPerfectTransformer2DModel, PerceptionSemantics]:
    """A trained "direct" network and its encoder, to begin from.

    Raises:
        ToolError: the folder holds no such network.
    """
    pipeline = load_pipeline(folder)
    if pipeline.semantic_encoder is None:
        raise ToolError(f"{folder} holds a network without semantics: name what --variant direct trained")
    return pipeline.transformer, pipeline.semantic_encoder


def begin_from_regression(
    network: PixelPerfectTransformer2DModel,
    trained: PixelPerfectTransformer2DModel,
    variant: Variant = "full",
) -> None:
    """Give a network what a "direct" one has learnt. One that is "direct" itself goes on from there; one that
    diffuses sees depth then, and knows no noise yet.

    The regression's answer is x0 and the velocity is xT - x0: the outlet changes its sign, and the noise is
    let in by weights that begin at zero. Regression learns where things are in a fraction of the steps.

    Raises:
        ToolError: the trained network has other sizes.
    """
    try:
        network.load_state_dict(trained.state_dict())
    except RuntimeError as error:
        raise ToolError("the network to begin from has other sizes than this profile's") from error
    if variant == "direct":
        return
    with torch.no_grad():
        network.proj_out.weight.neg_()
        network.proj_out.bias.neg_()
        network.patch_embed.weight[:, : network.depth_channels].zero_()


def load_network(
    folder: Path, variant: Variant, critic: PerceptionNetwork
) -> tuple[PixelPerfectTransformer2DModel, PerceptionSemantics | None]:
    """A trained variant and the encoder that it was trained with, in float32; "latent" is saved without its
    own, which is the critic's.
    """
    if variant != "latent":
        pipeline = load_pipeline(folder)
        return pipeline.transformer, pipeline.semantic_encoder
    network = PixelPerfectTransformer2DModel.from_pretrained(
        folder / "transformer", torch_dtype=torch.float32, local_files_only=True
    )
    cells = network.token_size // STRIDE
    return network.eval(), PerceptionSemantics.of(critic, max(1, cells))


@torch.inference_mode()
def predict(
    variant: Variant,
    network: Any,
    encoder: PerceptionSemantics | None,
    vae: AutoencoderKL | None,
    pictures: Tensor,
    noise: torch.Generator,
    steps: int = 4,
) -> Tensor:
    """Relative depths (N, 1, S, S), about 0..1, of pictures (N, 3, S, S) in 0..1, whatever the variant."""
    tokens = None
    if encoder is not None:
        side = pictures.shape[-1] // max(network.token_size, STRIDE)
        tokens = encode_semantics(encoder, pictures, side, side)
    if variant == "direct":
        return regress(network, pictures, tokens).float() + 0.5
    given, shape = pictures - 0.5, (len(pictures), 1, *pictures.shape[-2:])
    if variant == "latent":
        assert vae is not None
        given = picture_latents(vae, pictures)
        shape = tuple(given.shape)
    latent = torch.randn(shape, generator=noise).to(pictures)
    prepared = network.prepare(given, tokens)
    grid = timestep_grid(steps)
    for (timestep, after), modulation in zip(steps_of(grid), network.modulate(grid), strict=True):
        velocity = network.denoise(latent, prepared, modulation).float()
        latent = latent + (after - timestep) / TIMESTEPS * velocity
    if variant == "latent":
        assert vae is not None
        latent = depth_of_latents(vae, latent)
    return latent + 0.5

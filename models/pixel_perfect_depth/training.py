"""Recipe of the embedded depth network and of what it is compared with: pictures of the diorama, exact depth.

Source: paper section 3.4 and the official trainer: velocity loss, logit-normal timesteps; in a second stage
the gradient loss at four scales. All variants see the same pictures, for as many steps, with equal widths.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL
from rich.progress import track
from torch import Tensor

from diorama.render import render
from diorama.vocabulary import load_vocabulary
from models.embedded.painter import encode
from models.embedded.perception import STRIDE, load_perceiver
from models.embedded.shards import SHARD_BYTES
from models.embedded.training.loop import Losses, Training, generator, optimisers, schedule, torch_generator
from models.embedded.training.precision import mixed
from models.embedded.training.stream import PictureStream, augment
from models.pixel_perfect_depth.folders import new_scheduler
from models.pixel_perfect_depth.losses import gradient_loss, training_loss, velocity_loss
from models.pixel_perfect_depth.modeling import PixelPerfectTransformer2DModel
from models.pixel_perfect_depth.normalisation import normalise
from models.pixel_perfect_depth.pipeline import PixelPerfectDepthPipeline
from models.pixel_perfect_depth.profiles import DEPTH, DepthProfile, ProfileName, Variant
from models.pixel_perfect_depth.schedule import TIMESTEPS, add_noise, draw_timesteps
from models.pixel_perfect_depth.semantics import PerceptionSemantics, encode_semantics, encoder_width

SEED, HELD_OUT_SEED = 606, 616
SIDE = 128
ADAM_ONLY = ("patch_embed", "time_embed", "norm", "proj_out", "modulation")
LATENT_CHANNELS = 16


@dataclass(frozen=True, slots=True)
class DepthPictures:
    """`rgb` uint8 (N, 3, S, S), `depth` float32 (N, 1, S, S), world units, `focal` (N,) in picture widths."""

    rgb: Tensor
    depth: Tensor
    focal: Tensor


def draw_pictures(stream: PictureStream, start: int, count: int) -> DepthPictures:
    """Scenes `start` to `start + count` of a stream with their depth."""
    scenes = [stream.scene(index)[0] for index in range(start, start + count)]
    rendering = render(scenes, SIDE, stream.device)
    assert rendering.depth is not None
    focal = torch.tensor([scene.camera.focal for scene in scenes])
    return DepthPictures(rendering.rgb, rendering.depth[:, None], focal)


class DepthCache:
    """Pictures of a stream with their depth, rendered once into files and read as needed."""

    def __init__(self, stream: PictureStream, folder: Path, count: int) -> None:
        self.stream, self.folder, self.count = stream, folder, count

    def fill(self, chunk: int = 48) -> None:
        """Render what is not there yet; a part of it that was stopped is begun again.

        Raises:
            ValueError: the folder holds pictures of another vocabulary or seed.
        """
        told = {"vocabulary": list(self.stream.vocabulary.shape_names), "seed": self.stream.seed}
        note = self.folder / "pictures.json"
        if note.is_file():
            before = json.loads(note.read_text("utf-8"))
            if {name: before[name] for name in told} != told:
                raise ValueError(
                    f"{self.folder} holds the pictures of another world: delete it, or take another --out"
                )
            if before["count"] >= self.count:
                return
        self.folder.mkdir(parents=True, exist_ok=True)
        rgb = np.lib.format.open_memmap(self.folder / "rgb.npy", "w+", np.uint8, (self.count, 3, SIDE, SIDE))
        depth = np.lib.format.open_memmap(
            self.folder / "depth.npy", "w+", np.float16, (self.count, 1, SIDE, SIDE)
        )
        for start in track(range(0, self.count, chunk), "pictures with depth"):
            drawn = draw_pictures(self.stream, start, min(chunk, self.count - start))
            rgb[start : start + len(drawn.rgb)] = drawn.rgb.cpu().numpy()
            depth[start : start + len(drawn.rgb)] = drawn.depth.cpu().numpy()
        rgb.flush()
        depth.flush()
        note.write_text(json.dumps({**told, "count": self.count}), "utf-8")

    def load(self) -> tuple[np.ndarray, np.ndarray]:
        """uint8 (N, 3, S, S) and float16 (N, 1, S, S), mapped from the files."""
        return (
            np.load(self.folder / "rgb.npy", mmap_mode="r"),
            np.load(self.folder / "depth.npy", mmap_mode="r"),
        )


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
    )


def train(
    profile: ProfileName,
    out: Path,
    *,
    critic: Path,
    variant: Variant = "full",
    autoencoder: Path | None = None,
    pictures: Path | None = None,
    steps: int | None = None,
    scenes: int | None = None,
    stop_at: int | None = None,
    resume: bool = True,
    device: str = "cpu",
    vocabulary: str | None = None,
) -> Path:
    """Train a depth network and save the pipeline in `out/depth`; returns that folder.

    Args:
        profile: sizes, vocabulary and length.
        out: receives pictures/, training.pt, log.jsonl and depth/.
        critic: folder of a trained critic, whose backbone gives the semantic tokens.
        variant: the method, or one of what it is compared with.
        autoencoder: folder of a trained autoencoder, for the variant "latent".
        pictures: where rendered pictures are kept, shared by several trainings (None: in `out`).
        steps: overrides the profile's length.
        scenes: overrides how many pictures are rendered.
        stop_at: pause after this step; nothing but the checkpoint is written then.
        resume: go on from what `out` holds.
        device: "cpu" or "cuda:0".
        vocabulary: overrides the profile's sub-vocabulary.

    Raises:
        ArtError: the vocabulary has cut-outs, and there is no whole sprite atlas.
        ForeignTraining: `out` holds the training of something else.
        ValueError: "latent" without an autoencoder, or foreign pictures.
    """
    recipe = DEPTH[profile]
    length = steps or recipe.steps
    stream = PictureStream(load_vocabulary(vocabulary or recipe.vocabulary), SEED, device=device)
    cache = DepthCache(stream, pictures or out / "pictures", scenes or recipe.scenes)
    cache.fill()
    rgb, depth = cache.load()
    torch.manual_seed(SEED)
    fold = 2 * recipe.patch // STRIDE if variant in ("full", "plain", "direct") else 1
    encoder = PerceptionSemantics.of(load_perceiver(critic).network, fold)
    encoder.to(device)  # pyright: ignore[reportArgumentType]
    vae = _load_autoencoder(autoencoder, device) if variant == "latent" else None
    network: Any = build_network(recipe, variant, encoder_width(encoder))
    network.to(device)
    training = Training(
        network, optimisers(network, recipe.rate, recipe.muon_rate, ADAM_ONLY), out, decay=0.998
    )
    if resume:
        training.resume()
    second = int(length * (1 - recipe.second))

    def loss_at(step: int) -> Losses:
        rows = np.sort(generator(SEED, step).integers(len(rgb), size=recipe.batch))
        noise = torch_generator(SEED, step)
        pictures = augment(torch.from_numpy(rgb[rows]).to(device), noise) / 2 + 0.5
        target = torch.from_numpy(depth[rows]).to(device).float()
        batch = Batch.of(pictures, target, encoder if variant != "plain" else None, network.token_size)
        with mixed(device, long=True):
            return LOSSES[variant](network, batch, noise, step >= second, vae)

    training.run(
        min(length, stop_at or length),
        loss_at,
        rate_at=lambda step: schedule(step, length, warmup=min(100, length // 10), decay=recipe.second),
        every=min(200, length),
    )
    if training.step < length:
        return out
    network = training.load_average()
    return save(network, None if variant == "plain" else encoder, variant, out / "depth")


@dataclass(frozen=True, slots=True)
class Batch:
    """Pictures (N, 3, S, S) in 0..1, normalised depths (N, 1, S, S), semantic tokens or None."""

    pictures: Tensor
    clean: Tensor
    semantics: Tensor | None

    @classmethod
    @torch.no_grad()
    def of(cls, pictures: Tensor, depth: Tensor, encoder: PerceptionSemantics | None, token: int) -> "Batch":
        """A batch of metric depths, every pixel of which is known; semantic tokens of `token` pixels."""
        tokens = None
        if encoder is not None:
            side = pictures.shape[-1] // max(token, STRIDE)
            tokens = encode_semantics(encoder, pictures, side, side)
        return cls(pictures, normalise(depth, torch.ones_like(depth)), tokens)


def _diffusion_loss(network: Any, batch: Batch, noise: torch.Generator, second: bool, _vae: Any) -> Losses:
    clean = batch.clean
    at = draw_timesteps(len(clean), noise).to(clean.device)
    drawn = torch.randn(clean.shape, generator=noise).to(clean)
    noisy = add_noise(clean, drawn, at)
    inputs = torch.cat([noisy, batch.pictures - 0.5], 1)
    velocity = network(inputs, at, batch.semantics, return_dict=False)[0].float()
    mask = torch.ones_like(clean)
    return training_loss(velocity, noisy, clean, drawn, at, mask, gradients=second)


def _direct_loss(network: Any, batch: Batch, _noise: torch.Generator, second: bool, _vae: Any) -> Losses:
    depth = regress(network, batch.pictures, batch.semantics).float()
    mask = torch.ones_like(batch.clean)
    losses = {"depth": velocity_loss(depth, batch.clean, mask)}
    if second:
        losses["gradients"] = 0.2 * gradient_loss(depth, batch.clean, mask)
    return losses


def _latent_loss(network: Any, batch: Batch, noise: torch.Generator, _second: bool, vae: Any) -> Losses:
    with torch.no_grad():
        clean = depth_latents(vae, batch.clean)
        given = picture_latents(vae, batch.pictures)
    at = draw_timesteps(len(clean), noise).to(clean.device)
    drawn = torch.randn(clean.shape, generator=noise).to(clean)
    noisy = add_noise(clean, drawn, at)
    velocity = network(torch.cat([noisy, given], 1), at, batch.semantics, return_dict=False)[0].float()
    return {"velocity": velocity_loss(velocity, drawn - clean, torch.ones_like(clean))}


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


def _load_autoencoder(folder: Path | None, device: str) -> AutoencoderKL:
    if folder is None:
        raise ValueError("the variant 'latent' paints latents of an autoencoder: name its folder")
    vae = AutoencoderKL.from_pretrained(folder, local_files_only=True, torch_dtype=torch.float32)
    return vae.to(device).eval().requires_grad_(False)  # pyright: ignore[reportArgumentType]


def save(network: Any, encoder: PerceptionSemantics | None, variant: Variant, folder: Path) -> Path:
    """Write a trained network in fp16: a pipeline, or for "direct" and "latent" the network alone."""
    network = network.cpu().half()
    if variant in ("direct", "latent"):
        network.save_pretrained(folder / "transformer", max_shard_size=SHARD_BYTES)
        return folder
    pipeline = PixelPerfectDepthPipeline(
        network, new_scheduler(), None if encoder is None else encoder.cpu().half(), None
    )
    pipeline.save_pretrained(folder, max_shard_size=SHARD_BYTES)
    return folder

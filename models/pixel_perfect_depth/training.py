"""Recipe of the embedded depth network and of what it is compared with: pictures of the diorama, exact depth.

Source: paper section 3.4 and the official trainer: velocity loss, logit-normal timesteps; in a second stage
the gradient loss at four scales. All variants see the same pictures, for as many steps, with equal widths.
"""

import json
from dataclasses import dataclass
from math import atan, degrees
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL
from rich.progress import track
from torch import Tensor

from diorama.render import render
from diorama.vocabulary import load_vocabulary
from models.embedded.perception import load_perceiver
from models.embedded.shards import SHARD_BYTES
from models.embedded.training.loop import Losses, Training, generator, optimisers, schedule, torch_generator
from models.embedded.training.precision import mixed
from models.embedded.training.stream import PictureStream, augment
from models.pixel_perfect_depth.folders import new_scheduler
from models.pixel_perfect_depth.normalisation import FAR
from models.pixel_perfect_depth.pipeline import PixelPerfectDepthPipeline
from models.pixel_perfect_depth.profiles import DEPTH, ProfileName, Variant
from models.pixel_perfect_depth.semantics import PerceptionSemantics, encoder_width
from models.pixel_perfect_depth.variants import LOSSES, Batch, build_encoder, build_network

SEED, HELD_OUT_SEED = 606, 616
SIDE = 128
FITTED = 1024
"""Pictures whose lines are looked at for the card."""
ADAM_ONLY = ("patch_embed", "time_embed", "norm", "proj_out", "modulation")


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
    encoder = build_encoder(recipe, variant, load_perceiver(critic).network)
    encoder.to(device)  # pyright: ignore[reportArgumentType]
    vae = load_autoencoder(autoencoder, device) if variant == "latent" else None
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
    folder = save(network, None if variant == "plain" else encoder, variant, out / "depth")
    note_lines(folder, depth[:FITTED], stream, vocabulary or recipe.vocabulary)
    return folder


def note_lines(folder: Path, depth: np.ndarray, stream: PictureStream, vocabulary: str) -> None:
    """Write card.json: what turns relative depths into the world's units on usual pictures, and the camera.

    Args:
        folder: of the trained network.
        depth: (N, 1, S, S) of training pictures, whose lines' medians are taken.
        stream: that they are of.
        vocabulary: its name.
    """
    logs = np.log1p(depth.astype(np.float64).reshape(len(depth), -1))
    shift, far = np.nanquantile(np.where(logs < np.log1p(FAR), logs, np.nan), [0.02, 0.98], axis=1)
    focal = stream.scene(0)[0].camera.focal
    card = {
        "scale": round(float(np.nanmedian(far - shift)), 4),
        "shift": round(float(np.nanmedian(shift)), 4),
        "view": round(degrees(2 * atan(0.5 / focal)), 2),
        "vocabulary": vocabulary,
    }
    (folder / "card.json").write_text(json.dumps(card, indent=2) + "\n", "utf-8")


def load_autoencoder(folder: Path | None, device: str = "cpu") -> AutoencoderKL:
    """A frozen autoencoder in float32.

    Raises:
        ValueError: no folder was named.
    """
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

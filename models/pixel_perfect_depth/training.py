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
from numpy.typing import NDArray
from rich.progress import track
from torch import Tensor

from diorama.render import render
from diorama.vocabulary import load_vocabulary
from diorama.world import WORLD
from models.embedded.perception import load_perceiver
from models.embedded.shards import SHARD_BYTES
from models.embedded.training.loop import Losses, Training, generator, optimisers, schedule, torch_generator
from models.embedded.training.precision import mixed
from models.embedded.training.stream import PictureStream, augment
from models.estimate_depth import GUESS
from models.pixel_perfect_depth.folders import new_scheduler
from models.pixel_perfect_depth.normalisation import FAR
from models.pixel_perfect_depth.pipeline import PixelPerfectDepthPipeline
from models.pixel_perfect_depth.profiles import DEPTH, ProfileName, Variant
from models.pixel_perfect_depth.rgbd import Rgbd, RgbdFolder, RgbdSource
from models.pixel_perfect_depth.semantics import PerceptionSemantics, encoder_width
from models.pixel_perfect_depth.variants import (
    LOSSES,
    Batch,
    begin_from_regression,
    build_encoder,
    build_network,
    load_regression,
)

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
        self._files: tuple[np.ndarray, np.ndarray] | None = None

    def __len__(self) -> int:
        return self.count

    def fill(self, chunk: int = 48) -> None:
        """Render what is not there yet; a part of it that was stopped is begun again.

        Raises:
            ValueError: the folder holds pictures of another vocabulary or seed, or of an earlier world.
        """
        told = {
            "vocabulary": list(self.stream.vocabulary.shape_names),
            "seed": self.stream.seed,
            "world": WORLD,
        }
        note = self.folder / "pictures.json"
        if note.is_file():
            before = json.loads(note.read_text("utf-8"))
            if {name: before.get(name) for name in told} != told:
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

    def read(self, rows: NDArray[np.integer], rng: np.random.Generator) -> Rgbd:
        """See `rgbd.RgbdSource`; all is known of these, and nothing is drawn at random."""
        if self._files is None:
            self._files = (
                np.load(self.folder / "rgb.npy", mmap_mode="r"),
                np.load(self.folder / "depth.npy", mmap_mode="r"),
            )
        rgb, depth = (torch.from_numpy(file[rows]) for file in self._files)
        return Rgbd(rgb, depth.float(), torch.ones(depth.shape, dtype=torch.bool))


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
    data: Path | None = None,
    start: Path | None = None,
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
        data: a folder of pictures with depth (see `rgbd`) to train on instead of the diorama.
        start: folder of a trained "direct" network of these sizes, which "full" then learns to diffuse from,
            and "direct" goes on from; its semantic encoder goes with it.

    Raises:
        ArtError: the vocabulary has cut-outs, and there is no whole sprite atlas.
        ForeignTraining: `out` holds the training of something else.
        ToolError: `data` holds no such pictures, or one that cannot be read; `start` holds no such network.
        ValueError: "latent" without an autoencoder, or foreign pictures.
    """
    recipe = DEPTH[profile]
    length = steps or recipe.steps
    words = vocabulary or recipe.vocabulary
    source: RgbdSource
    if data is None:
        stream = PictureStream(load_vocabulary(words), SEED, device=device)
        source = DepthCache(stream, pictures or out / "pictures", scenes or recipe.scenes)
        source.fill()
    else:
        source = RgbdFolder(data, SIDE)
    torch.manual_seed(SEED)
    trained = None
    if start is None:
        encoder = build_encoder(recipe, variant, load_perceiver(critic).network)
    else:
        trained, encoder = load_regression(start)
    encoder.to(device)  # pyright: ignore[reportArgumentType]
    vae = load_autoencoder(autoencoder, device) if variant == "latent" else None
    network: Any = build_network(recipe, variant, encoder_width(encoder))
    if trained is not None:
        begin_from_regression(network, trained, variant)
    network.to(device)
    training = Training(
        network, optimisers(network, recipe.rate, recipe.muon_rate, ADAM_ONLY), out, decay=0.998
    )
    if resume:
        training.resume()
    second = int(length * (1 - recipe.second))

    def loss_at(step: int) -> Losses:
        rng, noise = generator(SEED, step), torch_generator(SEED, step)
        taken = source.read(np.sort(rng.integers(len(source), size=recipe.batch)), rng)
        shown = augment(taken.rgb.to(device), noise) / 2 + 0.5
        known = taken.depth.to(device), taken.mask.to(device)
        batch = Batch.of(shown, *known, encoder if variant != "plain" else None, network.token_size)
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
    note_lines(folder, source, words if data is None else None)
    return folder


def note_lines(folder: Path, source: RgbdSource, vocabulary: str | None) -> None:
    """Write card.json: what makes metric depths of relative ones on usual pictures, and their camera.

    Args:
        folder: of the trained network.
        source: training pictures, the medians of whose lines are taken.
        vocabulary: of the diorama's pictures; None for others, whose camera nobody knows.
    """
    lines: list[tuple[float, float]] = []
    for start in range(0, min(FITTED, len(source)), 16):
        rows = np.arange(start, min(start + 16, FITTED, len(source)))
        taken = source.read(rows, generator(SEED, start, 1))
        for depth, mask in zip(taken.depth, taken.mask & (taken.depth < FAR), strict=True):
            near, far = np.quantile(np.log1p(depth[mask].double().numpy()), [0.02, 0.98])
            lines.append((float(far - near), float(near)))
    scale, shift = np.median(np.array(lines), 0)
    card: dict[str, object] = {"scale": round(float(scale), 4), "shift": round(float(shift), 4)}
    if vocabulary is None:
        card["view"] = GUESS.view
    else:
        focal = PictureStream(load_vocabulary(vocabulary), SEED).scene(0)[0].camera.focal
        card |= {"view": round(degrees(2 * atan(0.5 / focal)), 2), "vocabulary": vocabulary}
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
    """Write a trained network in fp16: a pipeline, or for "latent" the network alone."""
    network = network.cpu().half()
    if encoder is not None:
        encoder.register_to_config(_name_or_path="")  # where it was taken from says nothing elsewhere
    if variant == "latent":
        network.save_pretrained(folder / "transformer", max_shard_size=SHARD_BYTES)
        return folder
    pipeline = PixelPerfectDepthPipeline(
        network, new_scheduler(), None if encoder is None else encoder.cpu().half(), None
    )
    pipeline.save_pretrained(folder, max_shard_size=SHARD_BYTES)
    return folder

"""Pictures as latents, rendered and encoded once and kept in shards; each step of the painter draws from
them.

A shard holds `latents` fp16 (N, 16, 16, 16), normalised as Flux expects, and per token of the painter's 8x8
grid the share of its pixels on any thing (`cover`, uint8 of 255) and the class of most of those (`shape`,
`colour`; 255 for none), the world's entry that the picture shows (`index`, int64), the class of its setting
(`setting`, uint8) and the things in it (`things`, see `list_things`). With a `teller`, `captions` (N, K, T)
too.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file
from torch import Tensor

from diorama.graph import MAX_THINGS
from diorama.scene import Scene
from diorama.truth import Seen
from diorama.vocabulary import Vocabulary
from models.embedded.painter import encode
from models.embedded.training.loop import generator
from models.embedded.training.precision import mixed
from models.embedded.training.stream import PictureStream

SHARD = 1000
TOKENS = 8
"""Side of the painter's token grid."""
NONE = 255
CHECKED = 4
"""Pictures of a shard that are made again to see whose it is."""


class ForeignLatents(ValueError):
    """Latents that were made of other pictures than the captions speak of."""


Teller = Callable[[Mapping[str, Tensor], np.random.Generator], Tensor]
"""Draws the captions (N, K, T) of a shard's pictures."""


class LatentCache:
    """Shards 0 to `scenes / SHARD` of a stream in a folder. Any process may add the ones that are missing."""

    def __init__(
        self, stream: PictureStream, folder: Path, scenes: int, teller: Teller | None = None
    ) -> None:
        self.stream = stream
        self.teller = teller
        self.folder = folder
        self.shards = max(1, scenes // SHARD)
        self.size = min(SHARD, scenes)

    def path(self, shard: int) -> Path:
        """Where a shard is, or will be."""
        return self.folder / f"{shard:05d}.safetensors"

    def fill(
        self, autoencoder: AutoencoderKL, device: str = "cpu", done: Callable[[int], None] | None = None
    ) -> None:
        """Make every shard that is not there yet. Processes that fill one folder together claim shards by a
        lock file.

        Raises:
            ForeignLatents: a shard that is there is of another world or another autoencoder.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self._check(autoencoder, device)
        for shard in range(self.shards):
            claim = self.path(shard).with_suffix(".claim")
            if self.path(shard).exists() or not _claim(claim):
                continue
            temporary = self.path(shard).with_suffix(f".{os.getpid()}")
            made = self._make(shard, autoencoder, device)
            if self.teller is not None:
                made["captions"] = self.teller(made, generator(self.stream.seed, shard, 11))
            save_file(made, temporary)
            os.replace(temporary, self.path(shard))
            claim.unlink()
            if done is not None:
                done(shard)

    def found(self) -> list[int]:
        """The shards that are there."""
        return [shard for shard in range(self.shards) if self.path(shard).exists()]

    def _check(self, autoencoder: AutoencoderKL, device: str) -> None:
        """Make the first pictures of the first and the last shard anew, and see that they are the same.

        Captions come from the world and pictures from here: a painter that is shown pictures of another world
        than its captions' learns to ignore what it reads, and no loss tells.
        """
        found = self.found()
        for shard in sorted({*found[:1], *found[-1:]}):
            kept = {name: value[:CHECKED] for name, value in load_file(self.path(shard)).items()}
            made = self._make_rows(shard * self.size, len(kept["latents"]), autoencoder, device)
            told = self.teller is None or "captions" in kept
            if not told or not all(name in kept and _alike(kept[name], made[name]) for name in made):
                raise ForeignLatents(
                    f"{self.path(shard)} does not hold what this world and this autoencoder give: "
                    f"delete {self.folder}, or train in another --out"
                )

    def _make(self, shard: int, autoencoder: AutoencoderKL, device: str) -> dict[str, Tensor]:
        step = 20 if device == "cpu" else 500
        rows = [
            self._make_rows(shard * self.size + start, min(step, self.size - start), autoencoder, device)
            for start in range(0, self.size, step)
        ]
        return {name: torch.cat([row[name] for row in rows]).contiguous() for name in rows[0]}

    @torch.inference_mode()
    def _make_rows(
        self, start: int, count: int, autoencoder: AutoencoderKL, device: str
    ) -> dict[str, Tensor]:
        batch = self.stream.batch(start, count)
        with mixed(device):  # twice as fast; latents of spread 1 move by .006 on average
            latents = encode_pictures(autoencoder, batch.rgb.to(device))
        return {
            "latents": latents.half().cpu(),
            "index": torch.tensor(batch.indices),
            "setting": list_settings(self.stream.vocabulary, batch.scenes),
            "things": list_things(self.stream.vocabulary, batch.seen),
            **token_classes(self.stream.vocabulary, batch.ids.cpu().long(), batch.seen),
        }


def encode_pictures(autoencoder: AutoencoderKL, rgb: Tensor) -> Tensor:
    """Latents (N, 16, S/8, S/8), normalised as Flux expects, of pictures (N, 3, S, S) in bytes."""
    shift, scale = float(autoencoder.config["shift_factor"]), float(autoencoder.config["scaling_factor"])
    return (encode(autoencoder, rgb.float() / 127.5 - 1) - shift) * scale


def _alike(kept: Tensor, made: Tensor) -> bool:
    """Equal, up to the rounding of another device: a pixel on an edge, the last bits of a latent."""
    difference = (kept.double() - made.double()).abs()
    return bool((difference > 0.05).double().mean() < 0.02)


def token_classes(words: Vocabulary, ids: Tensor, seen: Sequence[Sequence[Seen]]) -> dict[str, Tensor]:
    """Cover, shape and colour per token, each uint8 (N, 8, 8), from instance ids (N, S, S)."""
    count, side = len(ids), ids.shape[-1] // TOKENS
    most = max(len(things) for things in seen)
    share = torch.stack([F.avg_pool2d((ids == k).float(), side) for k in range(most)], 1)
    top, winner = share.max(1)
    shapes = torch.full((count, most), NONE, dtype=torch.long)
    colours = torch.full((count, most), NONE, dtype=torch.long)
    for n, things in enumerate(seen):
        for k, thing in enumerate(things):
            shapes[n, k] = words.shape_names.index(thing.shape)
            if thing.colour in words.colour_names:  # a natural look may have none
                colours[n, k] = words.colour_names.index(thing.colour)
    row = torch.arange(count).view(-1, 1, 1).expand_as(winner)
    here = top > 0.08
    return {
        "cover": (share.sum(1) * 255).round().to(torch.uint8),
        "shape": torch.where(here, shapes[row, winner], NONE).to(torch.uint8),
        "colour": torch.where(here, colours[row, winner], NONE).to(torch.uint8),
    }


def list_settings(words: Vocabulary, scenes: Sequence[Scene]) -> Tensor:
    """uint8 (N,): the classes of the settings."""
    return torch.tensor([words.setting_names.index(scene.setting) for scene in scenes], dtype=torch.uint8)


def list_things(words: Vocabulary, seen: Sequence[Sequence[Seen]]) -> Tensor:
    """float32 (N, MAX_THINGS, 9): the classes of shape, colour, pattern and size, the box in fractions of the
    picture, and the distance. The shape is -1 where there is no further thing, the colour NONE where no word
    names it.
    """
    result = torch.full((len(seen), MAX_THINGS, 9), -1.0)
    for row, things in enumerate(seen):
        for place, thing in enumerate(things):
            named = thing.colour in words.colour_names
            result[row, place] = torch.tensor(
                [
                    words.shape_names.index(thing.shape),
                    words.colour_names.index(str(thing.colour)) if named else NONE,
                    words.pattern_names.index(thing.pattern),
                    words.size_names.index(thing.size),
                    *thing.box,
                    thing.distance,
                ]
            )
    return result


def _claim(path: Path) -> bool:
    """Take a claim for this process, or one that a dead process left."""
    try:
        with path.open("x", encoding="ascii") as file:
            file.write(str(os.getpid()))
        return True
    except FileExistsError:
        owner = path.read_text("ascii")
        if owner and not Path(f"/proc/{owner}").exists():
            path.write_text(str(os.getpid()), "ascii")
            return True
        return False

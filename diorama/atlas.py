"""The sprite atlas: one file with every drawing's texels and where they come from.

A file of NumPy's zip format: `texels`, uint8 [sprites, channels, SIDE, SIDE], and `manifest`, JSON with a
hash of each sprite. `make sprites` writes it (`diorama.art`); it is read once per process, and only where a
scene has a cut-out.
"""

import hashlib
import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cache
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from torch import Tensor
from torch.nn import functional

from diorama.drawings import Drawing, Split, drawings_of
from diorama.vocabulary import Vocabulary

ATLAS_PATH = Path(__file__).parent.parent / ".cache" / "sprites.npz"
"""Where `make sprites` writes: in the clone, ignored by git."""

SIDE = 128
"""Texels of a sprite's side."""

LONGEST = 120
"""Texels of the longer side of what is drawn; the rest is a clear border, so that no edge is cut off."""

LEVELS = 4
"""Each further level of detail has half the texels a side."""


class ArtError(ValueError):
    """Art cannot be had; the message is one line that says what is wrong and the way out."""


class Channel(IntEnum):
    """What a texel holds."""

    RED = 0
    GREEN = 1
    BLUE = 2
    ALPHA = 3
    HEIGHT = 4
    """Relief: 0 at the outline, 255 nearest to the viewer."""
    MAIN = 5
    """Share of main surface, which a recolouring changes."""
    TONE = 6
    """Lightness of the main surface (see `recolouring`)."""


class Entry(BaseModel):
    """A sprite in the manifest. `width` and `height` are texels of what is drawn."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    width: int
    height: int
    sha256: str


class Credit(BaseModel):
    """Where sprites come from, and what the licence wants said."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    package: str
    version: str
    sha256: str
    licence: str
    author: str
    notice: str


class Manifest(BaseModel):
    """What lies in an atlas, in the order of its texels."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sprites: tuple[Entry, ...]
    credits: tuple[Credit, ...]


@dataclass(frozen=True, eq=False)
class Atlas:
    """Sprites ready to be sampled; see `Texels`."""

    manifest: Manifest
    planes: NDArray[np.uint8]
    """[sprites, channels, SIDE, SIDE]"""
    index: Mapping[str, int] = field(init=False)
    _texels: dict[torch.device, "Texels"] = field(init=False, default_factory=dict[torch.device, "Texels"])

    def __post_init__(self) -> None:
        """Index the names."""
        names = {entry.name: row for row, entry in enumerate(self.manifest.sprites)}
        object.__setattr__(self, "index", names)

    def row(self, drawing: Drawing) -> int:
        """The drawing's position in the atlas.

        Raises:
            ArtError: it is not there, or was made with other proportions.
        """
        row = self.index.get(drawing.name)
        if row is None:
            raise ArtError(f"the sprite atlas lacks {drawing.name}: make sprites")
        entry = self.manifest.sprites[row]
        # The shorter side is a whole number of texels.
        if abs(entry.width - drawing.aspect * entry.height) > 1.0 + 0.01 * entry.width:
            raise ArtError(
                f"{drawing.name} is {entry.width} x {entry.height} in the sprite atlas, so its aspect is no "
                f"{drawing.aspect}: write {entry.width / entry.height:.3f} in diorama/drawings.toml, then "
                "make sprites"
            )
        return row

    def texels(self, device: torch.device) -> "Texels":
        """All sprites at all levels of detail on a device; made once for each."""
        if device not in self._texels:
            self._texels[device] = Texels.of(self.planes, device)
        return self._texels[device]


@dataclass(frozen=True, slots=True)
class Texels:
    """Sprites at `LEVELS` levels as flat tables; level l of sprite i starts at `start[l] + i * side[l]^2`.

    Colours, main surface and tone are multiplied by alpha, so that a mean of texels is one of what is
    visible.
    """

    table: Tensor
    """uint8 [texels, 8]: the channels and one unused."""
    alpha: Tensor
    """uint8 [texels], the same alphas alone: most rays need no more."""
    start: tuple[int, ...]
    side: tuple[int, ...]

    @classmethod
    def of(cls, planes: NDArray[np.uint8], device: torch.device) -> "Texels":
        """From full-size planes; means of four texels make the next level."""
        share = torch.from_numpy(planes).float()  # pyright: ignore[reportUnknownMemberType]
        alpha = share[:, Channel.ALPHA : Channel.ALPHA + 1] / 255.0
        level = torch.cat(
            [share[:, : Channel.ALPHA] * alpha, alpha * 255.0, share[:, Channel.HEIGHT :]], dim=1
        )
        level[:, Channel.MAIN :] *= alpha
        level = torch.cat([level, torch.zeros_like(level[:, : 8 - len(Channel)])], dim=1)
        tables: list[Tensor] = []
        start: list[int] = []
        side: list[int] = []
        for _ in range(LEVELS):
            start.append(sum(len(table) for table in tables))
            side.append(level.shape[-1])
            tables.append(level.round().to(torch.uint8).permute(0, 2, 3, 1).reshape(-1, 8))
            level = functional.avg_pool2d(level, 2)
        table = torch.cat(tables).to(device)
        return cls(table, table[:, Channel.ALPHA].contiguous(), tuple(start), tuple(side))


def save_atlas(path: Path, planes: NDArray[np.uint8], manifest: Manifest) -> None:
    """Write an atlas whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial.npz")
    np.savez_compressed(partial, texels=planes, manifest=np.array(manifest.model_dump_json()))
    partial.replace(path)


def load_atlas(path: Path = ATLAS_PATH) -> Atlas:
    """Read and check an atlas.

    Raises:
        ArtError: there is none, or it is damaged.
    """
    if not path.is_file():
        raise ArtError(f"there is no sprite atlas at {path}, and cut-outs are drawn from it: make sprites")
    try:
        # NumPy leaves a file that it opened itself open when it is no archive.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            planes: NDArray[np.uint8] = archive["texels"]
            manifest = Manifest.model_validate(json.loads(str(archive["manifest"])))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ArtError(f"the sprite atlas {path} is damaged: delete it, then make sprites") from error
    if planes.dtype != np.uint8 or planes.shape != (len(manifest.sprites), len(Channel), SIDE, SIDE):
        raise ArtError(f"the sprite atlas {path} is of another version: delete it, then make sprites")
    for entry, sprite in zip(manifest.sprites, planes, strict=True):
        if digest(sprite) != entry.sha256:
            raise ArtError(
                f"the sprite atlas {path} is damaged at {entry.name}: delete it, then make sprites"
            )
    return Atlas(manifest, planes)


@cache
def the_atlas() -> Atlas:
    """The atlas at `ATLAS_PATH`, read once per process.

    Raises:
        ArtError: there is none, or it is damaged.
    """
    return load_atlas()


def check_art(vocabulary: Vocabulary) -> None:
    """See that every drawing of the vocabulary's cut-outs can be drawn, before any work starts.

    A vocabulary without cut-outs needs no atlas, and none is read then.

    Raises:
        ArtError: the atlas is missing or damaged, or lacks one of the drawings.
    """
    cutouts = [shape.name for shape in vocabulary.shapes if shape.kind == "cutout"]
    for name in cutouts:
        for drawing in drawings_of(name, get_args(Split)):
            the_atlas().row(drawing)


def digest(sprite: NDArray[np.uint8]) -> str:
    """Hash of a sprite's planes."""
    return hashlib.sha256(np.ascontiguousarray(sprite).tobytes()).hexdigest()

"""Pictures with depth, as training reads them: rows of a source, whatever it is, and folders as one source.

A folder holds `rgb/NAME.png` (or .jpg, .jpeg) and for each of them `depth/NAME.png`, 16 bits of grey in
millimetres with 0 for unknown, or `depth/NAME.npy`, float metres along the optical axis with 0, NaN or
infinity for unknown. Knows no network.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from models.pixel_perfect_depth.pictures import open_picture
from models.pixel_perfect_depth.resizing import resize_picture
from models.tool import ToolError

PICTURES = (".png", ".jpg", ".jpeg")
DEPTHS = (".npy", ".png")
MILLIMETRES = 1000.0


@dataclass(frozen=True, slots=True)
class Rgbd:
    """`rgb` uint8 (N, 3, S, S), `depth` float32 (N, 1, S, S), `mask` of that shape: where it is known."""

    rgb: Tensor
    depth: Tensor
    mask: Tensor


class RgbdSource(Protocol):
    """Pictures with depth by number."""

    def __len__(self) -> int: ...

    def read(self, rows: NDArray[np.integer], rng: np.random.Generator) -> Rgbd:
        """Some of them, sorted; what is drawn at random (a crop) comes from `rng`."""
        ...


class RgbdFolder:
    """A folder of pictures with depth; their shorter sides are resized to `side`, and squares cut out.

    Args:
        folder: see the module.
        side: of the squares in pixels.

    Raises:
        ToolError: there are no pictures, or one has no depth.
    """

    def __init__(self, folder: Path, side: int) -> None:
        self.side = side
        names = sorted(path for path in (folder / "rgb").glob("*") if path.suffix.lower() in PICTURES)
        if not names:
            raise ToolError(
                f"{folder / 'rgb'} holds no pictures ({', '.join(PICTURES)}): a folder to train on has "
                "rgb/NAME.png, and depth/NAME.png (16 bits, millimetres) or depth/NAME.npy (metres)"
            )
        self._pairs = [(path, _find_depth(folder / "depth", path.stem)) for path in names]

    def __len__(self) -> int:
        return len(self._pairs)

    def read(self, rows: NDArray[np.integer], rng: np.random.Generator) -> Rgbd:
        """See `RgbdSource`.

        Raises:
            ToolError: a file cannot be read, picture and depth have other proportions, or no depth is known.
        """
        read = [self._read_one(*self._pairs[int(row)], rng) for row in rows]
        rgb, depth, mask = (torch.stack(parts) for parts in zip(*read, strict=True))
        return Rgbd(rgb, depth, mask)

    def _read_one(
        self, picture: Path, depth: Path, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        opened, known = open_picture(picture), read_depth(depth)
        if abs(opened.width / opened.height - known.shape[1] / known.shape[0]) > 0.02:
            raise ToolError(
                f"{picture} is {opened.width}x{opened.height} and {depth} {known.shape[1]}x{known.shape[0]}: "
                "they are not of one picture"
            )
        scale = self.side / min(opened.size)
        height, width = (max(self.side, round(scale * length)) for length in (opened.height, opened.width))
        rgb = (resize_picture(opened, height, width) * 255).round().to(torch.uint8)
        whole = F.interpolate(torch.from_numpy(known)[None, None], (height, width), mode="nearest-exact")[0]
        top, left = int(rng.integers(height - self.side + 1)), int(rng.integers(width - self.side + 1))
        square = (..., slice(top, top + self.side), slice(left, left + self.side))
        cut = whole[square]
        mask = torch.isfinite(cut) & (cut > 0)
        if not bool(mask.any()):
            raise ToolError(f"no depth is known in a square of {depth}: leave this picture out")
        return rgb[square], torch.where(mask, cut, 0.0), mask


def read_depth(path: Path) -> NDArray[np.float32]:
    """Metres (H, W); 0, NaN or infinity where nothing is known.

    Raises:
        ToolError: the file cannot be read, or holds something else.
    """
    try:
        if path.suffix == ".npy":
            depth = np.load(path, allow_pickle=False)
        else:
            with Image.open(path) as opened:
                if not opened.mode.startswith("I"):
                    raise ToolError(
                        f"{path} is in mode {opened.mode}: depth is 16 bits of grey, in millimetres"
                    )
                depth = np.asarray(opened, np.float32) / MILLIMETRES
    except (OSError, ValueError, EOFError) as error:
        raise ToolError(f"{path} is no depth that can be read: {error}") from error
    if depth.ndim != 2 or not np.issubdtype(depth.dtype, np.floating):
        raise ToolError(f"{path} holds {depth.dtype} {depth.shape}: depth is float metres (height, width)")
    return depth.astype(np.float32)


def _find_depth(folder: Path, name: str) -> Path:
    for suffix in DEPTHS:
        if (path := folder / f"{name}{suffix}").is_file():
            return path
    raise ToolError(f"{folder} has neither {' nor '.join(name + suffix for suffix in DEPTHS)}")

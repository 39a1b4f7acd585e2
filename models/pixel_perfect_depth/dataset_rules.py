"""How each depth benchmark is read: units, crops, sizes and ranges.

Source: spec section 8, whose numbers are those of the official evaluation; cameras from the datasets' own
documentation. Knows neither lists nor networks.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import sobel

from models.pixel_perfect_depth.geometry import Intrinsics, unproject
from models.pixel_perfect_depth.listings import DatasetName, Entry
from models.pixel_perfect_depth.pictures import open_picture
from models.tool import ToolError

Depths = NDArray[np.float32]
Masks = NDArray[np.bool_]

KB_CROP = (352, 1216)
"""(height, width) of KITTI's benchmark: the lowest rows, the middle columns."""
BOX = (0.3324324, 0.91351351, 0.0359477, 0.96405229)
"""Upper, lower, left and right end of what counts in KITTI, as shares. These are the official code's numbers;
BTS and Marigold call them Eigen's box, and Garg's begins at .408."""
ETH3D_SIZE, ETH3D_LOOKED_AT = (4032, 6048), (1360, 2048)
"""(height, width) of the files, and what both picture and depth are resized to."""
STEEPEST = 0.3
"""Metres: DIODE's pixels with a larger |Sobel x| + |Sobel y| are taken for laser points at edges."""
NYU_SIZE, NYU_CAMERA = (480, 640), Intrinsics(518.857901, 519.469611, 325.582449 - 0.5, 253.736166 - 0.5)
"""The camera of the dataset's toolbox, which counts pixel centres from one."""
HYPERSIM_VIEW = 60.0
"""Degrees across. A few scenes have tilted lenses; no evaluation regards that, nor does this one."""


@dataclass(frozen=True, slots=True)
class Raw:
    """What a dataset's files hold, in the size that is evaluated.

    `depth` is in metres (H, W), `camera` of that size; `mask` says which pixels may count,
    whatever their depth (None: all).
    """

    picture: Image.Image
    depth: Depths
    camera: Intrinsics | None = None
    mask: Masks | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """How a dataset is read: depths between `near` and `far` metres count, both ends too if it is `closed`.

    `listed` pictures are in the official list, 0 where there is none.
    """

    listed: int
    near: float
    far: float
    read: Callable[[Entry], Raw]
    closed: bool = False

    def counts(self, depth: Depths) -> Masks:
        """Which depths (H, W) are known and in range."""
        if self.closed:
            return np.isfinite(depth) & (depth >= self.near) & (depth <= self.far)
        return np.isfinite(depth) & (depth > self.near) & (depth < self.far)


def read_levels(path: Path, per_metre: float) -> Depths:
    """Metres (H, W) of a PNG with 16 bits of grey.

    Raises:
        ToolError: the file cannot be read, or is no such PNG.
    """
    try:
        with Image.open(path) as opened:
            mode, levels = opened.mode, np.asarray(opened)
    except (OSError, ValueError, SyntaxError) as error:
        raise ToolError(f"{path} is no depth that can be read: {error}") from error
    if not mode.startswith("I"):
        raise ToolError(f"{path} is in mode {mode}: depth is 16 bits of grey here, {per_metre:g} a metre")
    return levels.astype(np.float32) / np.float32(per_metre)


def read_array(path: Path) -> NDArray[Any]:
    """A NumPy file without its axes of length one.

    Raises:
        ToolError: it is none.
    """
    try:
        return np.load(path, allow_pickle=False).squeeze()
    except (OSError, ValueError, EOFError) as error:
        raise ToolError(f"{path} is no NumPy array that can be read: {error}") from error


def read_hdf5(path: Path) -> Depths:
    """Hypersim's array of a file, which it calls "dataset".

    Raises:
        ToolError: h5py is not installed, or the file cannot be read.
    """
    try:
        h5py: Any = import_module("h5py")
    except ImportError as error:
        raise ToolError(
            f"{path} is HDF5, which needs h5py: `pip install h5py`, or make PNGs in millimetres of it as "
            "Marigold's preprocessing does"
        ) from error
    try:
        with h5py.File(path, "r") as file:
            return np.asarray(file["dataset"], np.float32)
    except (OSError, KeyError) as error:
        raise ToolError(f"{path} is no HDF5 file of Hypersim: {error}") from error


def plane_depth(distance: Depths, camera: Intrinsics) -> Depths:
    """Depths along the optical axis (H, W) of distances along each pixel's ray."""
    rays = unproject(np.ones_like(distance), camera)
    return (distance / np.linalg.norm(rays, axis=-1)).astype(np.float32)


def nearest(values: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    """Values (H, W) in another size: of each new pixel's centre the old pixel that it lies in."""
    rows = ((np.arange(height) + 0.5) * values.shape[0] / height).astype(int)
    columns = ((np.arange(width) + 0.5) * values.shape[1] / width).astype(int)
    return values[rows][:, columns]


def _open_beside(entry: Entry, depth: Depths) -> Image.Image:
    """The picture, which must have the depth's size."""
    picture = open_picture(entry.picture)
    if depth.shape != (picture.height, picture.width):
        shape = " x ".join(map(str, depth.shape[::-1]))
        raise ToolError(
            f"{entry.picture} is {picture.width} x {picture.height} and {entry.depth} {shape}: they are not "
            "of one edition of the dataset"
        )
    return picture


def _read_nyuv2(entry: Entry) -> Raw:
    depth = read_levels(entry.depth, 1000)
    return Raw(_open_beside(entry, depth), depth, NYU_CAMERA if depth.shape == NYU_SIZE else None)


def _read_kitti(entry: Entry) -> Raw:
    depth = read_levels(entry.depth, 256)
    picture = _open_beside(entry, depth)
    height, width = KB_CROP
    top, left = depth.shape[0] - height, (depth.shape[1] - width) // 2
    if top < 0 or left < 0:
        raise ToolError(
            f"{entry.depth} is {depth.shape[1]} x {depth.shape[0]}: KITTI's benchmark cuts {width} x "
            f"{height} out of it; use the files as distributed"
        )
    inside = np.zeros(KB_CROP, bool)
    inside[int(BOX[0] * height) : int(BOX[1] * height), int(BOX[2] * width) : int(BOX[3] * width)] = True
    cut = picture.crop((left, top, left + width, top + height))
    return Raw(cut, depth[top:, left : left + width], mask=inside)


def _read_eth3d(entry: Entry) -> Raw:
    wanted = ETH3D_SIZE[0] * ETH3D_SIZE[1] * 4
    if (size := entry.depth.stat().st_size) != wanted:
        raise ToolError(
            f"{entry.depth} has {size:,} bytes: ETH3D's ground truth is {wanted:,} bytes of raw float32 "
            f"({ETH3D_SIZE[1]} x {ETH3D_SIZE[0]}) under the picture's name; this may be the picture itself"
        )
    depth = np.fromfile(entry.depth, "<f4").reshape(ETH3D_SIZE)
    height, width = ETH3D_LOOKED_AT
    picture = _open_beside(entry, depth).resize((width, height), Image.Resampling.BOX)
    return Raw(picture, nearest(depth, height, width))


def _read_scannet(entry: Entry) -> Raw:
    depth = read_levels(entry.depth, 1000)
    picture = open_picture(entry.picture)
    if abs(picture.width / picture.height - depth.shape[1] / depth.shape[0]) > 0.02:
        raise ToolError(
            f"{entry.picture} is {picture.width} x {picture.height} and {entry.depth} {depth.shape[1]} x "
            f"{depth.shape[0]}: they have other proportions, and are not of one picture"
        )
    return Raw(picture, depth, _scannet_camera(entry.depth.parents[1] / "intrinsic" / "intrinsic_depth.txt"))


def _scannet_camera(path: Path) -> Intrinsics | None:
    """What the dataset's exporter writes beside the pictures; None where it was not asked to."""
    if not path.is_file():
        return None
    try:
        rows = [[float(word) for word in line.split()] for line in path.read_text("utf-8").splitlines()]
        return Intrinsics(rows[0][0], rows[1][1], rows[0][2], rows[1][2])
    except (ValueError, IndexError) as error:
        raise ToolError(
            f"{path} is no matrix of a camera ({error}): take it away or export it anew"
        ) from error


def _read_diode(entry: Entry) -> Raw:
    assert entry.mask is not None
    depth, known = read_array(entry.depth), read_array(entry.mask)
    for path, array in ((entry.depth, depth), (entry.mask, known)):
        if array.ndim != 2 or array.shape != depth.shape or array.dtype.kind not in "fiub":
            raise ToolError(
                f"{path} holds {array.dtype} {array.shape}: DIODE has a number a pixel, in depth and mask"
            )
    depth = depth.astype(np.float32)
    steep = np.abs(sobel(depth, 0)) + np.abs(sobel(depth, 1))
    return Raw(_open_beside(entry, depth), depth, mask=(known == 1) & (steep <= STEEPEST))


def _read_hypersim(entry: Entry) -> Raw:
    along_ray = entry.depth.suffix == ".hdf5"
    depth = read_hdf5(entry.depth) if along_ray else read_levels(entry.depth, 1000)
    picture = _open_beside(entry, depth)
    camera = Intrinsics.of_view(picture.width, picture.height, HYPERSIM_VIEW)
    return Raw(picture, plane_depth(depth, camera) if along_ray else depth, camera)


RULES: dict[DatasetName, Rule] = {
    "nyuv2": Rule(654, 0.1, 10, _read_nyuv2),
    "kitti": Rule(652, 0.1, 80, _read_kitti),
    "eth3d": Rule(454, 0.01, inf, _read_eth3d),
    "scannet": Rule(800, 0.01, 10, _read_scannet),
    "diode": Rule(771, 0.6, 350, _read_diode, closed=True),
    "hypersim": Rule(0, 0.1, 65, _read_hypersim),
}

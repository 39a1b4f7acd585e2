"""Depth maps to points: intrinsics, unprojection, and points that hang in the air alone.

Axes as in computer vision: x to the right, y down, z away; in the unit of the depth. Source: spec section 6;
pixel centres lie at half pixels here, which the official code leaves out.
"""

from dataclasses import dataclass
from math import radians, tan
from typing import Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial import KDTree

Floats = NDArray[np.floating]
Masks = NDArray[np.bool_]

EXIF_IFD, FOCAL_35MM = 0x8769, 0xA405
FILM_DIAGONAL = 43.2666
"""Of a 36 x 24 mm film, in millimetres."""


@dataclass(frozen=True, slots=True)
class Intrinsics:
    """A pinhole: focal lengths and principal point in pixels, from the picture's upper left corner."""

    fx: float
    fy: float
    cx: float
    cy: float

    def __post_init__(self) -> None:
        if not (self.fx > 0 and self.fy > 0):
            raise ValueError(f"focal lengths are above 0 pixels, not {self.fx:g} and {self.fy:g}")

    @classmethod
    def of_view(cls, width: int, height: int, degrees: float) -> Self:
        """From the horizontal field of view.

        Raises:
            ValueError: it is not between 0 and 180 degrees.
        """
        if not 0 < degrees < 180:
            raise ValueError(f"a field of view is between 0 and 180 degrees, not {degrees:g}")
        focal = width / 2 / tan(radians(degrees) / 2)
        return cls(focal, focal, width / 2, height / 2)

    @classmethod
    def of_exif(cls, picture: Image.Image) -> Self | None:
        """From the focal length in terms of 35 mm film; None where the picture does not tell it."""
        told = picture.getexif().get_ifd(EXIF_IFD).get(FOCAL_35MM)
        if not told or float(told) <= 0:
            return None
        width, height = picture.size
        focal = float(told) / FILM_DIAGONAL * float(np.hypot(width, height))
        return cls(focal, focal, width / 2, height / 2)

    def resized(self, across: float, down: float) -> Self:
        """For the picture scaled by these factors."""
        return type(self)(self.fx * across, self.fy * down, self.cx * across, self.cy * down)


@dataclass(frozen=True, slots=True)
class PointCloud:
    """Points (P, 3) in the unit of the depth with colours (P, 3) as uint8."""

    points: NDArray[np.float32]
    colours: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.points)


def unproject(depth: Floats, camera: Intrinsics, *, pixel_centres: bool = True) -> NDArray[np.float64]:
    """Points (H, W, 3) of z-depths (H, W).

    Args:
        depth: along the optical axis, not along the ray.
        camera: of this very size.
        pixel_centres: whether pixel (0, 0) looks through (0.5, 0.5); the official code: (0, 0).
    """
    height, width = depth.shape
    offset = 0.5 if pixel_centres else 0.0
    u, v = np.meshgrid(np.arange(width) + offset, np.arange(height) + offset)
    z = depth.astype(np.float64)
    return np.stack([(u - camera.cx) / camera.fx * z, (v - camera.cy) / camera.fy * z, z], -1)


def point_cloud(
    depth: Floats,
    camera: Intrinsics,
    picture: NDArray[np.uint8],
    mask: Masks | None = None,
    *,
    neighbours: int = 20,
    deviations: float | None = 3.0,
) -> PointCloud:
    """The cloud of a depth map (H, W) with the colours of a picture (H, W, 3) of that size.

    Args:
        depth: z-depths; what is not finite or not above 0 makes no point.
        camera: of this size.
        picture: RGB.
        mask: pixels to use (None: all).
        neighbours: of the outlier removal.
        deviations: points farther from their neighbours than so many standard deviations above the mean go
            (None: all stay).

    Raises:
        ValueError: the sizes differ, or no point is left.
    """
    if depth.shape != picture.shape[:2]:
        raise ValueError(f"a depth of {depth.shape} and a picture of {picture.shape[:2]} are not of one size")
    valid = np.isfinite(depth) & (depth > 0)
    if mask is not None:
        valid &= mask
    if not valid.any():
        raise ValueError("no pixel of this depth is valid: there are no points")
    points = unproject(depth, camera)[valid].astype(np.float32)
    colours = picture[valid]
    if deviations is not None and len(points) > neighbours:
        stays = near_others(points, neighbours, deviations)
        points, colours = points[stays], colours[stays]
    return PointCloud(points, colours)


def near_others(points: Floats, neighbours: int = 20, deviations: float = 3.0) -> Masks:
    """Which points (P, 3) lie no farther from their `neighbours` nearest ones than is usual: (P,).

    Usual is the mean of that distance over all points plus `deviations` standard deviations.
    """
    distances, _ = KDTree(points).query(points, neighbours + 1)
    apart = np.asarray(distances)[:, 1:].mean(1)
    return apart <= apart.mean() + deviations * apart.std()

"""A depth map in another size without mixing what is near with what is far.

Between two surfaces there is nothing: a mean of both depths is a point in the air, a flying pixel. Nearest
keeps every depth that there is; guided looks at the picture to decide on which side of an edge a pixel lies.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Resampling = Literal["nearest", "guided", "bilinear"]
RESAMPLINGS: tuple[Resampling, ...] = ("nearest", "guided", "bilinear")
SHARPNESS = 60.0
"""How much a squared colour difference of one weighs against a squared distance of one cell."""


def resample(depth: Tensor, size: tuple[int, int], how: Resampling, picture: Tensor | None = None) -> Tensor:
    """A depth (N, 1, h, w) in another size.

    Args:
        depth: any values.
        size: (H, W).
        how: "bilinear" mixes depths over edges, and so brings flying pixels back.
        picture: (N, 3, H, W) in 0..1, in the new size; "guided" looks at it.

    Raises:
        ValueError: an unknown way, or a guided one without a picture of that size.
    """
    if how not in RESAMPLINGS:
        raise ValueError(f"depth is resized by {', '.join(RESAMPLINGS)}, not {how!r}")
    if tuple(depth.shape[-2:]) == size:
        return depth
    if how == "bilinear":
        return F.interpolate(depth, size, mode="bilinear", align_corners=False)
    if how == "nearest" or size[0] < depth.shape[-2]:
        return F.interpolate(depth, size, mode="nearest-exact")
    if picture is None or tuple(picture.shape[-2:]) != size:
        raise ValueError(f"a guided resizing to {size} looks at the picture in that size; none was given")
    return _guided(depth, size, picture)


def _guided(depth: Tensor, size: tuple[int, int], picture: Tensor) -> Tensor:
    """Of the nine nearest depths, the one whose own colour is most like the pixel's: never a mean.

    Near in place counts as well, so that within a surface nothing moves by more than a cell.
    """
    h, w = depth.shape[-2:]
    small = F.interpolate(picture, (h, w), mode="area")
    rows = (torch.arange(size[0], device=depth.device) + 0.5) * h / size[0] - 0.5
    columns = (torch.arange(size[1], device=depth.device) + 0.5) * w / size[1] - 0.5
    best: Tensor | None = None
    chosen = depth.new_zeros(*depth.shape[:2], *size)
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            y = (rows.round() + down).clamp(0, h - 1).long()
            x = (columns.round() + right).clamp(0, w - 1).long()
            apart = (rows - y)[:, None].square() + (columns - x)[None].square()
            differs = (small[:, :, y][..., x] - picture).square().sum(1, keepdim=True)
            cost = SHARPNESS * differs + apart
            value = depth[:, :, y][..., x]
            if best is None:
                best, chosen = cost, value
            else:
                chosen = torch.where(cost < best, value, chosen)
                best = torch.minimum(best, cost)
    return chosen

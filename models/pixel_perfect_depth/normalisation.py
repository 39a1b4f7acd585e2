"""Depth as the network paints it: the logarithm of depth + 1, between its 2 % and 98 % quantiles.

Source: paper section 3.1 and the official training code, which clamps below at half a range under the near
quantile and above at the far one. Depths are in metres, or in any one unit.
"""

import torch
from torch import Tensor

FAR = 80.0
"""Depths from here on do not count for the quantiles, and saturate."""


def normalise(depth: Tensor, mask: Tensor) -> Tensor:
    """Training targets in -1..0.5 (N, 1, H, W) of depths of that shape.

    Pixels outside of `mask` (bool, or 0 and 1) are transformed as well; a loss is to leave them out. A
    constant depth becomes -0.5 everywhere.

    Raises:
        ValueError: a picture has no valid pixel nearer than FAR.
    """
    log = torch.log(depth + 1)
    rows = [_normalise_one(row, (depth[i] < FAR) & mask[i].bool(), i) for i, row in enumerate(log)]
    return torch.stack(rows)


def _normalise_one(log: Tensor, valid: Tensor, number: int) -> Tensor:
    inside = log[valid]
    if not inside.numel():
        raise ValueError(f"picture {number} of the batch has no valid depth below {FAR:g}: leave it out")
    low, high = torch.quantile(inside, torch.tensor([0.02, 0.98], dtype=log.dtype, device=log.device))
    if high - low < 1e-6:
        high = low + 1e-6
    return ((log - low) / (high - low)).clamp(-0.5, 1.0) - 0.5

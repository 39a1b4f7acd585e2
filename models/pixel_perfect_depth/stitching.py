"""Windows of a video and how their depths become one sequence (arXiv 2601.05246).

Windows are 16 frames long. The first three frames of each but the first are frames 0, 8 and 15 of the one
before: by what both say of them, a line maps the later window onto the earlier. Two crashes of the official
code are not here: clips of three frames or fewer are padded like all other short ones.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.pixel_perfect_depth.alignment import scale_and_shift

WINDOW = 16
KEYS = (0, 8, 15)
"""Frames of a window that the next one begins with."""
STRIDE = WINDOW - len(KEYS)


def windows(frames: int) -> list[list[int]]:
    """Which frames each window shows. The tail is padded with the last frame.

    Raises:
        ValueError: there are no frames.
    """
    if frames < 1:
        raise ValueError("a video without frames has no depth")
    found = [[min(number, frames - 1) for number in range(WINDOW)]]
    done = WINDOW
    while done < frames:
        before = found[-1]
        new = [min(number, frames - 1) for number in range(done, done + STRIDE)]
        found.append([*(before[key] for key in KEYS), *new])
        done += STRIDE
    return found


def stitch(depths: Sequence[NDArray[np.floating]], frames: int | None = None) -> NDArray[np.floating]:
    """One sequence (frames, H, W) of windows of relative depths (16, H, W), each in a scale of its own.

    `frames` cuts the padding off; None keeps it.

    Raises:
        ValueError: there is no window, or one has another length.
    """
    if not depths:
        raise ValueError("there are no windows to stitch")
    if wrong := next((depth.shape for depth in depths if len(depth) != WINDOW), None):
        raise ValueError(f"windows hold {WINDOW} frames, one here is {wrong}")
    aligned = [depths[0].astype(np.float32)]
    for depth in depths[1:]:
        known = aligned[-1][list(KEYS)]
        scale, shift = scale_and_shift(depth[: len(KEYS)], known)
        mapped = (scale * depth + shift).astype(np.float32)
        mapped[: len(KEYS)] = known
        aligned.append(mapped)
    whole = np.concatenate([aligned[0], *(depth[len(KEYS) :] for depth in aligned[1:])])
    return whole if frames is None else whole[:frames]

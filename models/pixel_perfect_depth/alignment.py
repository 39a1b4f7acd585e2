"""A relative depth to a metric one: a line in log space, robust against wild pixels, the same each time.

Source: spec section 6 and its list of defects: the official fit draws from a global random state, tries one
to three times, and falls back on a mixture of logarithms and relative values. Here the fit is seeded RANSAC
and then iteratively reweighted least squares with Huber's weights, and it says how it went.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Masks = NDArray[np.bool_]
Method = Literal["robust", "huber", "ransac", "least_squares"]
METHODS: tuple[Method, ...] = ("robust", "huber", "ransac", "least_squares")
TRIALS = 200
HUBER = 1.345
"""Residuals beyond so many robust standard deviations count less."""


class AlignmentError(ValueError):
    """There is nothing that a line could be fitted to."""


@dataclass(frozen=True, slots=True)
class Alignment:
    """ln(depth + 1) = scale * relative + shift."""

    scale: float
    shift: float
    method: Method
    inliers: float
    """The share of pixels within three robust standard deviations of the line."""

    def metric(self, relative: Floats) -> Floats:
        """Depth in the reference's unit; values below zero are possible where the line runs there."""
        return np.exp(self.scale * relative + self.shift) - 1


def align(
    relative: Floats, reference: Floats, mask: Masks | None = None, method: Method = "robust", seed: int = 0
) -> Alignment:
    """Fit a relative depth to a reference.

    Args:
        relative: any shape; what the network painted, + 0.5.
        reference: depths of that shape, above -1, in metres or any unit.
        mask: valid pixels; not finite ones never are.
        method: "robust" is RANSAC, then Huber on its inliers; the others are one of the two, or plain.
        seed: of RANSAC's draws.

    Raises:
        AlignmentError: fewer than two valid pixels, a relative depth without any extent, or one that falls
            as the reference rises: then it is no depth of this picture.
    """
    if relative.shape != reference.shape:
        raise AlignmentError(f"a depth of {relative.shape} cannot be fitted to one of {reference.shape}")
    valid = np.isfinite(relative) & np.isfinite(reference) & (reference > -1)
    if mask is not None:
        valid &= mask.astype(bool)
    x, y = relative[valid].astype(np.float64), np.log1p(reference[valid].astype(np.float64))
    if len(x) < 2:
        raise AlignmentError(f"{len(x)} valid pixels are too few to fit a line: two at least")
    if np.ptp(x) < 1e-9:
        raise AlignmentError("the relative depth is the same everywhere: there is no line to fit")
    line, near = _least_squares(x, y, np.ones_like(x)), np.ones(len(x), bool)
    if method in ("robust", "ransac"):
        line, near = _ransac(x, y, seed)
    if method in ("robust", "huber"):
        # Of RANSAC's inliers alone: Huber's weights never reach zero, and wild pixels that all lie on one
        # side would pull the line with them.
        line = _huber(x[near], y[near], line)
    residuals = np.abs(y - line[0] * x - line[1])
    if line[0] <= 0:
        raise AlignmentError(
            f"the relative depth falls as the reference rises (slope {line[0]:.3g}): they are of two pictures"
        )
    inliers = float(np.mean(residuals <= 3 * _spread(residuals)))
    return Alignment(line[0], line[1], method, inliers)


def _least_squares(x: Floats, y: Floats, weights: Floats) -> tuple[float, float]:
    total = weights.sum()
    mean_x, mean_y = (weights * x).sum() / total, (weights * y).sum() / total
    variance = (weights * (x - mean_x) ** 2).sum()
    slope = float((weights * (x - mean_x) * (y - mean_y)).sum() / variance) if variance > 0 else 0.0
    return slope, float(mean_y - slope * mean_x)


def _ransac(x: Floats, y: Floats, seed: int) -> tuple[tuple[float, float], Masks]:
    """The line through two pixels that most pixels are near, fitted again to those, and which those are."""
    rng = np.random.default_rng(seed)
    threshold = max(float(np.median(np.abs(y - np.median(y)))), 1e-6) / 4
    few = rng.permutation(len(x))[:20_000]
    best, most = _least_squares(x, y, np.ones_like(x)), -1
    for _ in range(TRIALS):
        one, other = rng.integers(len(x), size=2)
        if abs(x[one] - x[other]) < 1e-9:
            continue
        slope = float((y[one] - y[other]) / (x[one] - x[other]))
        line = slope, float(y[one] - slope * x[one])
        near = int((np.abs(y[few] - line[0] * x[few] - line[1]) < threshold).sum())
        if near > most:
            best, most = line, near
    near = np.abs(y - best[0] * x - best[1]) < threshold
    if near.sum() <= 2:
        return best, np.ones(len(x), bool)
    return _least_squares(x[near], y[near], np.ones(int(near.sum()))), near


def _huber(x: Floats, y: Floats, line: tuple[float, float]) -> tuple[float, float]:
    for _ in range(50):
        residuals = np.abs(y - line[0] * x - line[1])
        limit = HUBER * _spread(residuals)
        weights = np.minimum(1.0, limit / np.maximum(residuals, 1e-12))
        new = _least_squares(x, y, weights)
        if abs(new[0] - line[0]) + abs(new[1] - line[1]) < 1e-10:
            return new
        line = new
    return line


def _spread(residuals: Floats) -> float:
    """A standard deviation that outliers hardly move: 1.4826 times the median, 1e-9 at least."""
    return max(1.4826 * float(np.median(residuals)), 1e-9)


def scale_and_shift(prediction: Floats, target: Floats) -> tuple[float, float]:
    """The plain least-squares scale and shift of one array to another, in closed form."""
    x, y = prediction.astype(np.float64).ravel(), target.astype(np.float64).ravel()
    return _least_squares(x, y, np.ones_like(x))

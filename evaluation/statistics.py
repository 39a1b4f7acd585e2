"""Shares with their uncertainty: bootstrap over prompts, paired where two arms are compared.

Prompts, not pictures, are drawn again: pictures of one prompt are not independent.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

DRAWS = 2000
LEVEL = 0.95


class Interval(BaseModel):
    """A mean with the central 95 % of its bootstrap distribution."""

    model_config = ConfigDict(frozen=True)

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


def bootstrap(values: Sequence[float], seed: int = 0) -> Interval:
    """The mean of one value per prompt. For a paired difference pass one difference per prompt.

    Raises:
        ValueError: there are no values.
    """
    array: NDArray[np.float64] = np.asarray(values, dtype=np.float64)
    return bootstrap_over(len(array), lambda rows: float(array[rows].mean()), seed)


def bootstrap_over(count: int, statistic: Callable[[NDArray[np.intp]], float], seed: int = 0) -> Interval:
    """A statistic of `count` prompts: given indices of prompts, it says its value for them.

    Raises:
        ValueError: there are no prompts.
    """
    if count < 1:
        raise ValueError("no prompts: nothing was evaluated")
    rng = np.random.default_rng(seed)
    values = [statistic(rng.integers(count, size=count)) for _ in range(DRAWS)]
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(mean=statistic(np.arange(count)), low=float(low), high=float(high))


def best_so_far(ratings: Sequence[float], length: int) -> NDArray[np.float64]:
    """The best rating after 1, 2, ... `length` pictures; who stops early keeps what was reached."""
    padded = [*ratings, *[-np.inf] * (length - len(ratings))]
    return np.maximum.accumulate(np.asarray(padded[:length], dtype=np.float64))


def pictures_to_reach(curve: NDArray[np.float64], level: float) -> float:
    """After how many pictures a rising curve of mean ratings reaches `level`, between whole numbers by a
    straight line; its length where it never does.
    """
    reached = np.flatnonzero(curve >= level)
    if not len(reached):
        return float(len(curve))
    first = int(reached[0])
    if first == 0:
        return 1.0
    return first + float((level - curve[first - 1]) / (curve[first] - curve[first - 1]))

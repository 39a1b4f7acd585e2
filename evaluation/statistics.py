"""Shares with their uncertainty: bootstrap over prompts, paired where two arms are compared.

Prompts, not pictures, are drawn again: pictures of one prompt are not independent.
"""

from collections.abc import Sequence

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
    if not values:
        raise ValueError("no values: nothing was evaluated")
    array: NDArray[np.float64] = np.asarray(values, dtype=np.float64)
    rng = np.random.default_rng(seed)
    means = array[rng.integers(len(array), size=(DRAWS, len(array)))].mean(axis=1)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(mean=float(array.mean()), low=float(low), high=float(high))

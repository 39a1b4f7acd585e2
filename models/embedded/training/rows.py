"""The painter's cached pictures on the device that it learns on, while more of them are still being made."""

import time
from collections.abc import Callable, Mapping
from multiprocessing.process import BaseProcess

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from models.embedded.training.latents import LatentCache

FIRST = 32
"""Shards that a training begins with where processes make more of them: enough different scenes for its
first minute."""
EVERY = 200
"""Draws between looks for new shards."""


class Rows:
    """Rows of a cache; see `models.embedded.training.latents` for their names."""

    def __init__(
        self,
        cache: LatentCache,
        device: str,
        makers: tuple[BaseProcess, ...] = (),
        weigh: Callable[[Mapping[str, Tensor]], Tensor] | None = None,
    ) -> None:
        """`makers` are the processes that are at work on the cache. `weigh` says of a shard's N rows by name
        how often each (N,) is drawn, relative to others (None: all alike).
        """
        self.cache, self.device, self.makers, self.weigh = cache, device, makers, weigh
        self.sums = torch.empty(0, dtype=torch.float64, device=device)
        self.known: set[int] = set()
        self.count = self.draws = 0
        self.data: dict[str, Tensor] = {}

    def wait_for(self, shards: int) -> None:
        """Return when so many shards are here.

        Raises:
            RuntimeError: a maker failed, or there is none to wait for.
        """
        while True:
            self._take()
            if len(self.known) >= shards:
                return
            self._check_makers()
            time.sleep(0.2)

    def draw(self, rng: np.random.Generator, size: int) -> Mapping[str, Tensor]:
        """`size` random rows by name. The first draw waits for the first shards.

        Raises:
            RuntimeError: a maker failed.
        """
        if self.draws == 0:
            self.wait_for(min(FIRST, self.cache.shards))
        elif len(self.known) < self.cache.shards and self.draws % EVERY == 0:
            self._check_makers()
            self._take()
        self.draws += 1
        points = torch.from_numpy(rng.random(size)).to(self.device) * self.sums[-1]
        chosen = torch.searchsorted(self.sums, points, right=True).clamp(max=self.count - 1)
        return {name: value[chosen] for name, value in self.data.items()}

    def all(self) -> Mapping[str, Tensor]:
        """Every row, when the makers are done."""
        self.wait_for(self.cache.shards)
        return {name: value[: self.count] for name, value in self.data.items()}

    def _take(self) -> None:
        for shard in self.cache.found():
            if shard in self.known:
                continue
            part = load_file(self.cache.path(shard))
            for name, value in part.items():
                if name not in self.data:
                    room = (self.cache.shards * self.cache.size, *value.shape[1:])
                    self.data[name] = torch.empty(room, dtype=value.dtype, device=self.device)
                self.data[name][self.count : self.count + len(value)] = value.to(self.device)
            weights = self.weigh(part) if self.weigh else torch.ones(len(part["index"]))
            further = self.sums[-1:].sum() + weights.double().cumsum(0).to(self.device)
            self.sums = torch.cat([self.sums, further])
            self.count += len(part["index"])
            self.known.add(shard)

    def _check_makers(self) -> None:
        failed = [maker for maker in self.makers if maker.exitcode]
        if failed or not self.makers:
            raise RuntimeError(
                f"{self.cache.folder} has {len(self.known)} of {self.cache.shards} shards, and "
                f"{len(failed)} of the {len(self.makers)} processes that make them failed"
            )

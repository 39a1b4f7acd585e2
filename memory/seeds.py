"""Which seeds give good pictures: a posterior per (seed, structure of the prompt, backend), and its draws.

The first noise decides much of a picture's layout, whatever the words are: some seeds show two things well,
others crowd them (Li and others, ICLR 2025, arXiv 2411.18810). Seeds can be learnt about only if they come
back, so runs that use this memory share the seeds of `POOL`.

A trial's gain is a picture's rating minus the mean rating of its run. Gains are taken as normal around the
seed's own effect, with the spread `NOISE`, and effects as normal around 0; the prior is worth `PRIOR_TRIALS`.
A trial with a prompt of another structure counts `POOLING` of a trial, and all of them together at most
`POOLED_TRIALS`. Another backend's trials count nothing: its noise becomes other pictures.
"""

import hashlib
import json
from collections.abc import Iterable
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from memory.ledger import Ledger

POOL = range(64)
"""More seeds hold better ones, fewer are known better: in simulations of a thousand pictures 48 to 96 did
alike.
"""
PRIOR_TRIALS = 4.0
"""A fifth of the variance of ratings between pictures of like prompts is the seed's (480 pictures of the
embedded painter): the noise of one trial is worth four times the effect's variance."""
NOISE = 1.0
"""Rating points."""
POOLING = 0.25
POOLED_TRIALS = 4.0


class SeedTrial(BaseModel):
    """One picture as a trial of its seed. `gain` is its mean rating minus that of its run: from -4 to 4."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    backend: str
    structure: str
    seed: int
    gain: Annotated[float, Field(allow_inf_nan=False)]
    run_id: str

    @property
    def id(self) -> str:
        """The same for a step that is run again: a run paints with each seed once."""
        content = json.dumps([self.run_id, self.seed, self.backend])
        return hashlib.sha256(content.encode()).hexdigest()[:32]


class SeedPosterior:
    """The posterior over the seed trials of a ledger, as they are at each call."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def add(self, trials: Iterable[SeedTrial]) -> int:
        """Write the trials of pool seeds as rows, all or none. Returns how many were new."""
        rows = [(t.id, t.backend, t.structure, t.seed, t.gain, t.run_id) for t in trials if t.seed in POOL]
        columns = "id, backend, structure, seed, gain, run_id"
        with self._ledger.transaction() as connection:
            before = connection.total_changes
            connection.executemany(
                f"INSERT OR IGNORE INTO seed_trials ({columns}) VALUES (?, ?, ?, ?, ?, ?)", rows
            )
            return connection.total_changes - before

    def count(self) -> int:
        """How many trials there are."""
        return self._ledger.rows("SELECT count(*) FROM seed_trials")[0][0]

    def rank(self, structure: str, backend: str, rng: np.random.Generator | None = None) -> tuple[int, ...]:
        """The seeds that promise more than one that nobody knows, best first.

        A seed promises its expected gain, or Thompson's draw of it where `rng` is given: that is for those
        who learn from what they try, and then seeds without a trial take part.
        """
        mean, spread = self._posterior(structure, backend)
        promise = mean if rng is None else rng.normal(mean, spread)
        return tuple(POOL[int(i)] for i in np.argsort(-promise, kind="stable") if promise[i] > 0)

    def _posterior(self, structure: str, backend: str) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of every pool seed's effect, in rating points."""
        sums, counts = np.zeros((2, 2, len(POOL)))
        sql = """SELECT seed, structure = ?, sum(gain), count(*) FROM seed_trials
            WHERE backend = ? GROUP BY 1, 2"""
        for seed, own, gain, count in self._ledger.rows(sql, (structure, backend)):
            if seed in POOL:
                sums[own, POOL.index(seed)] = gain
                counts[own, POOL.index(seed)] = count
        (other_sums, own_sums), (other_counts, own_counts) = sums, counts
        power = np.minimum(POOLING, POOLED_TRIALS / np.maximum(other_counts, 1))
        trials = PRIOR_TRIALS + own_counts + power * other_counts
        return (own_sums + power * other_sums) / trials, NOISE / np.sqrt(trials)

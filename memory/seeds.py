"""Which seeds give good pictures of which things: a posterior per (seed, things, backend), and draws from it.

A painter makes nearly the same picture of the same things from the same first noise, whatever the wording,
and some noises suit them (Li and others, ICLR 2025, arXiv 2411.18810). Between prompts for different things
nothing carries over (embedded painter, 1,700 pictures: of the variance of ratings within runs the seed
explains .54 for the same things, .02 +- .01 for others), so each set of things has its own posterior. Another
backend's trials count nothing either. Seeds can be learnt about only if they come back: runs that use this
memory share the seeds of `POOL`.

A trial's gain is a picture's rating minus the mean rating of its run. Gains are taken as normal around the
seed's own effect, with the spread `NOISE`, and effects as normal around 0; the prior is worth `PRIOR_TRIALS`.
"""

import hashlib
import json
from collections.abc import Iterable
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from memory.ledger import Ledger

POOL = range(48)
"""More seeds hold better ones, fewer are known better: in simulations of a thousand pictures 32 to 96 did
alike.
"""
PRIOR_TRIALS = 3.0
NOISE = 0.75
"""Rating points."""


class SeedTrial(BaseModel):
    """One picture as a trial of its seed. `gain` is its mean rating minus that of its run: from -4 to 4."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    backend: str
    things: str
    """What the prompt asks for, the same text for every prompt that asks for the same."""
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
        rows = [(t.id, t.backend, t.things, t.seed, t.gain, t.run_id) for t in trials if t.seed in POOL]
        columns = "id, backend, things, seed, gain, run_id"
        with self._ledger.transaction() as connection:
            before = connection.total_changes
            connection.executemany(
                f"INSERT OR IGNORE INTO seed_trials ({columns}) VALUES (?, ?, ?, ?, ?, ?)", rows
            )
            return connection.total_changes - before

    def count(self) -> int:
        """How many trials there are."""
        return self._ledger.rows("SELECT count(*) FROM seed_trials")[0][0]

    def rank(self, things: str, backend: str, rng: np.random.Generator | None = None) -> tuple[int, ...]:
        """The seeds that promise more than one that nobody knows, best first.

        A seed promises its expected gain, or Thompson's draw of it where `rng` is given: that is for those
        who learn from what they try, and then seeds without a trial take part.
        """
        sums, counts = np.zeros((2, len(POOL)))
        sql = """SELECT seed, sum(gain), count(*) FROM seed_trials
            WHERE backend = ? AND things = ? GROUP BY seed"""
        for seed, gain, count in self._ledger.rows(sql, (backend, things)):
            if seed in POOL:
                sums[POOL.index(seed)], counts[POOL.index(seed)] = gain, count
        trials = PRIOR_TRIALS + counts
        promise = sums / trials if rng is None else rng.normal(sums / trials, NOISE / np.sqrt(trials))
        return tuple(POOL[int(i)] for i in np.argsort(-promise, kind="stable") if promise[i] > 0)

"""Which seeds give good pictures of what is asked for: a posterior per (seed, backend), and draws from it.

A painter makes nearly the same picture of the same things from the same first noise, whatever the wording,
and some noises suit them (Li and others, ICLR 2025, arXiv 2411.18810). Between prompts for different things
nothing carries over; between prompts for the same things much does where they ask the same of them, and
little where they do not (embedded painter, 5,800 pictures of 200 prompts with random seeds: of the variance
within runs the seed explains .44 to .56 for pairs and counts alone, .24 for the same pair in the same
relation, .05 for pairs whose colours differ). So what a prompt asks for is described three times, each time
more exactly, and a trial teaches about another prompt as much as the descriptions agree. Another backend's
trials teach nothing. Seeds can be learnt about only if they come back: runs that use this memory share the
seeds of `POOL`.

A rating is taken as what its things get on average, plus its run's effect (the prompt's colours, say), plus
its seed's effects, one for each description, plus noise; all independent and normal, which makes the
posterior that of a Gaussian process (Rasmussen and Williams, 2006, section 2.2). Pictures of one run are so
compared with each other, and a run that ended with its first picture still counts.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from memory.ledger import Ledger

POOL = range(48)
"""More seeds hold better ones, fewer are known better: in simulations of a thousand pictures 32 to 96 did
alike.
"""
SEED_VARIANCES = (0.05, 0.25, 0.2)
"""Rating points squared: of a seed's effect on the same things, on those asked for in the same respects, and
on the very same request. With twice and half of each, and other shares, what was recommended from 1,000
trials did alike.
"""
RUN_VARIANCE = 0.5
NOISE_VARIANCE = 0.55
TYPICAL = 3.9
"""The mean rating of the embedded painter's pictures; a thing's own mean is known to `THING_VARIANCE`."""
THING_VARIANCE = 1.0
TRIALS = 1000
"""Of a kind of things the newest so many are heard: the time to hear them grows with their cube (50 ms)."""


class Asked(BaseModel):
    """What a prompt asks for, in descriptions that are ever more exact: prompts with the same `request` have
    the same `respects`, and prompts with the same `respects` the same `things`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    things: str
    """How many of what: "a cone, two cubes"."""
    respects: str
    """And in which respects something is asked of them."""
    request: str
    """And what."""


class SeedTrial(BaseModel):
    """One picture as a trial of its seed. `rating` is its mean rating, 1 to 5."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    backend: str
    asked: Asked
    seed: int
    rating: Annotated[float, Field(allow_inf_nan=False)]
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
        rows = [
            (t.id, t.backend, t.asked.things, t.asked.respects, t.asked.request, t.seed, t.rating, t.run_id)
            for t in trials
            if t.seed in POOL
        ]
        columns = "id, backend, things, respects, request, seed, rating, run_id"
        sql = f"INSERT INTO seed_trials ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
        with self._ledger.transaction() as connection:
            return connection.executemany(sql, rows).rowcount

    def count(self) -> int:
        """How many trials there are."""
        return self._ledger.rows("SELECT count(*) FROM seed_trials")[0][0]

    def rank(self, asked: Asked, backend: str, rng: np.random.Generator | None = None) -> tuple[int, ...]:
        """The seeds that promise more than one that nobody knows, best first.

        A seed promises its expected effect, or Thompson's draw of it where `rng` is given: that is for those
        who learn from what they try, and then seeds without a trial take part.
        """
        mean, variance = self._effects(asked, backend)
        promise = mean if rng is None else rng.normal(mean, np.sqrt(variance))
        return tuple(POOL[int(i)] for i in np.argsort(-promise, kind="stable") if promise[i] > 0)

    def _effects(self, asked: Asked, backend: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The posterior's means and variances of the seeds' effects on a prompt that asks this, in the order
        of `POOL`.
        """
        sql = """SELECT respects, request, seed, rating, run_id FROM seed_trials
            WHERE backend = ? AND things = ? ORDER BY sequence DESC LIMIT ?"""
        rows = self._ledger.rows(sql, (backend, asked.things, TRIALS))
        prior = np.full(len(POOL), sum(SEED_VARIANCES))
        if not rows:
            return np.zeros(len(POOL)), prior
        respects, requests, seeds, ratings, runs = (np.array(column) for column in zip(*rows, strict=True))
        shared = _shared(respects, requests, respects, requests)
        covariance = THING_VARIANCE + RUN_VARIANCE * _same(runs, runs) + shared * _same(seeds, seeds)
        covariance[np.diag_indices(len(rows))] += NOISE_VARIANCE
        asking = _shared(respects, requests, [asked.respects], [asked.request]) * _same(seeds, list(POOL))
        solved = np.linalg.solve(covariance, np.column_stack([ratings - TYPICAL, asking]))
        return asking.T @ solved[:, 0], prior - np.sum(asking * solved[:, 1:], axis=0)


def _same(
    ours: Sequence[object] | NDArray[np.generic], theirs: Sequence[object] | NDArray[np.generic]
) -> NDArray[np.bool_]:
    return np.asarray(ours)[:, None] == np.asarray(theirs)[None, :]


def _shared(
    respects: NDArray[np.str_],
    requests: NDArray[np.str_],
    other_respects: Sequence[str] | NDArray[np.str_],
    other_requests: Sequence[str] | NDArray[np.str_],
) -> NDArray[np.float64]:
    """The covariance of one seed's effects on two prompts for the same things, for each pair of prompts."""
    things, same_respects, same_request = SEED_VARIANCES
    return (
        things
        + same_respects * _same(respects, other_respects)
        + same_request * _same(requests, other_requests)
    )

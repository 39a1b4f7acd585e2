"""How often each pattern of edits has helped: a posterior per (pattern, kind of error, backend), and draws
from it.

Knows no pattern's text; a pattern is a name. A trial is an episode, a success one whose rating rose by more
than `SUCCESS_ABOVE`. The prior is worth `PRIOR_TRIALS` trials at the success rate of all episodes together:
about a third of all edits help, and a pattern that nobody tried, held to be as good as one that helps every
other time, would be preferred to all that are known. To it comes what other backends have seen: a power
prior (Ibrahim and Chen, 2000, "Power prior distributions for regression models"), in which a foreign trial
counts `POOLING` of a trial and all of them together at most `POOLED_TRIALS`. So a new backend starts from
what others learnt, and its own trials soon outweigh it.
"""

from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict

from memory.ledger import Ledger

SUCCESS_ABOVE = 0.1
"""A rise of the mean rating (scale 1 to 5) up to this is taken for noise of the judge."""
PRIOR_TRIALS = 4.0
POOLING = 0.25
POOLED_TRIALS = 4.0


class PatternRow(BaseModel):
    """The posterior of one case, for display. `low` and `high` bound the central 90 per cent."""

    model_config = ConfigDict(frozen=True)

    pattern: str
    kind: str
    backend: str
    trials: int
    successes: int
    mean: float
    low: float
    high: float


class PatternPosterior:
    """The posterior over the episodes of a ledger, as they are at each call."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def rates(
        self, names: Sequence[str], kinds: Sequence[str], backend: str, rng: np.random.Generator | None = None
    ) -> dict[str, float]:
        """A success rate per pattern, the mean over the kinds: expected, or drawn where `rng` is given.

        Draws are Thompson's, for those who learn from what they try. They are made in the order of `names`,
        then of `kinds`: the same generator gives the same rates.

        Raises:
            ValueError: no kind is given.
        """
        if not kinds:
            raise ValueError("no kind of error is given: name at least one that the patterns should mend")
        counts = self._count()
        usual = _usual(counts)
        rates: dict[str, float] = {}
        for name in dict.fromkeys(names):
            parameters = [_beta(counts, usual, name, kind, backend) for kind in dict.fromkeys(kinds)]
            rates[name] = float(np.mean([rng.beta(a, b) if rng else a / (a + b) for a, b in parameters]))
        return rates

    def mean(self, name: str, kind: str, backend: str) -> float:
        """The expected success rate, 0 to 1; what was never tried has that of all episodes."""
        counts = self._count()
        a, b = _beta(counts, _usual(counts), name, kind, backend)
        return a / (a + b)

    def table(self) -> Sequence[PatternRow]:
        """Every case that was tried, by kind, then backend, then falling mean."""
        from scipy.special import betaincinv  # 0.2 s to import, and only who displays needs it

        counts = self._count()
        usual = _usual(counts)
        rows: list[PatternRow] = []
        for (pattern, kind, backend), (successes, trials) in counts.items():
            a, b = _beta(counts, usual, pattern, kind, backend)
            low, high = (float(bound) for bound in betaincinv(a, b, np.array([0.05, 0.95])))
            row = PatternRow(
                pattern=pattern,
                kind=kind,
                backend=backend,
                trials=trials,
                successes=successes,
                mean=a / (a + b),
                low=low,
                high=high,
            )
            rows.append(row)
        return sorted(rows, key=lambda row: (row.kind, row.backend, -row.mean, row.pattern))

    def _count(self) -> dict[tuple[str, str, str], tuple[int, int]]:
        """Successes and trials of each (pattern, kind, backend)."""
        sql = """SELECT pattern, kind, backend, sum(CASE WHEN rating_change > ? THEN 1 ELSE 0 END), count(*)
            FROM episodes GROUP BY pattern, kind, backend"""
        rows = self._ledger.rows(sql, (SUCCESS_ABOVE,))
        return {(row[0], row[1], row[2]): (row[3], row[4]) for row in rows}


def _usual(counts: dict[tuple[str, str, str], tuple[int, int]]) -> float:
    """The success rate of all episodes together, from a half where there are none."""
    successes, trials = (sum(count[i] for count in counts.values()) for i in (0, 1))
    return (successes + PRIOR_TRIALS / 2) / (trials + PRIOR_TRIALS)


def _beta(
    counts: dict[tuple[str, str, str], tuple[int, int]], usual: float, pattern: str, kind: str, backend: str
) -> tuple[float, float]:
    """The posterior's parameters (a, b) of one case."""
    successes, trials = counts.get((pattern, kind, backend), (0, 0))
    foreign = [
        count for (p, k, other), count in counts.items() if (p, k) == (pattern, kind) and other != backend
    ]
    foreign_trials = sum(count[1] for count in foreign)
    foreign_successes = sum(count[0] for count in foreign)
    power = min(POOLING, POOLED_TRIALS / foreign_trials) if foreign_trials else 0.0
    a = PRIOR_TRIALS * usual + successes + power * foreign_successes
    b = PRIOR_TRIALS * (1 - usual) + (trials - successes) + power * (foreign_trials - foreign_successes)
    return a, b

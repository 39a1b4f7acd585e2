from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from memory.episodes import Episode, Episodes
from memory.ledger import Ledger
from memory.patterns import POOLED_TRIALS, PRIOR_TRIALS, SUCCESS_ABOVE, PatternPosterior
from tests.ledgers import open_ledger


@pytest.fixture
def ledger(place: str) -> Iterator[Ledger]:
    with open_ledger(place) as ledger:
        yield ledger


def record(
    ledger: Ledger, pattern: str, changes: list[float], kind: str = "colour", backend: str = "a"
) -> None:
    """Write one episode for each rating change."""
    start = Episodes(ledger, Path("never opened")).count()
    episodes = [
        Episode(
            kind=kind,
            before="x",
            after="y",
            pattern=pattern,
            rating_change=change,
            backend=backend,
            run_id=f"{start + i}",
        )
        for i, change in enumerate(changes)
    ]
    Episodes(ledger, Path("never opened")).add(episodes)


def share(
    posterior: PatternPosterior, kinds: list[str], backend: str, winner: str, draws: int = 400
) -> float:
    rng = np.random.default_rng(0)
    won = 0
    for _ in range(draws):
        weights = posterior.rates(["good", "bad"], kinds, backend, rng)
        won += weights[winner] == max(weights.values())
    return won / draws


def test_without_trials_all_are_equal(ledger: Ledger) -> None:
    posterior = PatternPosterior(ledger)
    assert posterior.mean("good", "colour", "a") == 0.5
    assert share(posterior, ["colour"], "a", "good") == pytest.approx(0.5, abs=0.08)
    assert list(posterior.table()) == []


def test_the_mean_is_that_of_the_beta_posterior(ledger: Ledger) -> None:
    record(ledger, "good", [1.0, 0.5, SUCCESS_ABOVE, 0.0, -1.0])  # two successes: noise is none
    usual = (2 + PRIOR_TRIALS / 2) / (5 + PRIOR_TRIALS)
    expected = (2 + PRIOR_TRIALS * usual) / (5 + PRIOR_TRIALS)
    assert PatternPosterior(ledger).mean("good", "colour", "a") == pytest.approx(expected)
    assert PatternPosterior(ledger).mean("good", "count", "a") == pytest.approx(usual)


def test_what_was_never_tried_is_not_preferred_to_what_helps_more_often_than_most(ledger: Ledger) -> None:
    for number in range(20):
        record(ledger, f"other{number}", [1.0, -1.0, -1.0, -1.0, -1.0])
    record(ledger, "good", [1.0, 1.0, -1.0, -1.0, -1.0])
    posterior = PatternPosterior(ledger)
    assert 0.2 < posterior.mean("new", "colour", "a") < posterior.mean("good", "colour", "a") < 0.4
    rates = posterior.rates(["new", "good"], ["colour"], "a")
    assert rates == {name: posterior.mean(name, "colour", "a") for name in ("new", "good")}


def test_trials_change_what_is_sampled(ledger: Ledger) -> None:
    posterior = PatternPosterior(ledger)
    record(ledger, "good", [1.0] * 6)
    record(ledger, "bad", [-0.5] * 6)
    assert share(posterior, ["colour"], "a", "good") > 0.98
    assert share(posterior, ["count"], "a", "good") == pytest.approx(0.5, abs=0.08)
    record(ledger, "good", [-1.0] * 40)
    record(ledger, "bad", [1.0] * 40)
    assert share(posterior, ["colour"], "a", "bad") > 0.98


def test_a_pattern_that_was_tried_rarely_is_still_tried(ledger: Ledger) -> None:
    record(ledger, "good", [1.0, 1.0, 1.0, -1.0])
    record(ledger, "bad", [-1.0])
    assert 0.02 < share(PatternPosterior(ledger), ["colour"], "a", "bad") < 0.3


def test_other_backends_lend_a_little_and_own_trials_soon_outweigh_them(ledger: Ledger) -> None:
    posterior = PatternPosterior(ledger)
    record(ledger, "any", [1.0, -1.0] * 1000, kind="size")  # so that the usual rate is a half
    record(ledger, "good", [1.0] * 2, backend="b")
    half = PRIOR_TRIALS / 2
    few = posterior.mean("good", "colour", "a")
    # Two foreign trials count for half a trial.
    assert few == pytest.approx((half + 0.5) / (PRIOR_TRIALS + 0.5), abs=0.001)
    record(ledger, "good", [1.0] * 98, backend="b")
    many = posterior.mean("good", "colour", "a")
    assert many == pytest.approx((half + POOLED_TRIALS) / (PRIOR_TRIALS + POOLED_TRIALS), abs=0.02)
    assert few < many < posterior.mean("good", "colour", "b")
    record(ledger, "good", [-1.0] * 8, backend="a")
    assert posterior.mean("good", "colour", "a") < 0.45


def test_several_kinds_are_averaged(ledger: Ledger) -> None:
    record(ledger, "good", [1.0] * 500, kind="colour")
    record(ledger, "good", [-1.0] * 500, kind="count")
    posterior = PatternPosterior(ledger)
    draw = posterior.rates(["good"], ["colour", "count", "colour"], "a", np.random.default_rng(0))
    assert draw["good"] == pytest.approx(0.5, abs=0.02)
    with pytest.raises(ValueError, match="no kind"):
        posterior.rates(["good"], [], "a", np.random.default_rng(0))


def test_the_same_seed_draws_the_same(ledger: Ledger) -> None:
    record(ledger, "good", [1.0, -1.0])
    posterior = PatternPosterior(ledger)
    draws = [posterior.rates(["good", "bad"], ["colour"], "a", np.random.default_rng(3)) for _ in range(2)]
    assert draws[0] == draws[1]
    assert list(draws[0]) == ["good", "bad"]
    assert all(0 < weight < 1 for weight in draws[0].values())


def test_the_table_shows_every_case(ledger: Ledger) -> None:
    record(ledger, "bad", [-1.0] * 3)
    record(ledger, "good", [1.0] * 3)
    record(ledger, "good", [1.0], kind="background", backend="b")
    rows = PatternPosterior(ledger).table()
    assert [(r.kind, r.backend, r.pattern) for r in rows] == [
        ("background", "b", "good"),
        ("colour", "a", "good"),
        ("colour", "a", "bad"),
    ]
    good = rows[1]
    usual = (4 + PRIOR_TRIALS / 2) / (7 + PRIOR_TRIALS)
    mean = (PRIOR_TRIALS * usual + 3) / (PRIOR_TRIALS + 3)
    assert (good.trials, good.successes, good.mean) == (3, 3, pytest.approx(mean))
    a, b = mean * (PRIOR_TRIALS + 3), (1 - mean) * (PRIOR_TRIALS + 3)
    draws = np.random.default_rng(0).beta(a, b, 100_000)
    assert (good.low, good.high) == pytest.approx(np.quantile(draws, [0.05, 0.95]), abs=0.01)

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from memory.episodes import Episode, Episodes
from memory.ledger import Ledger
from memory.patterns import POOLED_TRIALS, SUCCESS_ABOVE, PatternPosterior


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "ledger.db") as ledger:
        yield ledger


def record(
    ledger: Ledger, pattern: str, changes: list[float], kind: str = "colour", backend: str = "a"
) -> None:
    """Write one episode for each rating change."""
    start = Episodes(ledger, ledger.path.with_name("chroma")).count()
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
    Episodes(ledger, ledger.path.with_name("chroma")).add(episodes)


def share(
    posterior: PatternPosterior, kinds: list[str], backend: str, winner: str, draws: int = 400
) -> float:
    rng = np.random.default_rng(0)
    won = 0
    for _ in range(draws):
        weights = posterior.sample(["good", "bad"], kinds, backend, rng)
        won += weights[winner] == max(weights.values())
    return won / draws


def test_without_trials_all_are_equal(ledger: Ledger) -> None:
    posterior = PatternPosterior(ledger)
    assert posterior.mean("good", "colour", "a") == 0.5
    assert share(posterior, ["colour"], "a", "good") == pytest.approx(0.5, abs=0.08)
    assert list(posterior.table()) == []


def test_the_mean_is_that_of_the_beta_posterior(ledger: Ledger) -> None:
    record(ledger, "good", [1.0, 0.5, SUCCESS_ABOVE, 0.0, -1.0])  # two successes: noise is none
    assert PatternPosterior(ledger).mean("good", "colour", "a") == pytest.approx(3 / 7)
    assert PatternPosterior(ledger).mean("good", "count", "a") == 0.5


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
    record(ledger, "good", [1.0] * 2, backend="b")
    few = posterior.mean("good", "colour", "a")
    assert few == pytest.approx(1.5 / 2.5)  # two foreign trials count for half a trial
    record(ledger, "good", [1.0] * 1000, backend="b")
    many = posterior.mean("good", "colour", "a")
    assert many == pytest.approx((1 + POOLED_TRIALS) / (2 + POOLED_TRIALS))
    assert few < many < posterior.mean("good", "colour", "b")
    record(ledger, "good", [-1.0] * 8, backend="a")
    assert posterior.mean("good", "colour", "a") < 0.5


def test_several_kinds_are_averaged(ledger: Ledger) -> None:
    record(ledger, "good", [1.0] * 500, kind="colour")
    record(ledger, "good", [-1.0] * 500, kind="count")
    posterior = PatternPosterior(ledger)
    draw = posterior.sample(["good"], ["colour", "count", "colour"], "a", np.random.default_rng(0))
    assert draw["good"] == pytest.approx(0.5, abs=0.02)
    with pytest.raises(ValueError, match="no kind"):
        posterior.sample(["good"], [], "a", np.random.default_rng(0))


def test_the_same_seed_draws_the_same(ledger: Ledger) -> None:
    record(ledger, "good", [1.0, -1.0])
    posterior = PatternPosterior(ledger)
    draws = [posterior.sample(["good", "bad"], ["colour"], "a", np.random.default_rng(3)) for _ in range(2)]
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
    assert (good.trials, good.successes, good.mean) == (3, 3, pytest.approx(0.8))
    assert (good.low, good.high) == (pytest.approx(0.05**0.25), pytest.approx(0.95**0.25))  # Beta(4, 1)

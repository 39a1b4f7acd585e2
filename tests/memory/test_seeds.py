from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from memory.ledger import Ledger
from memory.seeds import NOISE, POOL, PRIOR_TRIALS, SeedPosterior, SeedTrial

TWO = "a cone, a cube"
COUNT = "three cones"


@pytest.fixture
def posterior(tmp_path: Path) -> Iterator[SeedPosterior]:
    with Ledger(tmp_path / "ledger.db") as ledger:
        yield SeedPosterior(ledger)


def teach(
    posterior: SeedPosterior, seed: int, gains: list[float], things: str = TWO, backend: str = "a"
) -> int:
    start = posterior.count()
    return posterior.add(
        SeedTrial(backend=backend, things=things, seed=seed, gain=gain, run_id=f"run{start + i}")
        for i, gain in enumerate(gains)
    )


def test_a_memory_without_trials_recommends_nothing_to_a_run_that_only_reads(posterior: SeedPosterior):
    assert posterior.rank(TWO, "a") == ()
    drawn = posterior.rank(TWO, "a", np.random.default_rng(0))
    assert 15 < len(drawn) < 33, "about half of the unknown seeds are worth a try"
    assert len(set(drawn)) == len(drawn) and set(drawn) <= set(POOL)
    assert drawn != posterior.rank(TWO, "a", np.random.default_rng(1))
    assert drawn == posterior.rank(TWO, "a", np.random.default_rng(0))


def test_seeds_are_ranked_by_their_expected_gain(posterior: SeedPosterior):
    teach(posterior, 3, [1.0])
    teach(posterior, 5, [0.5] * 8)  # less gain, but better known: .5 * 8 / 11 against 1 / 4
    teach(posterior, 7, [-1.0] * 3)
    teach(posterior, 9, [0.9, -0.9])
    assert posterior.rank(TWO, "a") == (5, 3)


def test_a_run_that_learns_tries_what_is_good_most_often(posterior: SeedPosterior):
    teach(posterior, 5, [1.0] * 40)
    teach(posterior, 7, [-1.0] * 40)
    ranks = [posterior.rank(TWO, "a", np.random.default_rng(n)) for n in range(50)]
    assert sum(5 in rank[:8] for rank in ranks) > 35
    assert not any(7 in rank for rank in ranks)


def test_prompts_for_other_things_and_other_painters_teach_nothing(posterior: SeedPosterior):
    teach(posterior, 3, [1.0] * 5, things=COUNT)
    assert posterior.rank(COUNT, "a") == (3,)
    assert posterior.rank(TWO, "a") == posterior.rank(COUNT, "b") == ()


def test_a_step_that_is_run_again_adds_nothing_and_other_seeds_are_not_kept(posterior: SeedPosterior):
    trial = SeedTrial(backend="a", things=TWO, seed=3, gain=1.0, run_id="run")
    assert posterior.add([trial, trial.model_copy(update={"seed": 2**31})]) == 1
    assert posterior.add([trial]) == 0
    assert posterior.count() == 1


def test_it_finds_good_seeds_where_seeds_matter_as_they_do_for_the_embedded_painter(posterior: SeedPosterior):
    rng = np.random.default_rng(0)
    effects = rng.normal(0, NOISE / PRIOR_TRIALS**0.5, len(POOL))
    for run in range(60):
        chosen = posterior.rank(TWO, "a", rng)[:7]
        gains = effects[list(chosen)] + rng.normal(0, NOISE, len(chosen))
        posterior.add(
            SeedTrial(backend="a", things=TWO, seed=seed, gain=gain, run_id=f"r{run}")
            for seed, gain in zip(chosen, gains - gains.mean(), strict=True)
        )
    best = posterior.rank(TWO, "a")[:7]
    assert effects[list(best)].mean() > 0.6 * np.sort(effects)[-7:].mean() > 0

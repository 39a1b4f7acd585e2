from collections.abc import Iterator

import numpy as np
import pytest

from memory.seeds import (
    NOISE_VARIANCE,
    POOL,
    RUN_VARIANCE,
    SEED_VARIANCES,
    THING_VARIANCE,
    TYPICAL,
    Asked,
    SeedPosterior,
    SeedTrial,
)
from tests.ledgers import open_ledger

PAIR = "a cone, a cube"
TWO = Asked(things=PAIR, respects=f"{PAIR}: count", request="count a cone; count a cube")
PLACED = Asked(things=PAIR, respects=f"{PAIR}: position", request="position a cone left of a cube")
TURNED = Asked(things=PAIR, respects=f"{PAIR}: position", request="position a cube left of a cone")
COUNT = Asked(things="three cones", respects="three cones: count", request="count three cones")


@pytest.fixture
def posterior(place: str) -> Iterator[SeedPosterior]:
    with open_ledger(place) as ledger:
        yield SeedPosterior(ledger)


def teach(
    posterior: SeedPosterior,
    ratings: dict[int, float],
    asked: Asked = TWO,
    backend: str = "a",
    runs: int = 1,
) -> int:
    """Runs that all gave these seeds these ratings."""
    start = posterior.count()
    return posterior.add(
        SeedTrial(backend=backend, asked=asked, seed=seed, rating=rating, run_id=f"run {start} {run}")
        for run in range(runs)
        for seed, rating in ratings.items()
    )


def test_a_memory_without_trials_recommends_nothing_to_a_run_that_only_reads(posterior: SeedPosterior):
    assert posterior.rank(TWO, "a") == ()
    drawn = posterior.rank(TWO, "a", np.random.default_rng(0))
    assert 15 < len(drawn) < 33, "about half of the unknown seeds are worth a try"
    assert len(set(drawn)) == len(drawn) and set(drawn) <= set(POOL)
    assert drawn != posterior.rank(TWO, "a", np.random.default_rng(1))
    assert drawn == posterior.rank(TWO, "a", np.random.default_rng(0))


def test_seeds_are_ranked_by_their_expected_effect(posterior: SeedPosterior):
    teach(posterior, {3: 4.6})
    teach(posterior, {5: 4.4, 7: 3.0, 9: 3.9}, runs=8)
    # Seed 3 was seen once, with a rating that its run alone might explain.
    assert posterior.rank(TWO, "a")[:2] == (5, 3)
    assert 7 not in posterior.rank(TWO, "a")


def test_pictures_are_compared_within_their_run(posterior: SeedPosterior):
    # The same rating is good for a hard prompt and bad for an easy one: seed 0 tells which is which.
    teach(posterior, {0: 3.3, 1: 3.9}, runs=4)
    teach(posterior, {0: 4.5, 2: 3.9}, runs=4)
    mean, _ = posterior._effects(TWO, "a")
    assert mean[1] > mean[0] > mean[2]


def test_one_picture_that_ended_its_run_counts(posterior: SeedPosterior):
    teach(posterior, {11: 5.0}, runs=3)
    assert posterior.rank(TWO, "a") == (11,)


def test_a_trial_teaches_as_much_as_the_requests_have_in_common(posterior: SeedPosterior):
    teach(posterior, {3: 5.0, 4: 3.0}, asked=PLACED, runs=5)
    means = [posterior._effects(asked, "a")[0][3] for asked in (PLACED, TURNED, TWO)]
    things, respects, request = SEED_VARIANCES
    assert means[0] > means[1] > means[2] > 0
    np.testing.assert_allclose(means[1] / means[0], (things + respects) / (things + respects + request))
    np.testing.assert_allclose(means[2] / means[0], things / (things + respects + request))
    assert posterior.rank(COUNT, "a") == ()


def test_the_posterior_of_a_single_seed_is_the_textbook_s(posterior: SeedPosterior):
    # Four runs of one picture each measure mean + effect, with the noise of a run and of a picture.
    teach(posterior, {3: TYPICAL + 1.0}, runs=4)
    mean, variance = posterior._effects(TWO, "a")
    effect = sum(SEED_VARIANCES)
    total = THING_VARIANCE + effect + (RUN_VARIANCE + NOISE_VARIANCE) / 4
    np.testing.assert_allclose(mean[3], effect / total)
    np.testing.assert_allclose(variance[3], effect - effect**2 / total)
    np.testing.assert_allclose((mean[4], variance[4]), (0.0, effect))


def test_a_run_that_learns_tries_what_is_good_most_often(posterior: SeedPosterior):
    teach(posterior, {5: 4.9, 7: 2.9}, runs=40)
    ranks = [posterior.rank(TWO, "a", np.random.default_rng(n)) for n in range(50)]
    assert sum(5 in rank[:8] for rank in ranks) > 35
    assert not any(7 in rank for rank in ranks)


def test_prompts_for_other_things_and_other_painters_teach_nothing(posterior: SeedPosterior):
    teach(posterior, {3: 5.0}, asked=COUNT, runs=5)
    assert posterior.rank(COUNT, "a") == (3,)
    assert posterior.rank(TWO, "a") == posterior.rank(COUNT, "b") == ()


def test_a_step_that_is_run_again_adds_nothing_and_other_seeds_are_not_kept(posterior: SeedPosterior):
    trial = SeedTrial(backend="a", asked=TWO, seed=3, rating=4.0, run_id="run")
    assert posterior.add([trial, trial.model_copy(update={"seed": 2**31})]) == 1
    assert posterior.add([trial]) == 0
    assert posterior.count() == 1


def test_it_finds_good_seeds_where_seeds_matter_as_they_do_for_the_embedded_painter(posterior: SeedPosterior):
    rng = np.random.default_rng(0)
    effects = rng.normal(0, sum(SEED_VARIANCES) ** 0.5, len(POOL))
    for run in range(60):
        chosen = posterior.rank(TWO, "a", rng)[:7]
        ratings = TYPICAL + effects[list(chosen)] + rng.normal(0, NOISE_VARIANCE**0.5, len(chosen))
        posterior.add(
            SeedTrial(backend="a", asked=TWO, seed=seed, rating=rating, run_id=f"r{run}")
            for seed, rating in zip(chosen, ratings, strict=True)
        )
    best = posterior.rank(TWO, "a")[:7]
    assert effects[list(best)].mean() > 0.6 * np.sort(effects)[-7:].mean() > 0

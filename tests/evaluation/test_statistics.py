import numpy as np
import pytest

from evaluation.statistics import best_so_far, bootstrap, bootstrap_over, pictures_to_reach


def test_interval_holds_the_mean_and_shrinks_with_the_number_of_prompts() -> None:
    rng = np.random.default_rng(3)
    few, many = (bootstrap(list(rng.integers(0, 2, size=n).astype(float))) for n in (20, 2000))
    for interval in (few, many):
        assert interval.low <= interval.mean <= interval.high
    assert many.high - many.low < (few.high - few.low) / 5


def test_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(4)
    hits = 0
    for trial in range(200):
        interval = bootstrap(list(rng.normal(0.3, 1.0, size=60)), seed=trial)
        hits += interval.low <= 0.3 <= interval.high
    assert 180 <= hits <= 199


def test_same_values_give_the_same_interval() -> None:
    assert bootstrap([0.0, 1.0, 1.0], seed=5) == bootstrap([0.0, 1.0, 1.0], seed=5)
    assert bootstrap([1.0, 1.0]).low == bootstrap([1.0, 1.0]).high == 1.0


def test_nothing_evaluated_is_an_error() -> None:
    with pytest.raises(ValueError, match="nothing was evaluated"):
        bootstrap([])


def test_a_statistic_of_prompts_has_the_interval_of_its_mean() -> None:
    values = np.random.default_rng(6).normal(2.0, 1.0, size=100)
    of_mean = bootstrap_over(100, lambda rows: float(values[rows].mean()))
    assert of_mean.mean == pytest.approx(values.mean())
    assert of_mean.low == pytest.approx(bootstrap(list(values)).low, abs=0.05)
    with pytest.raises(ValueError, match="nothing was evaluated"):
        bootstrap_over(0, lambda rows: 0.0)


def test_the_best_so_far_rises_and_stays() -> None:
    assert best_so_far([2.0, 1.0, 4.0], 5).tolist() == [2.0, 2.0, 4.0, 4.0, 4.0]


@pytest.mark.parametrize(("level", "pictures"), [(1.0, 1.0), (2.0, 1.0), (2.5, 1.5), (4.0, 4.0), (4.5, 4.0)])
def test_pictures_to_reach_a_level(level: float, pictures: float) -> None:
    assert pictures_to_reach(np.array([2.0, 3.0, 3.0, 4.0]), level) == pictures

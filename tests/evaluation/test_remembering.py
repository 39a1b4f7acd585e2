import pytest

from evaluation.remembering import Spent, summarise


def test_a_memory_that_gets_there_sooner_saves_pictures() -> None:
    cold = Spent((1.0, 2.0, 3.0, 5.0), satisfied=True)
    hot = Spent((1.0, 5.0), satisfied=True)
    never = Spent((1.0, 2.0, 2.0, 3.0), satisfied=False)
    report = summarise([(cold, hot), (never, never)], 4, 7)
    assert (report.pictures_empty.mean, report.pictures_warm.mean) == (4.0, 3.0)
    assert report.saved.mean == pytest.approx(0.25)
    # Mean best ratings: empty 1, 2, 2.5, 4 after 1, 2, 3, 4; warm 1, 3.5, 3.5, 4, so after 1, 1.4, 1.6, 4.
    assert report.saved_at_same_rating.mean == pytest.approx(1 - 8 / 10)
    better = Spent((1.0, 2.0, 3.0, 3.0), satisfied=False)
    ahead = summarise([(cold, hot), (never, better)], 4, 7)
    # Warm: 1, 3.5, 4, 4.
    assert ahead.saved_at_same_rating.mean == pytest.approx(1 - 7 / 10)
    assert "saved 0.250" in str(ahead)


def test_a_memory_that_misleads_saves_less_than_nothing() -> None:
    cold = Spent((2.0, 4.0), satisfied=True)
    hot = Spent((2.0, 2.0, 4.0), satisfied=True)
    report = summarise([(cold, hot)] * 3, 4, 0)
    assert report.saved.mean == pytest.approx(-0.5)
    # The empty memory is there after 1, 2, 2, 2, the warm one after 1, 3, 3, 3.
    assert report.saved_at_same_rating.mean == pytest.approx(1 - 10 / 7)

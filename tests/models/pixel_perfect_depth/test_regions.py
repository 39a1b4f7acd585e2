"""What stands in a box: the middle counts, other boxes do not, and boxes may stand out of the picture."""

import numpy as np
import pytest

from models.pixel_perfect_depth.regions import region_depths


def test_each_box_gets_its_own_thing() -> None:
    depth = np.full((40, 60), 9.0)
    depth[10:30, 6:18] = 2.0
    depth[10:30, 40:52] = 5.0
    boxes = [(0.1, 0.25, 0.3, 0.75), (40 / 60, 0.25, 52 / 60, 0.75), (0.0, 0.0, 1.0, 0.2)]
    assert region_depths(depth, boxes) == [2.0, 5.0, 9.0]


def test_what_another_box_holds_is_left_out() -> None:
    depth = np.full((40, 40), 9.0)
    depth[5:35, 5:35] = 6.0
    depth[12:28, 12:26] = 3.0  # stands before the middle of the larger thing
    large, small = (5 / 40, 5 / 40, 35 / 40, 35 / 40), (12 / 40, 12 / 40, 26 / 40, 28 / 40)
    assert region_depths(depth, [large, small]) == [6.0, 3.0]
    assert region_depths(depth, [large]) == [3.0], "alone, the box shows what is in its middle"


def test_a_box_within_another_keeps_its_pixels() -> None:
    depth = np.arange(100, dtype=float).reshape(10, 10)
    same = (0.2, 0.2, 0.6, 0.6)
    assert region_depths(depth, [same, same]) == region_depths(depth, [same]) * 2


@pytest.mark.parametrize("box", [(0.5, 0.5, 0.5, 0.9), (0.6, 0.1, 0.2, 0.9), (1.2, 0.1, 1.4, 0.3)])
def test_a_box_without_pixels_is_refused(box: tuple[float, float, float, float]) -> None:
    with pytest.raises(ValueError, match="holds no pixel of the picture"):
        region_depths(np.zeros((8, 8)), [box])
    assert region_depths(np.ones((8, 8)), [(-0.5, -0.5, 0.6, 0.6)]) == [1.0]

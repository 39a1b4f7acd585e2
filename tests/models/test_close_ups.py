"""Things brought near and put back, in pictures drawn here."""

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from models.backdrops import NotPlain, fill_backdrop
from models.close_ups import MOST, TALL, CloseUp, CutOff, cut_out, put_back, take_close_ups

RED, BLUE = (200, 30, 30), (30, 40, 210)


def room(width: int = 128, height: int = 128) -> NDArray[np.uint8]:
    """A wall that darkens downwards, and a brighter floor from the middle on."""
    rows = np.where(np.arange(height) < height // 2, 90 - 30 * np.arange(height) / height, 130)
    grey = np.broadcast_to(rows[:, None, None], (height, width, 3)) + np.array([0, 5, 20])
    return grey.round().astype(np.uint8)


def with_discs(*discs: tuple[float, float, float], size: tuple[int, int] = (128, 128)) -> Image.Image:
    """The room with red discs (x, y, radius in pixels)."""
    picture = Image.fromarray(room(*size))
    for x, y, radius in discs:
        ImageDraw.Draw(picture).ellipse((x - radius, y - radius, x + radius, y + radius), RED)
    return picture


def box(x: float, y: float, radius: float, size: tuple[int, int] = (128, 128)) -> tuple[float, ...]:
    return (
        (x - radius) / size[0],
        (y - radius) / size[1],
        (x + radius) / size[0],
        (y + radius) / size[1],
    )


def reddish(picture: Image.Image) -> NDArray[np.bool_]:
    pixels = np.asarray(picture).astype(int)
    return (pixels[..., 0] - pixels[..., 2]) > 60


def take(*discs: tuple[float, float, float], size: tuple[int, int] = (128, 128)) -> list[CloseUp | None]:
    boxes = [box(*disc, size=size) for disc in discs]
    return take_close_ups(with_discs(*discs, size=size), boxes)  # pyright: ignore[reportArgumentType]


def test_a_hole_is_filled_by_the_rest_of_its_rows() -> None:
    hole = np.zeros((128, 128), bool)
    hole[40:90, 20:70] = True
    pixels = np.asarray(with_discs((45, 65, 20)), np.float64)
    filled = fill_backdrop(pixels, hole, 1.0)
    off = np.abs(filled - room())
    assert off[~hole].max() == 0 or not hole.all()
    # One row on either side of the floor's edge is a little blurred.
    assert np.delete(off, range(61, 67), axis=0).max() < 2
    assert off.max() < 12


def test_a_small_thing_becomes_large_and_stands_on_the_floor() -> None:
    [near] = take((90, 30, 11))  # it hangs before the wall
    assert near is not None and near.zoom == MOST
    rows, columns = np.nonzero(reddish(near.picture))
    assert np.ptp(columns) + 1 == pytest.approx(MOST * 23, abs=4)
    assert columns.mean() == pytest.approx(63.5, abs=1.5)
    assert rows.max() == pytest.approx(near.foot[1], abs=3)
    free = ~reddish(near.picture)
    free[:, 25:105] = False
    assert np.abs(np.asarray(near.picture, float) - room())[free].max() <= 1, "the room is as it was"


def test_what_is_large_already_is_left_alone() -> None:
    large = TALL * 128 / 2
    assert take((64, 70, large)) == [None]
    small, same = take((20, 30, 8), (85, 70, large))
    assert small is not None and same is None


@pytest.mark.parametrize("size", [(128, 128), (256, 192)])
def test_a_thing_comes_back_as_it_was_or_as_it_was_painted(size: tuple[int, int]) -> None:
    unit = min(size) / 128
    disc = (90 * unit, 34 * unit, 12 * unit)
    picture = with_discs(disc, size=size)
    [near] = take(disc, size=size)
    assert near is not None
    same = np.asarray(put_back(picture, cut_out(near, near.picture)), float)
    off = np.abs(same - np.asarray(picture, float)).max(-1)
    assert off.mean() < 1 and np.percentile(off, 99) < 40, "only the disc's edge is softer"
    far = np.ones(off.shape, bool)
    far[: round(60 * unit), round(64 * unit) :] = False
    assert off[far].max() == 0

    pixels = np.asarray(near.picture).copy()
    pixels[reddish(near.picture)] = BLUE
    blue = np.asarray(put_back(picture, cut_out(near, Image.fromarray(pixels))), int)
    centre = blue[round(disc[1]), round(disc[0])]
    assert np.abs(centre - BLUE).max() < 12
    assert not reddish(Image.fromarray(blue.astype(np.uint8))).any()


def test_what_was_larger_gives_way_to_the_backdrop() -> None:
    picture = with_discs((60, 34, 14))
    [near] = take((60, 34, 14))
    assert near is not None
    x, y = near.foot
    smaller = Image.fromarray(room())
    ImageDraw.Draw(smaller).ellipse((x - 12, y - 24, x + 12, y), RED)
    back = put_back(picture, cut_out(near, smaller))
    assert 0 < reddish(back).sum() < 0.35 * reddish(picture).sum()
    bare = ~reddish(back)
    bare[28:52, 50:72] = False
    assert np.abs(np.asarray(back, float) - room())[bare].max() < 25


@pytest.mark.parametrize(("aside", "grown"), [(0, 1.25), (10, 1.0), (-6, 1.15)])
def test_what_came_out_larger_or_elsewhere_is_made_to_fit(aside: float, grown: float) -> None:
    picture = with_discs((60, 34, 14), (100, 90, 9))
    near, _ = take((60, 34, 14), (100, 90, 9))
    assert near is not None
    x, y = near.foot
    radius = grown * 14 * near.zoom
    painted = Image.fromarray(room())
    ellipse = (x + aside - radius, y - 2 * radius, x + aside + radius, y)
    ImageDraw.Draw(painted).ellipse(ellipse, RED)
    back = reddish(put_back(picture, cut_out(near, painted)))
    rows, columns = np.nonzero(back[:70])
    assert (rows.min(), rows.max()) == pytest.approx((20, 48), abs=2), "a whole disc, where the old one was"
    assert (columns.min(), columns.max()) == pytest.approx((46, 74), abs=2)
    assert back[:70].sum() == pytest.approx(np.pi * 14**2, rel=0.12)
    assert reddish(picture)[70:].sum() == back[70:].sum(), "the other thing is as it was"


def test_a_thing_that_sticks_out_of_its_box_is_taken_away_whole() -> None:
    picture = with_discs((60, 34, 14), (100, 90, 9))
    short = (46 / 128, 22 / 128, 65 / 128, 47 / 128)  # a third is missing on the right
    near, _ = take_close_ups(picture, [short, box(100, 90, 9)])  # pyright: ignore[reportArgumentType]
    assert near is not None
    assert near.box == pytest.approx((46, 20, 75, 49), abs=1.5)
    bare = Image.fromarray(room())
    left = reddish(put_back(picture, cut_out(near, bare)))
    assert not left[:70].any(), "nothing of it stays behind"
    assert left[70:].sum() == reddish(picture)[70:].sum()


def test_a_neighbour_does_not_come_along() -> None:
    near, other = take((40, 40, 12), (68, 40, 12))
    assert near is not None and other is not None
    for each in (near, other):
        _, columns = np.nonzero(reddish(each.picture))
        assert np.ptp(columns) + 1 == pytest.approx(24 * each.zoom, abs=4), "one disc, and no part of another"


def test_what_came_out_too_large_is_refused() -> None:
    near = take((60, 34, 14))[0]
    assert near is not None
    painted = Image.fromarray(room())
    x, y = near.foot
    ImageDraw.Draw(painted).ellipse((x - 60, y - 90, x + 60, y), RED)
    with pytest.raises(CutOff, match="too large, close up"):
        cut_out(near, painted)


def test_an_enlarged_picture_gets_the_detail_that_the_close_up_has() -> None:
    picture = with_discs((60, 34, 14))
    [near] = take((60, 34, 14))
    assert near is not None and near.zoom > 2
    striped = np.asarray(near.picture).copy()
    stripes = reddish(near.picture) & (np.arange(128) // 2 % 2 == 0)
    striped[stripes] = BLUE
    cut = cut_out(near, Image.fromarray(striped))

    def contrast(scale: int) -> float:
        """Between neighbouring stripes, within the disc."""
        enlarged = picture.resize((128 * scale, 128 * scale), Image.Resampling.BICUBIC)
        back = np.asarray(put_back(enlarged, cut), float)
        assert back.shape == (128 * scale, 128 * scale, 3)
        inside = back[30 * scale : 38 * scale, 52 * scale : 68 * scale, 0]
        return float(inside.std())

    assert contrast(2) > 1.5 * contrast(1)


def test_a_thing_in_front_of_much_is_refused() -> None:
    noise = np.random.default_rng(3).integers(0, 255, (128, 128, 3)).astype(np.uint8)
    with pytest.raises(NotPlain, match=r"its pixels are \d+ of 255 off"):
        take_close_ups(Image.fromarray(noise), [(0.4, 0.4, 0.6, 0.6)])
    with pytest.raises(NotPlain, match="things cover the whole picture"):
        take_close_ups(with_discs((64, 64, 60)), [(0.0, 0.0, 1.0, 1.0)])
    [near] = take((64, 40, 10))
    assert near is not None
    with pytest.raises(NotPlain):
        cut_out(near, Image.fromarray(noise))


def test_where_nothing_was_pointed_out_there_is_nothing_to_take() -> None:
    assert take_close_ups(with_discs((64, 40, 10)), []) == []

"""Lines, points, sizes: what a depth means in space, and that nothing flies."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from models.pixel_perfect_depth.alignment import AlignmentError, align
from models.pixel_perfect_depth.colouring import colour, from_levels, to_levels
from models.pixel_perfect_depth.geometry import Intrinsics, near_others, point_cloud, unproject
from models.pixel_perfect_depth.metrics import canny, depth_errors, edge_chamfer, edge_mask
from models.pixel_perfect_depth.normalisation import normalise
from models.pixel_perfect_depth.point_files import write_points
from models.pixel_perfect_depth.stitching import windows
from models.pixel_perfect_depth.upsampling import resample
from models.pixel_perfect_depth.viewer import write_page
from models.tool import ToolError


def step(side: int = 32, near: float = 2.0, far: float = 6.0) -> np.ndarray:
    """A near square before a far wall."""
    depth = np.full((side, side), far)
    depth[side // 4 : -side // 4, side // 4 : -side // 4] = near
    return depth


@pytest.mark.parametrize("share", [0.0, 0.2, 0.35])
def test_a_line_is_found_among_wild_pixels(share: float) -> None:
    rng = np.random.default_rng(0)
    relative = rng.uniform(0, 1, (40, 60))
    reference = np.exp(1.7 * relative + 0.4) - 1
    wild = rng.random(relative.shape) < share
    reference[wild] = rng.uniform(0.1, 60, int(wild.sum()))
    fit = align(relative, reference)
    assert fit.scale == pytest.approx(1.7, abs=0.01) and fit.shift == pytest.approx(0.4, abs=0.02)
    assert align(relative, reference) == fit  # the same each time
    plain = align(relative, reference, method="least_squares")
    assert abs(plain.scale - 1.7) >= abs(fit.scale - 1.7) - 1e-9
    np.testing.assert_allclose(fit.metric(relative)[~wild], reference[~wild], rtol=0.02)


@pytest.mark.parametrize(
    ("relative", "reference", "message"),
    [
        (np.zeros((4, 4)), np.ones((4, 4)), "the same everywhere"),
        (np.linspace(0, 1, 16).reshape(4, 4), np.linspace(9, 1, 16).reshape(4, 4), "of two pictures"),
        (np.full((4, 4), np.nan), np.ones((4, 4)), "0 valid pixels"),
        (np.zeros((4, 4)), np.ones((4, 5)), "cannot be fitted to one of"),
    ],
)
def test_what_cannot_be_aligned(relative: np.ndarray, reference: np.ndarray, message: str) -> None:
    with pytest.raises(AlignmentError, match=message):
        align(relative, reference)


def test_an_empty_mask_has_no_target() -> None:
    with pytest.raises(ValueError, match="picture 1 of the batch has no valid depth below 80"):
        normalise(torch.full((2, 1, 4, 4), 3.0), torch.tensor([1, 0]).view(2, 1, 1, 1).expand(2, 1, 4, 4))


def test_points_go_back_to_their_pixels() -> None:
    camera = Intrinsics.of_view(32, 24, 60)
    depth = np.random.default_rng(0).uniform(1, 5, (24, 32))
    points = unproject(depth, camera)
    u = points[..., 0] / points[..., 2] * camera.fx + camera.cx - 0.5
    v = points[..., 1] / points[..., 2] * camera.fy + camera.cy - 0.5
    np.testing.assert_allclose(u, np.broadcast_to(np.arange(32), (24, 32)), atol=1e-9)
    np.testing.assert_allclose(v, np.broadcast_to(np.arange(24)[:, None], (24, 32)), atol=1e-9)
    edge = unproject(np.full((24, 32), 1.0), camera)[0, :, 0]
    assert edge[0] == pytest.approx(-edge[-1])  # the principal point is in the middle


def test_cameras() -> None:
    picture = Image.new("RGB", (64, 48))
    assert Intrinsics.of_exif(picture) is None
    picture.getexif().get_ifd(0x8769)[0xA405] = 43
    found = Intrinsics.of_exif(picture)
    assert found is not None and found.fx == pytest.approx(80, rel=0.01)
    assert Intrinsics(32, 32, 32, 24).resized(0.5, 0.5) == Intrinsics(16, 16, 16, 12)
    for degrees in (0, 180, -5):
        with pytest.raises(ValueError, match="between 0 and 180"):
            Intrinsics.of_view(8, 8, degrees)
    with pytest.raises(ValueError, match="above 0 pixels"):
        Intrinsics(0, 1, 1, 1)


def test_points_that_hang_in_the_air_go() -> None:
    rng = np.random.default_rng(0)
    surface = np.column_stack([rng.uniform(0, 1, (500, 2)), np.ones(500)])
    flying = np.array([[0.5, 0.5, 0.2], [0.1, 0.9, 0.4]])
    stays = near_others(np.concatenate([surface, flying]))
    assert not stays[-2:].any() and stays[:-2].mean() > 0.97


def test_a_cloud_of_valid_pixels() -> None:
    depth = step()
    depth[0, 0], depth[0, 1] = np.nan, 0
    picture = np.zeros((32, 32, 3), np.uint8)
    cloud = point_cloud(depth, Intrinsics.of_view(32, 32, 60), picture, deviations=None)
    assert len(cloud) == 32 * 32 - 2
    with pytest.raises(ValueError, match="there are no points"):
        point_cloud(depth, Intrinsics.of_view(32, 32, 60), picture, np.zeros((32, 32), bool))
    with pytest.raises(ValueError, match="not of one size"):
        point_cloud(depth[1:], Intrinsics.of_view(32, 32, 60), picture)


@pytest.mark.parametrize("how", ["nearest", "guided"])
def test_no_depth_is_mixed_but_where_it_is_asked_for(how: str) -> None:
    depth = torch.from_numpy(step(16)).float()[None, None]
    large = torch.from_numpy(step(62)).float()[None, None]
    picture = (large < 4).float().expand(-1, 3, -1, -1)
    found = resample(depth, (62, 62), how, picture)  # pyright: ignore[reportArgumentType]
    assert set(found.unique().tolist()) == {2.0, 6.0}
    wrong = (found != large).float().mean()
    assert wrong < (0.001 if how == "guided" else 0.05)
    mixed = resample(depth, (62, 62), "bilinear")
    assert ((mixed > 2.1) & (mixed < 5.9)).float().mean() > 0.02
    with pytest.raises(ValueError, match="none was given"):
        resample(depth, (62, 62), "guided")


def test_edges_are_where_depth_jumps() -> None:
    true = step()
    near = edge_mask(true, np.ones_like(true))
    assert near[8, 16] and near[23, 16] and not near[16, 16] and not near[1, 1]
    assert canny(np.zeros((8, 8)), 1, 1, 2).sum() == 0
    ring = canny(np.pad(np.full((16, 16), 200.0), 8), 1.0, 4, 10)
    assert 40 < ring.sum() < 90  # one pixel wide


def test_the_rim_of_a_hole_is_no_edge() -> None:
    wall, valid = np.full((32, 32), 3.0), np.ones((32, 32), bool)
    valid[10:20, 10:20] = False
    assert not edge_mask(wall, valid).any()
    depth = step(32)
    holes = np.ones((32, 32), bool)
    holes[2:5, 2:5] = False
    assert np.array_equal(edge_mask(depth, holes), edge_mask(depth, np.ones((32, 32), bool)))


def test_flying_points_cost_at_edges() -> None:
    camera, true = Intrinsics.of_view(32, 32, 60), step()
    mask = np.ones_like(true)
    assert edge_chamfer(true, true, mask, camera) == 0
    blurred = torch.from_numpy(true)[None, None]
    blurred = torch.nn.functional.avg_pool2d(
        torch.nn.functional.pad(blurred, (1, 1, 1, 1), mode="replicate"), 3, 1
    )[0, 0].numpy()
    assert edge_chamfer(blurred, true, mask, camera) > 0.1
    assert edge_chamfer(true * 1.01, true, mask, camera) < 0.05
    assert depth_errors(true * 1.1, true, mask).abs_rel == pytest.approx(0.1, rel=1e-3)
    with pytest.raises(ValueError, match="has no edge"):
        edge_chamfer(true, np.ones((32, 32)), mask, camera)
    with pytest.raises(ValueError, match="no pixel is valid"):
        depth_errors(true, true, np.zeros_like(true))


def test_depth_survives_its_file() -> None:
    depth = np.random.default_rng(0).normal(0.5, 0.3, (9, 7)).astype(np.float32)
    low, high = float(depth.min()), float(depth.max())
    again = from_levels(to_levels(depth, low, high), low, high)
    np.testing.assert_allclose(again, depth, atol=(high - low) / 65535)
    flat = np.full((4, 4), 0.3, np.float32)
    assert np.array_equal(from_levels(to_levels(flat, 0.3, 0.3), 0.3, 0.3), flat)
    assert colour(flat).getpixel((0, 0)) == (158, 1, 66)
    assert colour(np.linspace(0, 1, 100).reshape(10, 10)).getpixel((9, 9)) == (94, 79, 162)
    with pytest.raises(ValueError, match="not in mode 'L'"):
        from_levels(Image.new("L", (2, 2)), 0, 1)


def test_points_as_files(tmp_path: Path) -> None:
    import trimesh

    picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    cloud = point_cloud(step(), Intrinsics.of_view(32, 32, 60), picture, deviations=None)
    for name in ("a.ply", "b.glb"):
        write_points(cloud, tmp_path / name)
        read = trimesh.load(tmp_path / name)
        parts = list(read.geometry.values()) if isinstance(read, trimesh.Scene) else [read]
        np.testing.assert_allclose(parts[0].vertices, cloud.points * [1, -1, -1], atol=1e-5)
        assert np.array_equal(np.asarray(parts[0].colors)[:, :3], cloud.colours)
    write_page(cloud, tmp_path / "c.html", "<a picture>")
    page = (tmp_path / "c.html").read_text("utf-8")
    assert (
        "&lt;a picture&gt;: 1,024 points" in page and "Three.js Authors" in page and "http" not in page[:600]
    )
    with pytest.raises(ToolError, match=r"as \.ply or \.glb, not as d\.obj"):
        write_points(cloud, tmp_path / "d.obj")
    (tmp_path / "file").write_text("")
    with pytest.raises(ToolError, match="could not be written"):
        write_points(cloud, tmp_path / "file" / "e.ply")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.ply", "b.glb", "c.html", "file"]


@pytest.mark.parametrize("frames", [1, 3, 15, 16, 17, 29, 30, 100])
def test_windows_show_every_frame(frames: int) -> None:
    found = windows(frames)
    assert all(len(window) == 16 for window in found)
    assert {number for window in found for number in window} == set(range(frames))
    for before, window in pairwise(found):
        assert window[:3] == [before[0], before[8], before[15]]

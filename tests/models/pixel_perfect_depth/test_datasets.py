"""Benchmarks as they lie on a disk: every layout, unit, crop and range, and what is refused."""

import shutil
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from models.pixel_perfect_depth import dataset_rules
from models.pixel_perfect_depth.dataset_rules import RULES, nearest, plane_depth
from models.pixel_perfect_depth.datasets import Sample, open_dataset
from models.pixel_perfect_depth.geometry import Intrinsics
from models.tool import ToolError


def save_picture(path: Path, height: int = 12, width: int = 16) -> Path:
    """Red is the column modulo 256, green the row, blue 7."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((height, width, 3), 7, np.uint8)
    pixels[..., 0], pixels[..., 1] = np.arange(width) % 256, (np.arange(height) % 256)[:, None]
    Image.fromarray(pixels).save(path)
    return path


def save_levels(path: Path, levels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.frombytes("I;16", levels.shape[::-1], levels.astype("<u2").tobytes()).save(path)
    return path


def save_array(path: Path, values: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, values)
    return path


def save_nyuv2(folder: Path, number: int, levels: np.ndarray | None = None, scene: str = "office_1") -> None:
    levels = np.full((12, 16), 2500) if levels is None else levels
    save_picture(folder / "test" / scene / f"rgb_{number:04}.png", *levels.shape)
    save_levels(folder / "test" / scene / f"depth_{number:04}.png", levels)


def only(name: str, path: Path) -> Sample:
    [sample] = open_dataset(name, path)
    assert sample.depth.dtype == np.float32 and sample.mask.dtype == np.bool_
    assert sample.depth.shape == sample.mask.shape and not sample.depth[~sample.mask].any()
    return sample


def test_nyuv2_is_in_millimetres_from_a_tenth_to_ten_metres(tmp_path: Path) -> None:
    levels = np.full((12, 16), 2500)
    levels[0, :6] = 0, 100, 101, 9999, 10000, 65535
    save_nyuv2(tmp_path, 3, levels)
    sample = only("nyuv2", tmp_path)
    assert sample.name == "test/office_1/rgb_0003" and sample.picture.size == (16, 12)
    assert sample.mask[0, :7].tolist() == [False, False, True, True, False, False, True]
    np.testing.assert_allclose(sample.depth[0, [2, 3, 6]], [0.101, 9.999, 2.5], rtol=1e-6)
    assert sample.camera is None, "the camera is that of 640 x 480"
    save_nyuv2(tmp_path / "whole", 3, np.full((480, 640), 2500))
    camera = only("nyuv2", tmp_path / "whole").camera
    assert camera is not None and (camera.fx, camera.cx) == pytest.approx((518.857901, 325.082449))


def test_kitti_is_cut_and_counts_in_a_box(tmp_path: Path) -> None:
    drive = "2011_09_26_drive_0002_sync"
    levels = np.full((375, 1242), 256 * 20)
    levels[200, 300:304] = 25, 26, 80 * 256 - 1, 80 * 256
    save_picture(tmp_path / "2011_09_26" / drive / "image_02" / "data" / "0000000069.png", 375, 1242)
    save_levels(tmp_path / "val" / drive / "proj_depth/groundtruth/image_02/0000000069.png", levels)
    sample = only("kitti", tmp_path)
    assert sample.name == f"2011_09_26/{drive}/image_02/data/0000000069"
    assert sample.picture.size == (1216, 352) and sample.depth.shape == (352, 1216)
    assert sample.picture.getpixel((0, 0)) == (13, 23, 7), "the lowest rows, the middle columns"
    rows, columns = np.flatnonzero(sample.mask.any(1)), np.flatnonzero(sample.mask.any(0))
    assert (rows[0], rows[-1], columns[0], columns[-1]) == (117, 320, 43, 1171)
    assert sample.mask[177, 286:292].tolist() == [True, False, True, True, False, True]
    np.testing.assert_allclose(sample.depth[177, [286, 288, 289]], [20, 26 / 256, 80 - 1 / 256])
    assert sample.mask.sum() == 204 * 1129 - 2 and sample.camera is None


def test_eth3d_is_raw_and_becomes_smaller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "dslr_images/DSC_0219.JPG"
    picture = tmp_path / "rgb" / "office" / "images" / name
    picture.parent.mkdir(parents=True)
    Image.new("RGB", (36, 24), (90, 120, 30)).save(picture)
    raw = tmp_path / "depth" / "office_dslr_depth" / "office" / "ground_truth_depth" / name
    raw.parent.mkdir(parents=True)
    depth = np.zeros((24, 36), "<f4")  # 0 and infinity: unknown
    depth[1::3, 1::3] = np.inf  # the middles of 3 x 3 blocks, which the nearest takes
    depth[4, 7], depth[4, 8], depth[7, 7], depth[10, 7], depth[13, 7] = 5, 6, 0.01, 0.011, 4000
    raw.write_bytes(depth.tobytes())
    with pytest.raises(ToolError, match=r"has 3,456 bytes: ETH3D's ground truth is 97,542,144 bytes"):
        only("eth3d", tmp_path)
    assert dataset_rules.ETH3D_LOOKED_AT == (1360, 2048)
    monkeypatch.setattr(dataset_rules, "ETH3D_SIZE", (24, 36))
    monkeypatch.setattr(dataset_rules, "ETH3D_LOOKED_AT", (8, 12))
    sample = only("eth3d", tmp_path)
    assert sample.name == "rgb/office/images/dslr_images/DSC_0219"
    assert sample.depth.shape == (8, 12) and sample.picture.size == (12, 8)
    assert np.argwhere(sample.mask).tolist() == [[1, 2], [3, 2], [4, 2]]
    np.testing.assert_allclose(sample.depth[sample.mask], [5, 0.011, 4000])
    Image.new("RGB", (38, 25)).save(picture)  # an undistorted picture has other pixels
    with pytest.raises(ToolError, match=r"is 38 x 25 and .* 36 x 24: they are not of one edition"):
        only("eth3d", tmp_path)


def test_nearest_keeps_whole_values() -> None:
    values = np.arange(24.0).reshape(4, 6)
    assert nearest(values, 2, 2).tolist() == [[7, 10], [19, 22]]
    assert nearest(values, 4, 6).tolist() == values.tolist()


def test_scannet_has_larger_pictures_than_depths(tmp_path: Path) -> None:
    levels = np.full((48, 64), 1234)
    levels[0, :4] = 10, 11, 9999, 10000
    save_picture(tmp_path / "scene0011_00" / "color" / "000200.jpg", 97, 130)
    save_levels(tmp_path / "scene0011_00" / "depth" / "000200.png", levels)
    sample = only("scannet", tmp_path)
    assert sample.name == "scene0011_00/color/000200" and sample.picture.size == (130, 97)
    assert sample.mask[0, :5].tolist() == [False, True, True, False, True] and sample.camera is None
    assert sample.depth[0, 4] == pytest.approx(1.234)
    told = tmp_path / "scene0011_00" / "intrinsic" / "intrinsic_depth.txt"
    told.parent.mkdir()
    told.write_text("577.87 0 319.5 0\n0 577.9 239.5 0\n0 0 1 0\n0 0 0 1\n")
    assert only("scannet", tmp_path).camera == Intrinsics(577.87, 577.9, 319.5, 239.5)
    told.write_text("577.87 0\n")
    with pytest.raises(ToolError, match="is no matrix of a camera"):
        only("scannet", tmp_path)
    save_picture(tmp_path / "scene0011_00" / "color" / "000200.jpg", 60, 60)
    with pytest.raises(ToolError, match=r"is 60 x 60 and .* 64 x 48: they have other proportions"):
        only("scannet", tmp_path)


def save_diode(folder: Path, depth: np.ndarray, known: np.ndarray | None = None) -> Path:
    scan = folder / "indoors" / "scene_00019" / "scan_00183"
    save_picture(scan / "00019_00183_indoors_000_010.png", *depth.shape[:2])
    save_array(scan / "00019_00183_indoors_000_010_depth.npy", depth.astype(np.float32))
    known = np.ones(depth.shape[:2]) if known is None else known
    save_array(scan / "00019_00183_indoors_000_010_depth_mask.npy", known)
    return scan


def test_diode_leaves_out_what_is_masked_or_steep(tmp_path: Path) -> None:
    depth, known = np.full((12, 16, 1), 2.0), np.ones((12, 16))
    depth[:, 10:] = 5
    known[3, 2] = 0
    known[4, 2] = 0.5
    save_diode(tmp_path, depth, known)
    sample = only("diode", tmp_path)
    assert sample.name == "indoors/scene_00019/scan_00183/00019_00183_indoors_000_010"
    expected = np.ones((12, 16), bool)
    expected[:, 9:11], expected[3, 2], expected[4, 2] = False, False, False
    assert np.array_equal(sample.mask, expected) and sample.camera is None
    # Sobel says eight times the slope: .0374 metres a pixel stay, .0376 go, but for the half slope at sides.
    for slope, stays in ((0.0374, 12 * 16), (0.0376, 12 * 2)):
        save_diode(tmp_path, 2 + slope * np.tile(np.arange(16.0), (12, 1)))
        assert only("diode", tmp_path).mask.sum() == stays
    ends = np.array([[0.599, 0.6, 350, 350.1, np.nan, np.inf]], np.float32)
    assert RULES["diode"].counts(ends).tolist() == [[False, True, True, False, False, False]]


def test_hypersim_in_millimetres(tmp_path: Path) -> None:
    levels = np.full((12, 16), 3000)
    levels[0, :4] = 100, 101, 64999, 65000
    save_picture(tmp_path / "ai_001_010" / "rgb_cam_00_fr0000.png")
    save_levels(tmp_path / "ai_001_010" / "depth_plane_cam_00_fr0000.png", levels)
    sample = only("hypersim", tmp_path)
    assert sample.name == "ai_001_010/rgb_cam_00_fr0000"
    assert sample.mask[0, :5].tolist() == [False, True, True, False, True]
    assert sample.camera is not None and sample.camera.fx == pytest.approx(8 / np.tan(np.radians(30)))


def test_hypersim_as_distributed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "ai_001_010" / "images"
    save_picture(folder / "scene_cam_00_final_preview" / "frame.0000.tonemap.jpg", 768, 1024)
    held = folder / "scene_cam_00_geometry_hdf5" / "frame.0000.depth_meters.hdf5"
    save_array(folder / "held.npy", np.full((768, 1024), 4.0, np.float16))
    held.parent.mkdir()
    held.write_bytes(b"")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ToolError, match=r"frame\.0000\.depth_meters\.hdf5 is HDF5, .*`pip install h5py`"):
        only("hypersim", tmp_path)

    class File(dict[str, np.ndarray]):
        """h5py is no dependency: this is the part of it that is used."""

        def __init__(self, path: Path, mode: str) -> None:
            assert (path, mode) == (held, "r")
            super().__init__(dataset=np.load(folder / "held.npy"))

        def __enter__(self) -> "File":
            return self

        def __exit__(self, *_: object) -> None: ...

    stand_in = ModuleType("h5py")
    monkeypatch.setattr(stand_in, "File", File, raising=False)
    monkeypatch.setitem(sys.modules, "h5py", stand_in)
    depth = only("hypersim", tmp_path).depth
    focal = 886.8100134752652
    assert depth[0, 0] == pytest.approx(
        4 / np.sqrt(1 + (511.5 / focal) ** 2 + (383.5 / focal) ** 2), rel=1e-6
    )
    assert depth[384, 512] == pytest.approx(4, rel=1e-6)


def test_a_plane_is_flat_again() -> None:
    camera = Intrinsics(10, 12, 3, 2)
    u, v = np.meshgrid(np.arange(6) + 0.5, np.arange(4) + 0.5)
    along_ray = 7 * np.sqrt(((u - 3) / 10) ** 2 + ((v - 2) / 12) ** 2 + 1)
    np.testing.assert_allclose(plane_depth(along_ray.astype(np.float32), camera), 7, rtol=1e-6)


def test_a_list_says_what_is_read_and_in_which_order(tmp_path: Path) -> None:
    for number, scene in ((1, "b_1"), (2, "a_1"), (3, "a_1")):
        save_nyuv2(tmp_path, number, scene=scene)
    by_path = ["test/a_1/rgb_0002", "test/a_1/rgb_0003", "test/b_1/rgb_0001"]
    walked = open_dataset("nyuv2", tmp_path)
    assert [sample.name for sample in walked] == by_path and (walked.source, len(walked)) == ("", 3)
    (tmp_path / "README.txt").write_text("rgb and depth as in the paper\n")
    (tmp_path / "list.txt").write_text(
        "test/b_1/rgb_0001.png test/b_1/depth_0001.png test/b_1/filled_0001.png\n\n"
        "test/c_1/rgb_0009.png None\n"
        "test/a_1/rgb_0002.png test/a_1/depth_0002.png\n"
    )
    listed = open_dataset("nyuv2", tmp_path)
    assert [sample.name for sample in listed] == ["test/b_1/rgb_0001", "test/a_1/rgb_0002"]
    assert (listed.source, listed.left_out) == ("list.txt", 1)
    (tmp_path / "short.txt").write_text("test/a_1/rgb_0003.png test/a_1/depth_0003.png\n")
    assert [entry.name for entry in open_dataset("nyuv2", tmp_path / "short.txt").entries] == by_path[1:2]
    with pytest.raises(ToolError, match=r"several lists \(list\.txt, short\.txt\): name the one"):
        open_dataset("nyuv2", tmp_path)


def test_kitti_s_list_knows_no_train_and_val(tmp_path: Path) -> None:
    drive, truth = "2011_09_26_drive_0002_sync", "proj_depth/groundtruth/image_02/0000000069.png"
    picture = f"2011_09_26/{drive}/image_02/data/0000000069.png"
    save_picture(tmp_path / picture)
    depth = save_levels(tmp_path / "train" / drive / truth, np.full((12, 16), 256))
    (tmp_path / "eigen.txt").write_text(f"{picture} {drive}/{truth} 721.5377\n")
    dataset = open_dataset("kitti", tmp_path)
    assert dataset.entries[0].depth == depth
    with pytest.raises(ToolError, match=r"is 16 x 12: KITTI's benchmark cuts 1216 x 352 out of it"):
        next(iter(dataset))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "test/office_1/rgb_0001.png\n",
            r"list\.txt, line 1, says 'test/office_1/rgb_0001.png': picture and",
        ),
        ("\ntest/office_1/rgb_0001.png no.png\n", r"line 2, names no\.png, and there is no such file"),
        ("test/office_1/rgb_0001.png None\n", "lists no picture with a depth"),
        ("test/office_1/rgb_0001.png test/office_1/depth_0001.png\n" * 2, "rgb_0001 more than once"),
    ],
)
def test_lists_that_are_refused(tmp_path: Path, text: str, message: str) -> None:
    save_nyuv2(tmp_path, 1)
    (tmp_path / "list.txt").write_text(text)
    with pytest.raises(ToolError, match=message):
        open_dataset("nyuv2", tmp_path)


def test_folders_that_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="'nyu': use nyuv2, kitti, eth3d, scannet, diode, hypersim"):
        open_dataset("nyu", tmp_path)
    with pytest.raises(ToolError, match="there is no folder"):
        open_dataset("nyuv2", tmp_path / "nowhere")
    for name, told in (("nyuv2", "depth_N.png"), ("kitti", "train/ or val/"), ("diode", "N_depth_mask.npy")):
        with pytest.raises(ToolError, match=f"holds nothing of this dataset: it has .*{told}"):
            open_dataset(name, tmp_path)
    save_nyuv2(tmp_path, 1)
    shutil.copy(tmp_path / "test/office_1/depth_0001.png", tmp_path / "test/office_1/depth_0002.png")
    with pytest.raises(ToolError, match=r"depth_0002\.png has no picture: .*rgb_0002\.png is missing"):
        open_dataset("nyuv2", tmp_path)
    scan = save_diode(tmp_path, np.full((12, 16, 1), 2.0))
    (scan / "00019_00183_indoors_000_010_depth_mask.npy").unlink()
    with pytest.raises(ToolError, match=r"_depth\.npy has no mask: .*_depth_mask\.npy is missing"):
        open_dataset("diode", tmp_path)


def test_files_that_are_refused(tmp_path: Path) -> None:
    save_nyuv2(tmp_path, 1)
    depth = tmp_path / "test/office_1/depth_0001.png"
    save_levels(depth, np.full((12, 20), 2500))
    with pytest.raises(
        ToolError, match=r"rgb_0001\.png is 16 x 12 and .*depth_0001\.png 20 x 12: they are not"
    ):
        only("nyuv2", tmp_path)
    Image.new("L", (16, 12), 9).save(depth)
    with pytest.raises(
        ToolError, match=r"depth_0001\.png is in mode L: depth is 16 bits of grey here, 1000 a"
    ):
        only("nyuv2", tmp_path)
    depth.write_bytes(b"none")
    with pytest.raises(ToolError, match=r"depth_0001\.png is no depth that can be read"):
        only("nyuv2", tmp_path)
    for values, known in ((np.ones((12, 16, 2)), np.ones((12, 16))), (np.ones((12, 16)), np.ones((12, 15)))):
        save_diode(tmp_path, values, known)
        with pytest.raises(ToolError, match="DIODE has a number a pixel"):
            only("diode", tmp_path)
    scan = save_diode(tmp_path, np.ones((12, 16)))
    (scan / "00019_00183_indoors_000_010_depth.npy").write_bytes(b"")
    with pytest.raises(ToolError, match=r"_depth\.npy is no NumPy array"):
        only("diode", tmp_path)

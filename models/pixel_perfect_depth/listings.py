"""Which files of a depth dataset belong together: by a list, or by how the dataset is laid out.

A list is a text file in the dataset's folder with a line for each picture: picture, depth and, where the
dataset has one, mask, relative to the folder and parted by blanks, as in Marigold's data_split. What else
stands in a line (NYUv2's filled depth, KITTI's focal length) is not looked at; the depth "None" says that
there is no ground truth. Knows paths and opens nothing but lists.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from models.tool import ToolError

DatasetName = Literal["nyuv2", "kitti", "eth3d", "scannet", "diode", "hypersim"]
PICTURES = (".png", ".jpg", ".jpeg")


@dataclass(frozen=True, slots=True)
class Entry:
    """The files of one picture; `name` is the picture's path in the dataset without its suffix."""

    name: str
    picture: Path
    depth: Path
    mask: Path | None = None


@dataclass(frozen=True, slots=True)
class Listing:
    """All that will be read, in the list's order or else by path.

    `source` is the list's file name, "" for a walk through the folder. `left_out` counts lines without
    ground truth.
    """

    entries: tuple[Entry, ...]
    source: str
    left_out: int


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a dataset keeps its files, relative to its folder.

    Args:
        told: the layout in words, for those whose folder is another.
        depths: glob patterns of depth files; the first that finds something counts.
        pictures: where the picture of a depth file may lie, likeliest first.
        masks: the same for its mask; None for datasets without masks.
        homes: folders that a list's depths may lie in beside the dataset's own.
    """

    told: str
    depths: tuple[str, ...]
    pictures: Callable[[PurePosixPath], Sequence[PurePosixPath]]
    masks: Callable[[PurePosixPath], Sequence[PurePosixPath]] | None = None
    homes: tuple[str, ...] = ()


def list_entries(path: Path, layout: Layout) -> Listing:
    """What a dataset consists of.

    Args:
        path: its folder, or a list in that folder.
        layout: of the dataset.

    Raises:
        ToolError: there is no such folder, nothing in it fits the layout, it has several lists, a list's
            line cannot be read, or a file has no partner.
    """
    if path.is_file():
        return read_list(path, layout)
    if not path.is_dir():
        raise ToolError(f"there is no folder {path}: name the one that the dataset was unpacked into")
    lists = [file for file in sorted(path.glob("*.txt")) if _is_list(file)]
    if len(lists) > 1:
        raise ToolError(
            f"{path} holds several lists ({', '.join(file.name for file in lists)}): name the one that you "
            "mean instead of the folder"
        )
    return read_list(lists[0], layout) if lists else walk(path, layout)


def read_list(file: Path, layout: Layout) -> Listing:
    """See `list_entries`; paths in the list are relative to its folder."""
    wanted = 2 if layout.masks is None else 3
    entries: list[Entry] = []
    left_out = 0
    for number, line in enumerate(_read(file).splitlines(), 1):
        words = line.split()
        where = f"{file}, line {number}"
        if not words:
            continue
        if len(words) < wanted:
            parts = "picture and depth" if wanted == 2 else "picture, depth and mask"
            raise ToolError(f"{where}, says {line.strip()!r}: {parts} are wanted, parted by blanks")
        if words[1] == "None":
            left_out += 1
            continue
        found = [
            _find_named(file.parent, word, where, layout.homes if place else ())
            for place, word in enumerate(words[:wanted])
        ]
        name = PurePosixPath(words[0]).with_suffix("").as_posix()
        entries.append(Entry(name, *found))
    if not entries:
        raise ToolError(f"{file} lists no picture with a depth: a line is a picture's path and its depth's")
    names = [entry.name for entry in entries]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ToolError(f"{file} lists {twice} more than once: take the other lines out")
    return Listing(tuple(entries), file.name, left_out)


def walk(folder: Path, layout: Layout) -> Listing:
    """See `list_entries`; everything that has a depth, by path."""
    found: list[Path] = []
    for pattern in layout.depths:
        if found := sorted(folder.glob(pattern)):
            break
    if not found:
        raise ToolError(f"{folder} holds nothing of this dataset: it has {layout.told}")
    entries: list[Entry] = []
    for depth in found:
        place = PurePosixPath(depth.relative_to(folder).as_posix())
        picture = _find_partner(folder, layout.pictures(place), depth, "picture")
        mask = None if layout.masks is None else _find_partner(folder, layout.masks(place), depth, "mask")
        name = picture.relative_to(folder).with_suffix("").as_posix()
        entries.append(Entry(name, picture, depth, mask))
    return Listing(tuple(sorted(entries, key=lambda entry: entry.name)), "", 0)


def _is_list(file: Path) -> bool:
    """Whether its first word names a picture: a README is none."""
    first = next(iter(_read(file).split()), "")
    return first.lower().endswith(PICTURES)


def _read(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except (OSError, ValueError) as error:
        raise ToolError(f"{file} is no list that can be read: {error}") from error


def _find_named(folder: Path, name: str, where: str, homes: Sequence[str]) -> Path:
    for home in ("", *homes):
        if (path := folder / home / name).is_file():
            return path
    raise ToolError(
        f"{where}, names {name}, and there is no such file in {folder}: unpack the rest of the dataset, or "
        "take the line out"
    )


def _find_partner(folder: Path, places: Sequence[PurePosixPath], depth: Path, what: str) -> Path:
    for place in places:
        if (path := folder / place).is_file():
            return path
    raise ToolError(
        f"{depth} has no {what}: {folder / places[0]} is missing; unpack the rest of the dataset, or list "
        "what you have in a text file there, a picture and its depth a line"
    )


def _nyuv2_pictures(depth: PurePosixPath) -> Sequence[PurePosixPath]:
    name = depth.with_name(depth.name.replace("depth_", "rgb_", 1))
    return name, name.with_suffix(".jpg")


def _kitti_pictures(depth: PurePosixPath) -> Sequence[PurePosixPath]:
    drive = depth.parts[-5]  # it begins with its date
    return (PurePosixPath(drive[:10], drive, "image_02", "data", depth.name),)


def _eth3d_pictures(depth: PurePosixPath) -> Sequence[PurePosixPath]:
    place = PurePosixPath(depth.parts[-4], "images", "dslr_images", depth.name)
    return place, "rgb" / place


def _scannet_pictures(depth: PurePosixPath) -> Sequence[PurePosixPath]:
    colour = depth.parent.with_name("color")
    return colour / f"{depth.stem}.jpg", colour / f"{depth.stem}.png"


def _diode_pictures(depth: PurePosixPath) -> Sequence[PurePosixPath]:
    return (depth.with_name(depth.name.replace("_depth.npy", ".png")),)


def _diode_masks(depth: PurePosixPath) -> Sequence[PurePosixPath]:
    return (depth.with_name(depth.name.replace("_depth.npy", "_depth_mask.npy")),)


def _hypersim_pictures(depth: PurePosixPath) -> Sequence[PurePosixPath]:
    if depth.suffix == ".png":
        return (depth.with_name(depth.name.replace("depth_plane_", "rgb_", 1)),)
    preview = depth.parent.with_name(depth.parent.name.replace("_geometry_hdf5", "_final_preview"))
    return (preview / depth.name.replace("depth_meters.hdf5", "tonemap.jpg"),)


LAYOUTS: dict[DatasetName, Layout] = {
    "nyuv2": Layout(
        "test/SCENE/rgb_N.png and depth_N.png (16 bits, millimetres) beside it",
        ("test/*/depth_*.png", "*/depth_*.png"),
        _nyuv2_pictures,
    ),
    "kitti": Layout(
        "DATE/DRIVE/image_02/data/N.png and DRIVE/proj_depth/groundtruth/image_02/N.png, the latter also "
        "below train/ or val/",
        ("*_sync/proj_depth/groundtruth/image_02/*.png", "*/*_sync/proj_depth/groundtruth/image_02/*.png"),
        _kitti_pictures,
        homes=("train", "val"),
    ),
    "eth3d": Layout(
        "SCENE/images/dslr_images/N.JPG and SCENE/ground_truth_depth/dslr_images/N.JPG (raw float32), or "
        "those below rgb/ and depth/SCENE_dslr_depth/",
        ("*/ground_truth_depth/dslr_images/*", "depth/*/*/ground_truth_depth/dslr_images/*"),
        _eth3d_pictures,
    ),
    "scannet": Layout(
        "SCENE/color/N.jpg and SCENE/depth/N.png (16 bits, millimetres)",
        ("scene*/depth/*.png", "*/scene*/depth/*.png"),
        _scannet_pictures,
    ),
    "diode": Layout(
        "indoors/SCENE/SCAN/N.png (and outdoor/...), N_depth.npy and N_depth_mask.npy beside it",
        ("*/scene_*/scan_*/*_depth.npy", "*/*/scene_*/scan_*/*_depth.npy"),
        _diode_pictures,
        _diode_masks,
    ),
    "hypersim": Layout(
        "SCENE/rgb_cam_C_frN.png and depth_plane_cam_C_frN.png (16 bits, millimetres) beside it, or as "
        "distributed SCENE/images/scene_cam_C_geometry_hdf5/frame.N.depth_meters.hdf5 and its tonemap.jpg",
        (
            "*/depth_plane_*.png",
            "*/*/depth_plane_*.png",
            "*/images/scene_cam_*_geometry_hdf5/frame.*.depth_meters.hdf5",
        ),
        _hypersim_pictures,
    ),
}

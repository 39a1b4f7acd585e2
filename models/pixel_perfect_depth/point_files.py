"""Point clouds as files that other programs open: `.ply` and `.glb`, written by trimesh."""

from pathlib import Path
from typing import Any

import numpy as np

from models.pixel_perfect_depth.geometry import PointCloud
from models.tool import ToolError
from models.whole_file import write_whole

SUFFIXES = (".ply", ".glb")


def write_points(cloud: PointCloud, path: Path) -> None:
    """Write a cloud; the name's ending says how.

    In files y points up and z towards the viewer, as programs that show them expect.

    Raises:
        ToolError: another ending, or the file cannot be written.
    """
    import trimesh

    if path.suffix.lower() not in SUFFIXES:
        raise ToolError(f"points are written as {' or '.join(SUFFIXES)}, not as {path.name}")
    points = cloud.points * np.array([1, -1, -1], np.float32)
    made = trimesh.PointCloud(points, colors=cloud.colours)
    written: Any = made.export(file_type=path.suffix.lower()[1:])
    write_whole(path, bytes(written))

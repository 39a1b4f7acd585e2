"""Pixel-Perfect Depth: depth painted in pixels, without flying points (arXiv 2510.07316).

Names are imported when they are first used, so that looking at a card needs no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from models.pixel_perfect_depth.alignment import Alignment, align
    from models.pixel_perfect_depth.clips import estimate_clip
    from models.pixel_perfect_depth.convert import convert_official, read_official
    from models.pixel_perfect_depth.folders import load_pipeline
    from models.pixel_perfect_depth.geometry import Intrinsics, PointCloud, point_cloud, unproject
    from models.pixel_perfect_depth.metrics import depth_errors, edge_chamfer
    from models.pixel_perfect_depth.modeling import PixelPerfectTransformer2DModel
    from models.pixel_perfect_depth.pictures import open_picture
    from models.pixel_perfect_depth.pipeline import PixelPerfectDepthPipeline
    from models.pixel_perfect_depth.point_files import write_points
    from models.pixel_perfect_depth.video import VideoDepthTransformer

_HOMES = {
    "alignment": ("Alignment", "align"),
    "clips": ("estimate_clip",),
    "convert": ("convert_official", "read_official"),
    "folders": ("load_pipeline",),
    "geometry": ("Intrinsics", "PointCloud", "point_cloud", "unproject"),
    "metrics": ("depth_errors", "edge_chamfer"),
    "modeling": ("PixelPerfectTransformer2DModel",),
    "pictures": ("open_picture",),
    "pipeline": ("PixelPerfectDepthPipeline",),
    "point_files": ("write_points",),
    "video": ("VideoDepthTransformer",),
}

__all__ = [
    "Alignment",
    "Intrinsics",
    "PixelPerfectDepthPipeline",
    "PixelPerfectTransformer2DModel",
    "PointCloud",
    "VideoDepthTransformer",
    "align",
    "convert_official",
    "depth_errors",
    "edge_chamfer",
    "estimate_clip",
    "load_pipeline",
    "open_picture",
    "point_cloud",
    "read_official",
    "unproject",
    "write_points",
]


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{home}"), name)
    raise AttributeError(f"{__name__} has no {name!r}")

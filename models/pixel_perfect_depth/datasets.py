"""Depth benchmarks of the field as iterators of pictures with metric depth.

Source: spec section 8 (the official evaluation of Pixel-Perfect Depth, which reads Marigold's lists). Which
files belong together is in `listings`, what is in them in `dataset_rules`. Knows no network.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

import numpy as np
from PIL import Image

from models.pixel_perfect_depth.dataset_rules import RULES, Depths, Masks, Rule
from models.pixel_perfect_depth.geometry import Intrinsics
from models.pixel_perfect_depth.listings import LAYOUTS, DatasetName, Entry, list_entries
from models.tool import ToolError


@dataclass(frozen=True, slots=True)
class Sample:
    """`picture` in RGB, `depth` in metres along the optical axis (H, W), 0 where `mask` (H, W) is False.

    `camera` is of the depth's size; None where it is unknown, or where the ground truth has no edges that
    could be measured: KITTI's and ETH3D's laser points are sparse, and DIODE's rule takes edges out. The
    picture of ScanNet is larger than its depth, with the same proportions; all others have one size.
    """

    name: str
    picture: Image.Image
    depth: Depths
    mask: Masks
    camera: Intrinsics | None


@dataclass(frozen=True, slots=True)
class DepthDataset:
    """The pictures of a benchmark, read as they are asked for, always in the same order.

    `source` is the name of the list that named them, "" if the folder was walked through; `left_out` counts
    the list's pictures without ground truth.
    """

    name: DatasetName
    rule: Rule
    entries: tuple[Entry, ...] = field(repr=False)
    source: str = ""
    left_out: int = 0

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[Sample]:
        return map(self.read, self.entries)

    def read(self, entry: Entry) -> Sample:
        """One of `entries`.

        Raises:
            ToolError: a file cannot be read, or has another size or kind of values than it should.
        """
        raw = self.rule.read(entry)
        mask = self.rule.counts(raw.depth)
        if raw.mask is not None:
            mask &= raw.mask
        depth = np.where(mask, raw.depth, 0).astype(np.float32)
        return Sample(entry.name, raw.picture, depth, mask, raw.camera)


def open_dataset(name: str, path: Path) -> DepthDataset:
    """A benchmark in its usual layout.

    Args:
        name: one of `DatasetName`.
        path: its folder, or a list in that folder; see `listings`.

    Raises:
        ToolError: the name is unknown, the folder holds no such dataset, or a file has no partner.
    """
    known = next((one for one in get_args(DatasetName) if one == name), None)
    if known is None:
        raise ToolError(f"no dataset is called {name!r}: use {', '.join(get_args(DatasetName))}")
    listing = list_entries(path, LAYOUTS[known])
    return DepthDataset(known, RULES[known], listing.entries, listing.source, listing.left_out)

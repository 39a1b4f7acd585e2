"""A sprite atlas made on the spot, in the real file format: CI has no art."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from diorama.atlas import LONGEST, SIDE, Channel, Entry, Manifest, digest, save_atlas
from diorama.drawings import load_drawings


def plain_sprite(width: int, height: int) -> NDArray[np.uint8]:
    """A full rectangle: green main surface, its upper left quarter blue and no main surface."""
    planes = np.zeros((len(Channel), SIDE, SIDE), dtype=np.uint8)
    left, top = (SIDE - width) // 2, (SIDE - height) // 2
    inside = np.zeros((SIDE, SIDE), dtype=bool)
    inside[top : top + height, left : left + width] = True
    quarter = np.zeros_like(inside)
    quarter[top : top + height // 2, left : left + width // 2] = True
    planes[Channel.RED], planes[Channel.GREEN], planes[Channel.BLUE] = 40, 200, 60
    for channel, value in ((Channel.RED, 20), (Channel.GREEN, 30), (Channel.BLUE, 230)):
        planes[channel][quarter] = value
    planes[Channel.ALPHA][inside] = 255
    planes[Channel.HEIGHT][inside] = 255
    planes[Channel.MAIN][inside & ~quarter] = 255
    planes[Channel.TONE] = 128
    return planes


def fitted(aspect: float) -> tuple[int, int]:
    """Texels of a drawing of these proportions."""
    if aspect >= 1:
        return LONGEST, max(1, round(LONGEST / aspect))
    return max(1, round(LONGEST * aspect)), LONGEST


def write_atlas(path: Path) -> Path:
    """Every drawing as a plain rectangle of its proportions."""
    drawings = load_drawings().drawings
    sprites = [plain_sprite(*fitted(drawing.aspect)) for drawing in drawings]
    entries = [
        Entry(
            name=drawing.name,
            width=fitted(drawing.aspect)[0],
            height=fitted(drawing.aspect)[1],
            sha256=digest(sprite),
        )
        for drawing, sprite in zip(drawings, sprites, strict=True)
    ]
    save_atlas(path, np.stack(sprites), Manifest(sprites=tuple(entries), credits=()))
    return path

"""Contact sheets: many pictures on one PNG, for people."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

_LINE = 16
"""Pixels of height that a label takes."""


def contact_sheet(pictures: Tensor, columns: int = 8, zoom: int = 1, gap: int = 4) -> Image.Image:
    """Lay out uint8 [N, 3, S, S] row by row; every pixel becomes `zoom` x `zoom`."""
    return _lay_out(pictures, columns, zoom, gap, ())


def labelled_sheet(pictures: Tensor, labels: Sequence[str], columns: int = 8, gap: int = 4) -> Image.Image:
    """`contact_sheet` with a line of text under every picture.

    Raises:
        ValueError: there are not as many labels as pictures.
    """
    if len(labels) != len(pictures):
        raise ValueError(f"{len(pictures)} pictures need as many labels, there are {len(labels)}")
    return _lay_out(pictures, columns, 1, gap, labels)


def _lay_out(pictures: Tensor, columns: int, zoom: int, gap: int, labels: Sequence[str]) -> Image.Image:
    frames = pictures.cpu().permute(0, 2, 3, 1).numpy()
    size = frames.shape[1] * zoom
    columns = min(columns, len(frames))
    lines = -(-len(frames) // columns)
    step = size + gap + (_LINE if labels else 0)
    sheet = Image.new("RGB", (columns * (size + gap) + gap, lines * step + gap), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    for index, frame in enumerate(frames):
        picture = Image.fromarray(np.ascontiguousarray(frame)).resize((size, size), Image.Resampling.NEAREST)
        left, top = gap + index % columns * (size + gap), gap + index // columns * step
        sheet.paste(picture, (left, top))
        if labels:
            pen.text((left + size / 2, top + size), labels[index], fill="black", font=font, anchor="ma")
    return sheet

"""Contact sheets: many pictures on one PNG, for people."""

import numpy as np
from PIL import Image
from torch import Tensor


def contact_sheet(pictures: Tensor, columns: int = 8, zoom: int = 1, gap: int = 4) -> Image.Image:
    """Lay out uint8 [N, 3, S, S] row by row; every pixel becomes `zoom` x `zoom`."""
    frames = pictures.cpu().permute(0, 2, 3, 1).numpy()
    size = frames.shape[1] * zoom
    columns = min(columns, len(frames))
    lines = -(-len(frames) // columns)
    sheet = Image.new("RGB", (columns * (size + gap) + gap, lines * (size + gap) + gap), "white")
    for index, frame in enumerate(frames):
        picture = Image.fromarray(np.ascontiguousarray(frame)).resize((size, size), Image.Resampling.NEAREST)
        sheet.paste(picture, (gap + index % columns * (size + gap), gap + index // columns * (size + gap)))
    return sheet

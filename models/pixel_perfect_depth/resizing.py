"""The size that a picture is looked at in, and how it gets there.

Source: official code: an area of 1024 x 768 with the picture's proportions, sides rounded to whole tokens;
averaging over areas when it gets smaller, a cubic when it gets larger.
"""

from math import sqrt

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

AREA = 1024 * 768


def size_by_area(height: int, width: int, area: int = AREA, multiple: int = 16) -> tuple[int, int]:
    """(height, width) of about `area` pixels with a picture's proportions, multiples of `multiple`."""
    scale = sqrt(area / (height * width))
    return _whole(height * scale, multiple), _whole(width * scale, multiple)


def size_by_side(height: int, width: int, side: int, multiple: int = 16) -> tuple[int, int]:
    """(height, width) whose longer side is about `side` pixels."""
    scale = side / max(height, width)
    return _whole(height * scale, multiple), _whole(width * scale, multiple)


def _whole(length: float, multiple: int) -> int:
    return max(multiple, round(length / multiple) * multiple)


def resize_picture(picture: Image.Image, height: int, width: int) -> Tensor:
    """An RGB picture as (3, height, width) in 0..1, rounded to 8 bits as the official code has it."""
    if (height, width) == (picture.height, picture.width):
        return _tensor(np.asarray(picture, np.uint8))
    if height * width < picture.height * picture.width:
        return _tensor(np.asarray(picture.resize((width, height), Image.Resampling.BOX), np.uint8))
    pixels = _tensor(np.asarray(picture, np.uint8))[None]
    grown = F.interpolate(pixels, (height, width), mode="bicubic", align_corners=False)
    return (grown[0] * 255).round().clamp(0, 255) / 255


def _tensor(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(np.array(pixels)).permute(2, 0, 1).float() / 255

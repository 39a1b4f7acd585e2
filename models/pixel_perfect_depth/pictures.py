"""A file to an RGB picture, or one clear line why not. What was changed on the way is logged."""

import logging
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from models.tool import ToolError

_LOG = logging.getLogger(__name__)
SMALLEST = 8
"""Shorter sides show nothing that could have depth, in pixels."""
LONGEST = 12
"""Times the shorter side: a longer panorama would be looked at in strips of a token's height."""


def open_picture(path: Path | str) -> Image.Image:
    """The picture in a file, upright and in RGB, 8 bits a channel.

    Turned as its EXIF says, 16 bits scaled to 8, other colours converted, what is see-through laid on white.

    Raises:
        ToolError: there is no such file, it is empty, no picture, damaged, animated, too small, too long, or
            so large that it may be a decompression bomb.
    """
    path = Path(path)
    if not path.is_file():
        raise ToolError(f"there is no file {path}")
    if not path.stat().st_size:
        raise ToolError(f"{path} is empty: 0 bytes")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as opened:
                if getattr(opened, "n_frames", 1) > 1:
                    raise ToolError(
                        f"{path} is animated, {opened.n_frames} pictures: save the one that you mean"  # pyright: ignore[reportAttributeAccessIssue]
                    )
                opened.load()
                picture = ImageOps.exif_transpose(opened)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ToolError(
            f"{path} unpacks to more than {Image.MAX_IMAGE_PIXELS:,} pixels and may be a decompression bomb: "
            "scale it down first"
        ) from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise ToolError(f"{path} is no picture that can be read: {error}") from error
    return check_picture(to_rgb(picture, str(path)), str(path))


def check_picture(picture: Image.Image, name: str = "this picture") -> Image.Image:
    """The picture itself, if its sides make sense.

    Raises:
        ToolError: it is too small or too long.
    """
    short, long = sorted(picture.size)
    told = f"{name} is {picture.width}x{picture.height} pixels"
    if short < SMALLEST:
        raise ToolError(f"{told}: sides of {SMALLEST} at least are wanted")
    if long > LONGEST * short:
        raise ToolError(f"{told}: one side is more than {LONGEST} times the other; cut it into parts")
    return picture


def to_rgb(picture: Image.Image, name: str = "this picture") -> Image.Image:
    """In RGB, 8 bits a channel; says in the log what was done to it."""
    if picture.mode == "RGB":
        return picture
    if picture.mode.startswith(("I", "F")):
        _LOG.warning("%s has more than 8 bits a channel; it is scaled to 8", name)
        return _scaled(picture)
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        _LOG.warning("%s is see-through in places; they are laid on white", name)
        picture = picture.convert("RGBA")
        ground = Image.new("RGBA", picture.size, (255, 255, 255, 255))
        return Image.alpha_composite(ground, picture).convert("RGB")
    if picture.mode == "CMYK":
        _LOG.warning("%s is in CMYK; it is converted without a colour profile", name)
    return picture.convert("RGB")


def _scaled(picture: Image.Image) -> Image.Image:
    """Whole 16-bit values keep their proportions; others run from their least to their most."""
    values = np.asarray(picture, np.float64)
    low, high = (0.0, 65535.0) if picture.mode.startswith("I") else (float(values.min()), float(values.max()))
    share = (values - low) / (high - low or 1.0)
    return Image.fromarray((share.clip(0, 1) * 255).round().astype(np.uint8)).convert("RGB")

"""Pictures from outside: opened without trusting them. Knows no store.

A picture file of 100 KB can hold 900 megapixels (a decompression bomb), so everything is read from the header
before a pixel is decoded.
"""

import hashlib
import io
import warnings
from pathlib import Path

from PIL import Image, ImageOps
from pydantic import JsonValue

MAX_PIXELS = 16_000_000
MAX_BYTES = 64 * 2**20
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK")
FORMATS = ("PNG", "JPEG", "WEBP")


class PictureRefused(ValueError):
    """The file is no picture that is taken; the message says why and what to do."""


def open_foreign_picture(source: Path | bytes) -> tuple[Image.Image, dict[str, JsonValue]]:
    """A user's picture in RGB, upright, transparency laid on white, without metadata; and where it comes
    from.

    Raises:
        PictureRefused: not PNG, JPEG or WEBP; more than 16 megapixels, one frame or 64 MiB; or damaged.
        FileNotFoundError: there is no such file.
    """
    name = None if isinstance(source, bytes) else Path(source).name
    label = name or "the picture"
    content = source if isinstance(source, bytes) else _read(Path(source))
    if len(content) > MAX_BYTES:
        raise PictureRefused(f"{label} has {len(content):,} bytes; at most {MAX_BYTES:,} are taken")
    upright, format_name = _decode(content, label)
    origin: dict[str, JsonValue] = {
        "name": name,
        "format": format_name,
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    if upright.has_transparency_data:
        origin["transparency"] = "laid on white"
        layers = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", layers.size, "white"), layers)
    return upright.convert("RGB"), origin


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)


def _decode(content: bytes, label: str) -> tuple[Image.Image, str | None]:
    try:
        with warnings.catch_warnings():
            # Our own limit is below the size at which Pillow begins to warn.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(content), formats=FORMATS)
        _check_header(image, label)
        image.load()
        return ImageOps.exif_transpose(image), image.format
    except PictureRefused:
        raise
    except Image.DecompressionBombError:
        raise PictureRefused(f"{label} has far more than {MAX_PIXELS:,} pixels: make it smaller") from None
    except (
        Exception
    ) as error:  # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error and others
        raise PictureRefused(
            f"{label} is no readable {', '.join(FORMATS)} file ({error}): save it as PNG"
        ) from error


def _check_header(image: Image.Image, label: str) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise PictureRefused(
            f"{label} has {width} x {height} pixels; at most {MAX_PIXELS:,} are taken: make it smaller"
        )
    if image.mode not in MODES:
        raise PictureRefused(f"{label} has pixels in mode {image.mode!r}: save it with 8 bits per channel")
    frames = getattr(image, "n_frames", 1)
    if frames != 1:
        raise PictureRefused(f"{label} holds {frames} frames; one is taken: save a single frame as PNG")

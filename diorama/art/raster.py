"""Drawings as pictures: read from their package, cropped to what shows the thing, at one scale."""

import importlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, UnidentifiedImageError
from scipy import ndimage as _ndimage

from diorama.art.fetch import fetch, read_member
from diorama.atlas import ArtError
from diorama.drawings import Drawing, Source

ndimage: Any = _ndimage
"""SciPy ships no types."""

_DRAWN = 512
"""Longest side, in pixels, at which a vector drawing is drawn before it is scaled down."""

_CLEAR = 24
"""Alpha of 255 below which a pixel is border: glows and shadows around a drawing are no part of it."""

Bytes = NDArray[np.uint8]
Mask = NDArray[np.bool_]


class Gallery:
    """One source's drawings, fetched on first need."""

    def __init__(self, source: Source, cache: Path) -> None:
        self.source = source
        self.archive = fetch(source, cache)
        self._icons: Mapping[str, Any] | None = None

    def draw(self, drawing: Drawing) -> Image.Image:
        """The drawing as its source has it, RGBA.

        Raises:
            ArtError: the package has no such drawing, or resvg is not installed.
        """
        if self.source.format == "webp":
            data = read_member(self.archive, f"assets/{drawing.file}.webp")
            if data is None:
                raise self._missing(drawing)
        else:
            data = _rasterise(self._svg(drawing))
        try:
            return Image.open(io.BytesIO(data)).convert("RGBA")
        except UnidentifiedImageError as error:
            raise ArtError(f"{drawing.name} is no picture: list another drawing") from error

    def _svg(self, drawing: Drawing) -> str:
        if self._icons is None:
            data = read_member(self.archive, "icons.json")
            if data is None:
                raise ArtError(f"{self.source.package} has no icons.json: take another version")
            self._icons = json.loads(data)
        assert self._icons is not None
        name, icons = drawing.file, self._icons["icons"]
        if name not in icons:
            raise self._missing(drawing)
        icon = {**{key: self._icons[key] for key in ("width", "height") if key in self._icons}, **icons[name]}
        box = f"{icon.get('left', 0)} {icon.get('top', 0)} {icon.get('width', 16)} {icon.get('height', 16)}"
        return (
            '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
            f'viewBox="{box}">{icon["body"]}</svg>'
        )

    def _missing(self, drawing: Drawing) -> ArtError:
        return ArtError(
            f"{drawing.name}: {self.source.package} {self.source.version} has no {drawing.file!r}; "
            "correct or remove it in diorama/drawings.toml"
        )


def _rasterise(svg: str) -> bytes:
    try:
        resvg: Any = importlib.import_module("resvg_py")
    except ImportError as error:
        raise ArtError(
            "resvg-py is not installed, and vector art is drawn with it: pip install 'maulstick[sprites]'"
        ) from error
    return bytes(resvg.svg_to_bytes(svg_string=svg, width=_DRAWN, skip_system_fonts=True))


def cut_out(picture: Image.Image, drawing: Drawing, longest: int) -> Image.Image:
    """What the drawing shows, without border, its longer side `longest` pixels.

    Raises:
        ArtError: nothing is drawn there.
    """
    width, height = picture.size
    left, top, right, bottom = drawing.crop
    part = picture.crop(
        (round(left * width), round(top * height), round(right * width), round(bottom * height))
    )
    pixels: Bytes = np.array(part)
    solid: Mask = pixels[..., 3] >= _CLEAR
    if drawing.alone:
        solid = _largest(solid)
        near = ndimage.binary_dilation(solid, iterations=2)
        pixels[..., 3] = np.where(near, pixels[..., 3], 0)
    lines, columns = np.nonzero(solid.any(axis=1))[0], np.nonzero(solid.any(axis=0))[0]
    if not len(lines):
        raise ArtError(f"{drawing.name} is empty: correct its crop in diorama/drawings.toml")
    tight = Image.fromarray(pixels[lines[0] : lines[-1] + 1, columns[0] : columns[-1] + 1])
    scale = longest / max(tight.size)
    size = (max(1, round(tight.width * scale)), max(1, round(tight.height * scale)))
    small = tight.resize(size, Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.BICUBIC)
    if drawing.lettering:
        _letter(small, drawing.lettering)
    return small


def _largest(solid: Mask) -> Mask:
    labels: NDArray[np.int32] = ndimage.label(solid)[0]
    if not labels.any():
        return solid
    return np.equal(labels, 1 + np.argmax(np.bincount(labels.ravel())[1:]))


def _letter(picture: Image.Image, text: str) -> None:
    font = ImageFont.load_default(picture.height * 0.27)
    centre = (picture.width / 2, picture.height / 2)
    ImageDraw.Draw(picture).text(centre, text, fill="white", font=font, anchor="mm", stroke_width=1)

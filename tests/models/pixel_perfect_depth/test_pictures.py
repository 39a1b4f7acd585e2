"""Every kind of file that a person may hand over."""

import logging
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.pixel_perfect_depth.pictures import open_picture
from models.tool import ToolError


def test_pictures_come_upright_in_rgb(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    rgb = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8))
    path = tmp_path / "a.png"
    rgb.save(path)
    assert open_picture(path).tobytes() == rgb.tobytes() and not caplog.text
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    rgb.save(path, exif=exif)
    assert open_picture(path).size == (20, 30)
    Image.fromarray(np.full((20, 30), 65535, np.uint16)).save(path)
    assert open_picture(path).getpixel((0, 0)) == (255, 255, 255) and "scaled to 8" in caplog.text
    Image.new("RGBA", (20, 30), (255, 0, 0, 0)).save(path)
    assert open_picture(path).getpixel((3, 3)) == (255, 255, 255) and "laid on white" in caplog.text
    Image.new("CMYK", (20, 30), (0, 255, 255, 0)).save(tmp_path / "b.jpg")
    red = open_picture(tmp_path / "b.jpg").getpixel((3, 3))
    assert isinstance(red, tuple) and red[0] > 240 and red[1] < 20 and "CMYK" in caplog.text
    Image.new("P", (20, 30)).save(path)
    assert open_picture(path).mode == "RGB"
    Image.new("L", (20, 30), 7).save(path)
    assert open_picture(path).getpixel((0, 0)) == (7, 7, 7)


def bomb(side: int) -> bytes:
    """A PNG that says it is `side` pixels wide and high."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def test_what_is_no_picture_is_told_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.png"

    def refused(message: str) -> None:
        with pytest.raises(ToolError, match=message) as caught:
            open_picture(path)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)

    refused("there is no file")
    path.write_bytes(b"")
    refused("is empty: 0 bytes")
    path.write_text("words")
    refused("no picture that can be read")
    noise = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:600])
    refused("no picture that can be read")
    Image.new("RGB", (1, 1)).save(path)
    refused("1x1 pixels: sides of 8 at least")
    Image.new("RGB", (400, 20)).save(path)
    refused("more than 12 times the other")
    frames = [Image.new("RGB", (30, 20), (shade, 0, 0)) for shade in (0, 200)]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    refused("is animated, 2 pictures")
    for side in (20_000, 60_000):
        path.write_bytes(bomb(side))
        refused("decompression bomb")

"""Folders of pictures with depth: read, resized, cut out, masked; and trained on."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from models.backends import WEIGHTS
from models.pixel_perfect_depth.rgbd import RgbdFolder, read_depth
from models.pixel_perfect_depth.training import train
from models.tool import ToolError


def fill(folder: Path, count: int = 6, size: tuple[int, int] = (200, 160)) -> Path:
    """Pictures whose red rises with their depth, from left to right; some of the depth is unknown."""
    for part in ("rgb", "depth"):
        (folder / part).mkdir(parents=True)
    across = np.tile(np.linspace(0, 1, size[0]), (size[1], 1))
    for number in range(count):
        rgb = np.zeros((size[1], size[0], 3), np.uint8)
        rgb[..., 0] = across * 255
        rgb[..., 1] = 40 * number
        Image.fromarray(rgb).save(folder / "rgb" / f"{number}.png")
        metres = 1 + 9 * across
        metres[:20] = 0
        if number % 2:
            np.save(folder / "depth" / f"{number}.npy", np.where(metres > 0, metres, np.nan))
        else:
            levels = (metres * 1000).round().astype("<u2")
            Image.frombytes("I;16", size, levels.tobytes()).save(folder / "depth" / f"{number}.png")
    return folder


def test_both_kinds_of_depth_are_read(tmp_path: Path) -> None:
    source = RgbdFolder(fill(tmp_path / "own"), 128)
    assert len(source) == 6
    taken = source.read(np.array([0, 1, 5]), np.random.default_rng(0))
    assert taken.rgb.shape == (3, 3, 128, 128) and taken.rgb.dtype == torch.uint8
    assert taken.depth.shape == taken.mask.shape == (3, 1, 128, 128) and taken.mask.dtype == torch.bool
    assert not taken.mask[:, :, :14].any() and taken.mask[:, :, 18:].all()
    assert (taken.depth[~taken.mask] == 0).all()
    # The red channel and the depth are one and the same ramp, wherever the square was cut.
    told = 1 + 9 * taken.rgb[:, :1].float() / 255
    assert (told - taken.depth).abs()[taken.mask].max() < 0.1
    again = source.read(np.array([0, 1, 5]), np.random.default_rng(0))
    other = source.read(np.array([0, 1, 5]), np.random.default_rng(1))
    assert torch.equal(taken.depth, again.depth) and not torch.equal(taken.depth, other.depth)


def test_a_network_is_trained_on_a_folder(tmp_path: Path) -> None:
    for variant in ("full", "latent"):
        folder = train(
            "tiny",
            tmp_path / variant,
            critic=WEIGHTS / "critic",
            autoencoder=WEIGHTS / "painter" / "vae",
            variant=variant,
            data=tmp_path / "own" if variant == "latent" else fill(tmp_path / "own"),
            steps=2,
        )
        card = json.loads((folder / "card.json").read_text("utf-8"))
        assert "vocabulary" not in card and card["view"] == 55.0
        assert np.log(2) < card["shift"] < 1.5 and card["shift"] + card["scale"] < np.log(11)


def test_what_cannot_be_trained_on(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="holds no pictures"):
        RgbdFolder(tmp_path, 32)
    folder = fill(tmp_path / "own", 3)
    (folder / "depth" / "1.npy").unlink()
    with pytest.raises(ToolError, match=r"neither 1\.npy nor 1\.png"):
        RgbdFolder(folder, 32)
    np.save(folder / "depth" / "1.npy", np.ones((10, 40)))
    rows, rng = np.array([1]), np.random.default_rng(0)
    with pytest.raises(ToolError, match="not of one picture"):
        RgbdFolder(folder, 32).read(rows, rng)
    np.save(folder / "depth" / "1.npy", np.zeros((160, 200)))
    with pytest.raises(ToolError, match="no depth is known"):
        RgbdFolder(folder, 32).read(rows, rng)
    for content, told in ((np.ones(4), r"float64 \(4,\)"), (np.ones((2, 2), int), "int64")):
        np.save(folder / "depth" / "1.npy", content)
        with pytest.raises(ToolError, match=told):
            read_depth(folder / "depth" / "1.npy")
    (folder / "depth" / "1.npy").write_bytes(b"")
    with pytest.raises(ToolError, match="no depth that can be read"):
        read_depth(folder / "depth" / "1.npy")
    with pytest.raises(ToolError, match="in mode RGB"):
        read_depth(folder / "rgb" / "0.png")

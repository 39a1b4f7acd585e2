import numpy as np
import pytest
import torch

from diorama.shading import shade, tint
from diorama.solids import HITS, SURFACES, Point
from diorama.vocabulary import Colour, load_vocabulary

VOCABULARY = load_vocabulary("solids")


@pytest.mark.parametrize("shape", VOCABULARY.shape_names)
def test_rays_hit_the_surface_and_normals_face_them(shape: str) -> None:
    """Points lie in the unit box, and their normals oppose the ray."""
    generator = torch.Generator().manual_seed(0)
    n = 4000
    aim = (torch.rand(3, n, generator=generator) - 0.5) * 0.8
    origin = torch.tensor([0.4, 0.6, -4.0])[:, None].expand(3, n)
    d, o = (aim - origin).unbind(0), origin.unbind(0)
    tube = 0.16
    s, hit = HITS[shape](o, d, tube)
    assert 0.2 < hit.float().mean() <= 1.0
    point: Point = ((o[0] + s * d[0])[hit], (o[1] + s * d[1])[hit], (o[2] + s * d[2])[hit])
    normal = SURFACES[shape](point, tube).normal
    length = sum(c * c for c in normal) ** 0.5
    assert (length > 1e-3).all()
    speed = sum(dd[hit] * dd[hit] for dd in d) ** 0.5
    facing = sum(c * dd[hit] for c, dd in zip(normal, d, strict=True)) / (length * speed)
    # A traced ray may stop 2e-3 beside a tube that it only grazes.
    assert (facing < (0.17 if shape == "torus" else 1e-3)).all()
    assert max(float(c.abs().max()) for c in point) <= 0.5 + 2e-3


def test_shade_keeps_hue_and_range() -> None:
    ones = torch.ones(1)
    up: Point = (torch.zeros(1), ones, torch.zeros(1))
    colour = shade((ones * 0.8, ones * 0.4, ones * 0.1), up, up, up, ones * 0.6, ones, gloss=0.0)
    assert colour.shape == (1, 3)
    assert colour[0, 0] / colour[0, 1] == pytest.approx(2.0)


@pytest.mark.parametrize("colour", VOCABULARY.colours, ids=lambda colour: colour.name)
def test_tints_stand_out_and_keep_the_hue(colour: Colour) -> None:
    pure, other = np.array(colour.rgb), np.array(tint(colour.rgb))
    assert np.linalg.norm(pure - other) > 0.3
    assert (np.argsort(pure, kind="stable") == np.argsort(other, kind="stable")).all()

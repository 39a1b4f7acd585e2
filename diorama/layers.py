"""All hits of all things of a batch: solids, composites and cut-outs each have rays of their own."""

from collections.abc import Sequence
from functools import partial

import torch

from diorama.atlas import Atlas, the_atlas
from diorama.casting import Layer, Owner, cast
from diorama.cutouts import cast_cutouts
from diorama.parts import cast_composites
from diorama.scene import Scene
from diorama.shading import looks, shade_hits
from diorama.vocabulary import load_vocabulary

_KINDS = {shape.name: shape.kind for shape in load_vocabulary().shapes}


def layers_of(
    scenes: Sequence[Scene],
    owners: Sequence[Owner],
    size: int,
    supersample: int,
    device: torch.device,
    atlas: Atlas | None,
) -> list[Layer]:
    """Hits on grids of `size * supersample` rays a side, hidden ones included.

    Raises:
        ArtError: a scene has a cut-out, and there is no atlas with its drawing.
    """
    kinds: dict[str, list[tuple[int, Owner]]] = {"solid": [], "cutout": [], "composite": []}
    for row, owner in enumerate(owners):
        kinds[_KINDS[owner.thing.shape]].append((row, owner))
    layers: list[Layer] = []
    if kinds["solid"]:
        solids = [owner for _, owner in kinds["solid"]]
        rows = torch.tensor([row for row, _ in kinds["solid"]], device=device)
        table = looks(scenes, solids, device)
        for hits in cast(scenes, solids, size * supersample, device):
            layers.append(
                Layer(hits.depth, hits.place, rows[hits.row], partial(shade_hits, hits, table=table))
            )
    layers += cast_composites(scenes, kinds["composite"], size * supersample, device)
    if kinds["cutout"]:
        layers += cast_cutouts(scenes, kinds["cutout"], atlas or the_atlas(), size, supersample, device)
    return layers

"""What a grader reads in a picture and what a prompt wishes to be read there, as one set of classes.

- count (N, shapes): how many things of a shape there are.
- colour (N, shapes, colours + 1): of a shape that is there, how many have this colour (the last: a natural
  look).
- pattern, size (N, shapes): the class, where all things of a shape share it.
- relation (N, shapes, shapes, predicates): 1 where all things of the one shape stand so to all of the other.
- setting (N,).

IGNORED wherever there is nothing to read, or nothing was wished.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from diorama.graph import SceneGraph
from diorama.truth import APART
from diorama.vocabulary import Vocabulary
from models.embedded.training.latents import NONE
from models.embedded.training.loop import IGNORED
from models.embedded.training.text import PREDICATES


def scene_targets(things: Tensor, words: Vocabulary) -> dict[str, Tensor]:
    """The classes of scenes, from `things` (N, MAX_THINGS, 9) as `list_things` gives them; no setting."""
    shapes, colours = len(words.shapes), len(words.colours)
    there = things[..., 0] >= 0
    shape = torch.nn.functional.one_hot(things[..., 0].long().clamp(min=0), shapes) * there[..., None]
    count = shape.sum(1)
    look = torch.where(things[..., 1] == NONE, colours, things[..., 1]).long().clamp(min=0)
    looks = _count(shape, torch.nn.functional.one_hot(look, colours + 1))
    return {
        "count": count,
        "colour": looks.masked_fill((count == 0)[..., None], IGNORED),
        "pattern": _shared(shape, things[..., 2].long(), len(words.patterns)),
        "size": _shared(shape, things[..., 3].long(), len(words.sizes)),
        "relation": _relations(things, there, shapes),
    }


def _count(shape: Tensor, kind: Tensor) -> Tensor:
    """How many things are of a shape and of a kind, (N, shapes, kinds), of one-hot (N, M, classes).

    In floats, which are exact for so few: an accelerator multiplies no matrices of integers.
    """
    return torch.einsum("nms,nmk->nsk", shape.float(), kind.float()).long()


def _shared(shape: Tensor, classes: Tensor, kinds: int) -> Tensor:
    """Per shape (N, shapes) the class that all its things have."""
    each = torch.nn.functional.one_hot(classes.clamp(min=0), kinds)
    found = _count(shape, each)
    return found.argmax(-1).masked_fill((found > 0).sum(-1) != 1, IGNORED)


def _relations(things: Tensor, there: Tensor, shapes: int) -> Tensor:
    """By `diorama.truth.relation_margin`, for every pair of things, gathered by the pair of their shapes."""
    n, most = there.shape
    box, distance = things[..., 4:8], things[..., 8]
    centre, extent = (box[..., :2] + box[..., 2:]) / 2, box[..., 2:] - box[..., :2]
    offset = centre[:, :, None] - centre[:, None]
    slack = 0.1 * (extent[:, :, None] + extent[:, None])
    length = offset.norm(dim=-1).clamp(min=1e-6)
    ox, oy = offset.unbind(-1)
    sx, sy = slack.unbind(-1)
    flat = [
        ((towards - edge).clamp(min=0) / length > 0.5)
        for towards, edge in ((-ox, sx), (ox, sx), (-oy, sy), (oy, sy))
    ]
    nearer = distance[:, None] - distance[:, :, None]
    holds = torch.stack([*flat, nearer > APART, -nearer > APART], -1)
    kind = things[..., 0].long().clamp(min=0)
    pair = kind[:, :, None] * shapes + kind[:, None]
    real = there[:, :, None] & there[:, None] & (kind[:, :, None] != kind[:, None])
    result = torch.full((n, shapes * shapes, len(PREDICATES)), 2, device=things.device)
    value = torch.where(real[..., None], holds.long(), 2).view(n, most * most, -1)
    index = pair.view(n, -1, 1).expand_as(value)
    result = result.scatter_reduce(1, index, value, "amin")
    return result.masked_fill(result == 2, IGNORED).view(n, shapes, shapes, -1)


def wish_targets(graphs: Sequence[SceneGraph], words: Vocabulary) -> dict[str, Tensor]:
    """What graphs wish for: every count, since nothing else may be there, and of the rest what they say.

    What is said of one of several groups of a shape can't be told from what is said of another: then only the
    colours are wished for, and only if each has one.
    """
    n, shapes = len(graphs), len(words.shapes)
    result = {
        "count": torch.zeros(n, shapes, dtype=torch.long),
        "colour": torch.full((n, shapes, len(words.colours) + 1), IGNORED),
        "pattern": torch.full((n, shapes), IGNORED),
        "size": torch.full((n, shapes), IGNORED),
        "relation": torch.full((n, shapes, shapes, len(PREDICATES)), IGNORED),
        "setting": torch.full((n,), IGNORED),
    }
    for row, graph in enumerate(graphs):
        of_group = [words.shape_names.index(group.shape) for group in graph.groups]
        for shape in set(of_group):
            groups = [group for group, own in zip(graph.groups, of_group, strict=True) if own == shape]
            result["count"][row, shape] = sum(group.count for group in groups)
            if all(group.colour is not None for group in groups):
                result["colour"][row, shape] = 0
                for group in groups:
                    result["colour"][row, shape, words.colour_names.index(str(group.colour))] += group.count
            if len(groups) == 1 and groups[0].pattern is not None:
                result["pattern"][row, shape] = words.pattern_names.index(groups[0].pattern)
            if len(groups) == 1 and groups[0].size is not None:
                result["size"][row, shape] = words.size_names.index(groups[0].size)
        for relation in graph.relations:
            a, b = of_group[relation.subject], of_group[relation.object]
            if a != b and of_group.count(a) == of_group.count(b) == 1:
                result["relation"][row, a, b, PREDICATES.index(relation.predicate)] = 1
        if graph.setting is not None:
            result["setting"][row] = words.setting_names.index(graph.setting)
    return result

"""Contact sheets of the named things, for people.

    python -m diorama.names {names,colours,drawings,scenes} --out FILE.png

`names`: every class as it looks by nature. `colours`: every class in every colour that it may have.
`drawings`: every drawing of every cut-out. `scenes`: scenes drawn at random. Needs the sprite atlas
(`make sprites`).
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from diorama.atlas import ArtError, Atlas
from diorama.drawings import load_drawings
from diorama.graph import Group, SceneGraph
from diorama.place import Unplaceable, complete
from diorama.render import View, portraits, render
from diorama.scene import Light, Scene, Thing
from diorama.sheet import contact_sheet, labelled_sheet
from diorama.vocabulary import Shape, load_vocabulary

_LIGHT = Light(-0.6, 0.9, 0.63)
_TURN = 0.45
"""Radians by which a composite is turned, so that it shows that it has sides; a cut-out has none."""


def names_sheet(atlas: Atlas | None = None, size: int = 128) -> Image.Image:
    """All classes that are no solids, one picture each under its name."""
    shapes = _named()
    things = [_thing(shape) for shape in shapes]
    return labelled_sheet(_portraits(things, size, atlas), [shape.name for shape in shapes], columns=10)


def colours_sheet(atlas: Atlas | None = None, size: int = 64) -> Image.Image:
    """All classes by nature and in the ten colours; where one may not have a colour, it stays natural."""
    vocabulary = load_vocabulary()
    things = [
        _thing(shape, colour if colour in vocabulary.allowed_colours[shape.name] else None)
        for shape in _named()
        for colour in (None, *vocabulary.colour_names)
    ]
    # Two rows side by side.
    return contact_sheet(_portraits(things, size, atlas), columns=2 * (1 + len(vocabulary.colours)))


def drawings_sheet(atlas: Atlas | None = None, size: int = 96) -> Image.Image:
    """All drawings, each under its class; a star marks those that are held out of training."""
    drawings = load_drawings().drawings
    things = [_thing(_shape(drawing.shape), drawing=drawing.name) for drawing in drawings]
    labels = [drawing.shape + ("*" if drawing.split == "held_out" else "") for drawing in drawings]
    return labelled_sheet(_portraits(things, size, atlas), labels, columns=18)


def scenes_sheet(atlas: Atlas | None = None, size: int = 128, count: int = 40, seed: int = 3) -> Image.Image:
    """Scenes of one to four different named things, coloured or natural."""
    vocabulary, shapes = load_vocabulary(), _named()
    rng = np.random.default_rng(seed)
    scenes: list[Scene] = []
    while len(scenes) < count:
        groups: list[Group] = []
        order: list[int] = rng.permutation(len(shapes)).tolist()
        for shape in (shapes[index] for index in order[: 1 + len(scenes) % 4]):
            allowed = vocabulary.allowed_colours[shape.name]
            colour = str(rng.choice(allowed)) if allowed and rng.random() < 0.6 else None
            groups.append(Group(shape=shape.name, colour=colour))
        try:
            scenes.append(complete(SceneGraph(groups=tuple(groups)), rng, vocabulary))
        except Unplaceable:
            continue
    return contact_sheet(render(scenes, size, truth=False, atlas=atlas).rgb, columns=8)


def _named() -> list[Shape]:
    return [shape for shape in load_vocabulary().shapes if shape.kind != "solid"]


def _shape(name: str) -> Shape:
    return next(shape for shape in load_vocabulary().shapes if shape.name == name)


def _thing(shape: Shape, colour: str | None = None, drawing: str | None = None) -> Thing:
    yaw = -_TURN if shape.kind == "composite" else 0.0
    return Thing(shape.name, colour, "plain", "large", 0.0, 0.0, 0.0, yaw, drawing)


def _portraits(things: Sequence[Thing], size: int, atlas: Atlas | None) -> torch.Tensor:
    views = [View(pitch=0.2, fill=0.8)] * len(things)
    return portraits(things, views, [_LIGHT] * len(things), size, atlas=atlas)[0]


_SHEETS: dict[str, Callable[[], Image.Image]] = {
    "names": names_sheet,
    "colours": colours_sheet,
    "drawings": drawings_sheet,
    "scenes": scenes_sheet,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 0, or 2 with one line on standard error."""
    parser = argparse.ArgumentParser(description="Contact sheets of the named things.")
    parser.add_argument("sheet", choices=_SHEETS)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    try:
        sheet = _SHEETS[options.sheet]()
    except ArtError as error:
        print(error, file=sys.stderr)
        return 2
    options.out.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(options.out, optimize=True)
    print(options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())

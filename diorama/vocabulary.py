"""The words of the world, read from `vocabulary.toml`, and its sub-vocabularies.

Knows names, plurals, aliases and looks (albedo, extent, scale). Knows no grammar and no renderer.
"""

import tomllib
from functools import cache
from importlib import resources
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Unit = Annotated[float, Field(ge=0.0, le=1.0)]
Rgb = tuple[Unit, Unit, Unit]


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str


class Shape(_Entry):
    """A class of things. `extent` is (width, height, depth) of a large one, in world units."""

    plural: str
    aliases: tuple[str, ...] = ()
    extent: tuple[float, float, float]


class Colour(_Entry):
    """A surface colour. `rgb` is its albedo in 0..1."""

    rgb: Rgb


class Pattern(_Entry):
    """A surface pattern; "plain" is the absence of one."""


class Size(_Entry):
    """A size class; `scale` multiplies a shape's extent."""

    scale: float


class Setting(_Entry):
    """Where a scene is: the albedo of floor and wall, and the phrase that ends a sentence with it."""

    phrase: str
    floor: Rgb
    wall: Rgb


class Vocabulary(BaseModel, frozen=True, extra="forbid"):
    """All words of one world. Order is meaning: a model's class index is a word's position here."""

    shapes: tuple[Shape, ...]
    colours: tuple[Colour, ...]
    patterns: tuple[Pattern, ...]
    sizes: tuple[Size, ...]
    settings: tuple[Setting, ...]

    @property
    def shape_names(self) -> tuple[str, ...]:
        """Names in class order."""
        return tuple(entry.name for entry in self.shapes)

    @property
    def colour_names(self) -> tuple[str, ...]:
        """Names in class order."""
        return tuple(entry.name for entry in self.colours)

    @property
    def pattern_names(self) -> tuple[str, ...]:
        """Names in class order."""
        return tuple(entry.name for entry in self.patterns)

    @property
    def size_names(self) -> tuple[str, ...]:
        """Names in class order."""
        return tuple(entry.name for entry in self.sizes)

    @property
    def setting_names(self) -> tuple[str, ...]:
        """Names in class order."""
        return tuple(entry.name for entry in self.settings)


@cache
def load_vocabulary(subset: str = "full") -> Vocabulary:
    """Read the vocabulary, or one of its named sub-vocabularies ("cpu", "tiny").

    Raises:
        ValueError: `subset` is not in `vocabulary.toml`, or one of its words is not in the full vocabulary.
    """
    data = tomllib.loads(resources.files("diorama").joinpath("vocabulary.toml").read_text("utf-8"))
    subsets: dict[str, dict[str, list[str]]] = data.pop("subsets")
    if subset == "full":
        return Vocabulary.model_validate(data)
    if subset not in subsets:
        raise ValueError(f"no sub-vocabulary {subset!r}; there are: full, {', '.join(subsets)}")
    for kind, names in subsets[subset].items():
        entries = {entry["name"]: entry for entry in data[kind]}
        if unknown := [name for name in names if name not in entries]:
            raise ValueError(f"sub-vocabulary {subset!r} names unknown {kind}: {', '.join(unknown)}")
        data[kind] = [entries[name] for name in names]
    return Vocabulary.model_validate(data)

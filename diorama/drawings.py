"""Which drawings stand for which class, read from `drawings.toml`: sources, licences, proportions, splits.

Knows names and numbers only. The art itself is fetched by `diorama.art` and lies in the atlas
(`diorama.atlas`); nothing here needs either.
"""

import tomllib
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from diorama.vocabulary import Rgb

Split = Literal["train", "held_out"]
"""Painter and critic see "train" alone; a judge that must not share their habits sees "held_out" too."""

Share = Annotated[float, Field(ge=0.0, le=1.0)]


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Source(_Entry):
    """A package of art at one version. `sha256` is that of the archive which the registry serves."""

    name: str
    package: str
    version: str
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    format: Literal["webp", "svg"]
    """How a drawing is kept: a file of its own, or an SVG body within one JSON file (Iconify's format)."""
    licence: str
    author: str
    notice: str
    """What the licence wants said wherever the art, or pictures made with it, are handed on."""


class Drawing(_Entry):
    """One drawing of a class; `file` is its name within the source."""

    shape: str
    source: str
    file: str
    aspect: Annotated[float, Field(gt=0.05, lt=20.0)]
    """Width by height of what is drawn, without the empty border. `make sprites` checks it."""
    split: Split = "train"
    crop: tuple[Share, Share, Share, Share] = (0.0, 0.0, 1.0, 1.0)
    """Left, top, right and bottom of the part of the file that shows the thing."""
    alone: bool = False
    """Keep the largest connected piece only: the racket without its ball."""
    mirrored: bool = True
    """Whether it may be shown mirrored; what carries letters or a dial may not."""
    lettering: str = ""
    """Written in white across the middle: a sign's word that the art leaves out."""
    main: tuple[Rgb, ...] = ()
    """Colours (0..1) of what a recolouring changes, where the largest region of one hue is not it."""

    @property
    def name(self) -> str:
        """Unique among all drawings."""
        return f"{self.shape}/{self.source}/{self.file}"


class Drawings(_Entry):
    """All sources and drawings, in the file's order."""

    sources: tuple[Source, ...]
    drawings: tuple[Drawing, ...]

    @model_validator(mode="after")
    def _check(self) -> Self:
        known = {source.name for source in self.sources}
        names: set[str] = set()
        for drawing in self.drawings:
            if drawing.source not in known:
                raise ValueError(f"{drawing.name}: no source {drawing.source!r}; there are: {sorted(known)}")
            if drawing.name in names:
                raise ValueError(f"{drawing.name} is listed twice")
            names.add(drawing.name)
        return self


@cache
def load_drawings() -> Drawings:
    """Read `drawings.toml`.

    Raises:
        ValueError: it is not valid; pydantic's message names the entry.
    """
    text = resources.files("diorama").joinpath("drawings.toml").read_text("utf-8")
    return Drawings.model_validate(tomllib.loads(text))


def drawings_of(
    shape: str, splits: Sequence[Split] = ("train",), artist: str | None = None
) -> tuple[Drawing, ...]:
    """The class's drawings of these splits; all "train" ones where it has none of them.

    With an `artist`, the name of a source, only the first of those that come from there, or the first of all
    where none does: the class has one look.

    Raises:
        ValueError: the class has no drawings at all.
    """
    mine = _by_shape().get(shape)
    if not mine:
        raise ValueError(
            f"no drawing of {shape!r}; list one in diorama/drawings.toml, or make it a composite"
        )
    found = tuple(drawing for drawing in mine if drawing.split in splits) or tuple(
        drawing for drawing in mine if drawing.split == "train"
    )
    if artist is None:
        return found
    return (*(drawing for drawing in found if drawing.source == artist), *found)[:1]


def drawing_of(shape: str, name: str | None) -> Drawing:
    """The drawing of that name, or the class's first.

    Raises:
        ValueError: the class has no such drawing.
    """
    if name is None:
        return drawings_of(shape)[0]
    for drawing in _by_shape().get(shape, ()):
        if drawing.name == name:
            return drawing
    raise ValueError(f"{shape!r} has no drawing {name!r}; there are: {_known(shape)}")


def _known(shape: str) -> str:
    return ", ".join(drawing.name for drawing in _by_shape().get(shape, ())) or "none"


@cache
def _by_shape() -> dict[str, tuple[Drawing, ...]]:
    found: dict[str, tuple[Drawing, ...]] = {}
    for drawing in load_drawings().drawings:
        found[drawing.shape] = (*found.get(drawing.shape, ()), drawing)
    return found

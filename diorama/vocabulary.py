"""The words of the world, read from `vocabulary.toml`, and its sub-vocabularies.

Knows names, plurals, aliases and looks (albedo, extent, scale, allowed colours). Knows no grammar and no
renderer.
"""

import tomllib
from collections.abc import Mapping
from functools import cache, cached_property
from importlib import resources
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from diorama.phrases import with_article

Unit = Annotated[float, Field(ge=0.0, le=1.0)]
Rgb = tuple[Unit, Unit, Unit]
Number = Literal["one", "several", "either", "counted"]
"""How many a form of a noun means. "Sheep" means either; "broccoli" and "scissors" are one, but people count
them too.
"""


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str


class Shape(_Entry):
    """A class of things. `extent` is (width, height, depth) of a large one, in world units.

    A solid takes every pattern and shows a colour drawn at random where none is asked for. A cut-out (drawn
    art, standing upright) and a composite (made of solids) take no pattern, and look natural where no colour
    is asked for.
    """

    plural: str
    """The correct plural, which is said."""
    plurals: tuple[str, ...] = ()
    """Further plurals that are read, beside GenEval's naive one."""
    aliases: tuple[tuple[str, str], ...] = ()
    """Other nouns, each as (singular, plural)."""
    extent: tuple[float, float, float]
    kind: Literal["solid", "cutout", "composite"] = "solid"
    colours: tuple[str, ...] | None = None
    """The colours that it may be given; None: all."""
    natural: str | None = None
    """What people call the colour of its natural look, where that plainly is one."""

    @property
    def naive_plural(self) -> str:
        """The plural as GenEval's prompts have it: "benchs", "knifes", but "buses"."""
        return self.name + ("es" if self.name.endswith("s") else "s")

    @property
    def forms(self) -> dict[str, Number]:
        """Every way to write it, the name first, each with how many it means."""
        found: dict[str, Number] = {self.name: "one"}
        for plural in (self.naive_plural, *self.plurals):
            found[plural] = "counted" if plural == self.name else "several"
        found[self.plural] = "either" if self.plural == self.name else "several"
        for one, several in self.aliases:
            found |= {one: "one", several: "several"}
        return found


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

    @cached_property
    def shape_names(self) -> tuple[str, ...]:
        """Names in class order."""
        return tuple(entry.name for entry in self.shapes)

    @cached_property
    def colour_names(self) -> tuple[str, ...]:
        """Names in class order."""
        return tuple(entry.name for entry in self.colours)

    @cached_property
    def pattern_names(self) -> tuple[str, ...]:
        """Names in class order."""
        return tuple(entry.name for entry in self.patterns)

    @cached_property
    def size_names(self) -> tuple[str, ...]:
        """Names in class order."""
        return tuple(entry.name for entry in self.sizes)

    @cached_property
    def setting_names(self) -> tuple[str, ...]:
        """Names in class order."""
        return tuple(entry.name for entry in self.settings)

    @cached_property
    def allowed_colours(self) -> dict[str, tuple[str, ...]]:
        """For each shape the colours of this vocabulary that it may be given, in class order."""
        return {
            shape.name: self.colour_names
            if shape.colours is None
            else tuple(name for name in self.colour_names if name in shape.colours)
            for shape in self.shapes
        }

    @cached_property
    def restricted_colours(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """(shape, colours) of the shapes that may not be given every colour."""
        return tuple(
            (shape, colours)
            for shape, colours in self.allowed_colours.items()
            if colours != self.colour_names
        )

    def __copy__(self) -> Self:
        """The words alone: `model_copy` may change them, and what was computed from them would be stale."""
        return self.model_construct(**{name: getattr(self, name) for name in type(self).model_fields})

    def objection(self, shape: str, looks: Mapping[str, str | None]) -> str | None:
        """Why a thing of this shape cannot have `looks` (values by "colour" and "pattern"), and the way out.

        None where it can.
        """
        colour, pattern = looks.get("colour"), looks.get("pattern")
        allowed = self.allowed_colours[shape]
        if colour is not None and colour not in allowed:
            way_out = f"it may be {', '.join(allowed)}" if allowed else "leave the colour out"
            return f"{with_article(shape)} cannot be {colour}: {way_out}"
        if pattern not in (None, "plain") and shape not in self.solids:
            return f"{with_article(shape)} cannot be {pattern}: only solids take patterns, leave it out"
        return None

    @cached_property
    def solids(self) -> frozenset[str]:
        """The shapes that take patterns, and that have a colour even where none is asked for."""
        return frozenset(shape.name for shape in self.shapes if shape.kind == "solid")

    @model_validator(mode="after")
    def _check_forms(self) -> Self:
        owners: dict[str, str] = {}
        for shape in self.shapes:
            for form in shape.forms:
                if owners.setdefault(form, shape.name) != shape.name:
                    raise ValueError(
                        f"{form!r} would mean both {owners[form]!r} and {shape.name!r}; "
                        "take it from the plurals or aliases of one"
                    )
        return self


@cache
def vocabulary_names() -> tuple[str, ...]:
    """All that `load_vocabulary` takes: "full" and the names of its sub-vocabularies, in the file's order."""
    return ("full", *_read()["subsets"])


@cache
def load_vocabulary(subset: str = "full") -> Vocabulary:
    """Read the vocabulary, or one of its named sub-vocabularies (see `vocabulary_names`).

    Raises:
        ValueError: `subset` is not in `vocabulary.toml`, one of its words is not in the full vocabulary, or a
            class is given a colour that is none.
    """
    data = _read()
    subsets: dict[str, dict[str, list[str]]] = data.pop("subsets")
    if subset == "full":
        full = Vocabulary.model_validate(data)
        _check_colours(full)
        return full
    if subset not in subsets:
        raise ValueError(f"no sub-vocabulary {subset!r}; there are: full, {', '.join(subsets)}")
    for kind, names in subsets[subset].items():
        entries = {entry["name"]: entry for entry in data[kind]}
        if unknown := [name for name in names if name not in entries]:
            raise ValueError(f"sub-vocabulary {subset!r} names unknown {kind}: {', '.join(unknown)}")
        data[kind] = [entries[name] for name in names]
    return Vocabulary.model_validate(data)


def _read() -> dict[str, Any]:
    return tomllib.loads(resources.files("diorama").joinpath("vocabulary.toml").read_text("utf-8"))


def _check_colours(full: Vocabulary) -> None:
    """Refuse colours of a class that the full vocabulary does not have; a sub-vocabulary may lack some."""
    for shape in full.shapes:
        named = (*(shape.colours or ()), *((shape.natural,) if shape.natural else ()))
        if unknown := [name for name in named if name not in full.colour_names]:
            known = ", ".join(full.colour_names)
            raise ValueError(f"{shape.name!r} names no colours: {', '.join(unknown)}; there are: {known}")

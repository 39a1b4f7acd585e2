"""What a prompt asks for, as data: groups of things, relations between groups, and a setting.

This is the common tongue of the captions, the parser, the placer and the judges. It knows no pixels and no
words beyond the vocabulary's names.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Predicate = Literal["left of", "right of", "above", "below", "in front of", "behind"]

INVERSE: dict[Predicate, Predicate] = {
    "left of": "right of",
    "right of": "left of",
    "above": "below",
    "below": "above",
    "in front of": "behind",
    "behind": "in front of",
}
"""A relation B holds for (b, a) exactly when INVERSE[B] holds for (a, b)."""

MAX_THINGS = 6
"""A scene shows one to six things."""


class Group(BaseModel):
    """`count` things of one shape that share the attributes which are not None. None means: any.

    A scene made for it shows names of which no colour is said in their natural look.
    """

    model_config = ConfigDict(frozen=True)

    shape: str
    count: Annotated[int, Field(ge=1, le=MAX_THINGS)] = 1
    colour: str | None = None
    pattern: str | None = None
    size: str | None = None


class Relation(BaseModel):
    """Group `subject` stands in `predicate` to group `object` (indices into `SceneGraph.groups`)."""

    model_config = ConfigDict(frozen=True)

    subject: Annotated[int, Field(ge=0)]
    predicate: Predicate
    object: Annotated[int, Field(ge=0)]


class SceneGraph(BaseModel):
    """One to six things in groups, relations between groups, and a setting (None: any)."""

    model_config = ConfigDict(frozen=True)

    groups: Annotated[tuple[Group, ...], Field(min_length=1)]
    relations: tuple[Relation, ...] = ()
    setting: str | None = None

    @model_validator(mode="after")
    def _check_indices(self) -> "SceneGraph":
        if (total := sum(group.count for group in self.groups)) > MAX_THINGS:
            raise ValueError(f"a scene shows at most {MAX_THINGS} things, this graph asks for {total}")
        for relation in self.relations:
            if relation.subject == relation.object:
                raise ValueError(
                    f"relation {relation.predicate!r} relates group {relation.subject} to itself"
                )
            if max(relation.subject, relation.object) >= len(self.groups):
                raise ValueError(f"relation {relation} points past the {len(self.groups)} groups")
        return self

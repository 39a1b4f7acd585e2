"""Says where in a picture the things are that were asked for, each in words of its own."""

from typing import Annotated

from pydantic import Field, model_validator

from agents.evidence import Evidence, Question
from agents.role import Role, read_instructions

Share = Annotated[float, Field(ge=0.0, le=1.0)]


class PointOutRequest(Evidence):
    """The user's own prompt and what was asked about its picture. The picture comes along."""

    prompt: str
    questions: tuple[Question, ...]


class Thing(Evidence):
    """One thing: what it should be, such as "a red car", and where it is. `box` is left, top, right, bottom
    in fractions of the picture.
    """

    words: str
    box: tuple[Share, Share, Share, Share]

    @model_validator(mode="after")
    def _check_box(self) -> "Thing":
        left, top, right, bottom = self.box
        if left >= right or top >= bottom:
            raise ValueError(f"the box {self.box} of {self.words!r} is empty: left, top, right, bottom")
        return self


class Things(Evidence):
    """Every thing in the picture, the farthest first."""

    things: tuple[Thing, ...]


POINT_OUT = Role("point_out", PointOutRequest, Things, read_instructions("point_out"), pictures=1)

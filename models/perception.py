"""What a perception model reports about a picture. Pure data; no network lives here."""

from typing import Annotated, Protocol

from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

Probability = Annotated[float, Field(ge=0.0, le=1.0)]


class DetectedThing(BaseModel):
    """One thing in a picture.

    `box` is (left, top, right, bottom) in fractions of width and height; `distance` is from the camera in
    world units. `confidence` says that there is a thing at all; `attribute_confidence` gives the probability
    of each named attribute (keys: shape, colour, pattern, size).
    """

    model_config = ConfigDict(frozen=True)

    shape: str
    colour: str
    pattern: str
    size: str
    box: tuple[float, float, float, float]
    distance: float
    confidence: Probability
    attribute_confidence: dict[str, Probability]


class Perception(BaseModel):
    """Everything seen in one picture, most confident thing first."""

    model_config = ConfigDict(frozen=True)

    things: tuple[DetectedThing, ...]
    setting: str
    setting_confidence: Probability


class Perceiver(Protocol):
    """A loaded perception model."""

    def perceive(self, pictures: list[Image.Image]) -> list[Perception]:
        """One report per picture, in order. Pictures of any size are resized to the model's own."""
        ...

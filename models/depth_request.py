"""What `estimate_depth` is asked and what it answers. Pure data."""

from math import expm1
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from models.artifact import ArtifactRef


class DepthRequest(BaseModel):
    """One picture to estimate depth of."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    picture: ArtifactRef = Field(description="A stored picture.")
    model: str = Field(
        default="embedded", description="A depth network's name, or the folder that it was saved in."
    )
    steps: int | None = Field(
        default=None, ge=1, le=100, description="Denoising steps; none: as many as the network takes."
    )
    ensemble: int = Field(default=1, ge=1, le=32, description="So many samples are fitted together.")
    seed: int = Field(default=0, ge=0, lt=2**32, description="Decides the noise.")
    side: int | None = Field(
        default=None, ge=0, le=8192, description="Longer side to look at in pixels; 0: the picture's own."
    )
    tile: int | None = Field(default=None, ge=32, le=4096, description="Longest side of a tile in pixels.")
    match: bool = Field(default=True, description="Whether depth comes in the picture's own size.")
    resample: Literal["nearest", "guided", "bilinear"] = Field(
        default="guided", description="How, where that is another; bilinear brings flying pixels."
    )
    regions: tuple[tuple[float, float, float, float], ...] = Field(
        default=(),
        max_length=64,
        description="Boxes to say a depth for: left, top, right, bottom in fractions of the picture.",
    )


class DepthResult(BaseModel):
    """Relative depth of one picture."""

    model_config = ConfigDict(frozen=True)

    depth: ArtifactRef = Field(description="Grey with 16 bits: 0 is `low`, 65535 is `high`; far is bright.")
    coloured: ArtifactRef = Field(description="The same in colours to look at: near is red, far is blue.")
    low: float = Field(description="Relative depth of the value 0.")
    high: float = Field(description="Relative depth of the value 65535.")
    scale: float = Field(description="ln(depth + 1) = scale * relative + shift.")
    shift: float
    typical: bool = Field(description="Whether scale and shift are this network's usual ones, or a guess.")
    view: float = Field(description="Horizontal field of view that goes with them, in degrees.")
    regions: tuple[float, ...] = Field(
        default=(), description="Relative depth of what stands in each box that was asked for, in order."
    )
    seconds: float = Field(ge=0)

    def metric(self, relative: float) -> float:
        """A relative depth in the unit that `scale` and `shift` lead to."""
        return expm1(self.scale * relative + self.shift)

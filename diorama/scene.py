"""A scene as data: things with exact attributes and places, a camera, a light and a setting.

World axes: x to the right, y up, z away from the camera; the floor is y = 0. Lengths are world units (a large
cube's edge is 0.9), angles are radians. Knows nothing about drawing.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Thing:
    """One object. `x, y, z` is the centre of its box; a standing thing has y = half its height.

    `colour` None is the natural look of a thing that is no solid; a solid has a colour, and alone a pattern
    other than "plain".
    """

    shape: str
    colour: str | None
    pattern: str
    size: str
    x: float
    y: float
    z: float
    yaw: float
    drawing: str | None = None
    """Which drawing of its class a cut-out shows (see `drawings.toml`); None: the first."""
    flip: bool = False
    """Whether a cut-out is mirrored, left for right."""
    roll: float = 0.0
    """How far a cut-out leans, within its own plane: positive to the left, as seen."""


@dataclass(frozen=True, slots=True)
class Camera:
    """A pinhole at (x, height, -distance), pitched down by `pitch`; `focal` is in picture widths."""

    x: float
    height: float
    distance: float
    pitch: float
    focal: float


@dataclass(frozen=True, slots=True)
class Light:
    """A soft directional light: where it comes from, and the ambient share.

    `azimuth` is 0 from behind the camera and positive from the right; `elevation` is above the floor.
    """

    azimuth: float
    elevation: float
    ambient: float


@dataclass(frozen=True, slots=True)
class Scene:
    """One to six things in a setting, seen by a camera under a light."""

    things: tuple[Thing, ...]
    setting: str
    camera: Camera
    light: Light

"""What the depth pipeline gives back, in the manner of Marigold's."""

from dataclasses import dataclass
from typing import Any

from diffusers.utils.outputs import BaseOutput


@dataclass
class PixelPerfectDepthOutput(BaseOutput):
    """Depths of N pictures.

    `prediction` is relative depth, about 0 (near) to 1 (far) and not clamped, a straight line of the
    logarithm of depth + 1: (N, H, W, 1) for "np", (N, 1, H, W) for "pt". `uncertainty` is the spread over an
    ensemble in the same unit, None without one.
    """

    prediction: Any
    uncertainty: Any

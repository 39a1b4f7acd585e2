"""What a drawing's main surface looks like in another colour: a ramp of shades for each colour word.

A drawing carries two channels for it: how much of a texel is main surface, and its tone, the surface's
lightness against its own middle. A recoloured texel takes the tone's shade from the ramp, so that shading
and shape stay while hue and chroma change. Eyes, tyres and windows are no main surface and stay as drawn.
"""

from functools import cache

import numpy as np

from diorama.oklab import Floats, into_gamut, to_oklab
from diorama.vocabulary import load_vocabulary

TONES = 256
MIDDLE = 128
"""The tone of the surface's middle; a step is 1/256 of OKLab's lightness."""

_DARKER, _LIGHTER = 0.24, 0.16
"""How far at most a shade leaves its colour's lightness: beyond, yellow turns olive and red turns pink."""

_REACH = {"black": (0.08, 0.24), "white": (0.30, 0.03), "yellow": (0.16, 0.08), "brown": (0.20, 0.14)}
"""The same where it differs: black has no room below and shows its shape in its lights, white the reverse."""


@cache
def ramps() -> Floats:
    """Display sRGB in 0..1 of every colour of the full vocabulary at every tone, [colours, `TONES`, 3]."""
    return np.stack([_ramp(entry.name, entry.rgb) for entry in load_vocabulary().colours])


def _ramp(name: str, rgb: tuple[float, float, float]) -> Floats:
    middle = to_oklab(np.array(rgb))
    darker, lighter = _REACH.get(name, (_DARKER, _LIGHTER))
    tone = (np.arange(TONES) - MIDDLE) / TONES
    # Bent rather than cut: no two tones of a smooth surface become one flat patch.
    shift = np.where(tone < 0, darker * np.tanh(tone / darker), lighter * np.tanh(tone / lighter))
    lightness = np.clip(middle[0] + shift, 0.0, 1.0)
    chroma = 1.0 - 0.35 * np.maximum(shift, 0.0) / _LIGHTER
    return into_gamut(np.stack([lightness, middle[1] * chroma, middle[2] * chroma], axis=1))

"""Draws what a run came to, the head of its sheet: the first picture, the best one, and what is to be said.

Whoever is shown one thing is shown this; the rounds below are for those who ask how.
"""

from dataclasses import dataclass

from PIL import Image, ImageDraw

from graphs.state import RefineState, View
from models.artifact import ArtifactStore
from serving import ink

SIDE = 340
"""Pixels a side of either picture."""
_PAD, _GAP, _BETWEEN = 14, 72, 10
_CARD = SIDE + 2 * _PAD
_FAULTS, _LINE = 4, 18


@dataclass(frozen=True, slots=True)
class _Shown:
    label: str
    view: View
    wins: bool
    faults: list[str]
    """What is wrong with it, in lines."""

    @property
    def height(self) -> int:
        return _CARD + 52 + _LINE * len(self.faults) + (12 if self.faults else 8)


@dataclass(frozen=True, slots=True)
class _Text:
    lines: list[str]
    colour: str
    size: int

    @property
    def step(self) -> int:
        return round(1.4 * self.size)

    @property
    def height(self) -> int:
        return self.step * len(self.lines) + _BETWEEN


def draw_comparison(state: RefineState, artifacts: ArtifactStore, width: int) -> Image.Image:
    """An RGB picture `width` pixels wide, on the sheet's paper.

    Raises:
        LookupError: one of the two pictures is not in the store.
    """
    shown = _choose(state)
    left = len(shown) * (_CARD + _GAP) - (_GAP // 2 if shown else 0)
    texts = _tell(state, width - left)
    tall = max((card.height for card in shown), default=0)
    band = Image.new("RGB", (width, max(tall, sum(text.height for text in texts))), ink.PAPER)
    draw = ImageDraw.Draw(band)
    for number, card in enumerate(shown):
        at = number * (_CARD + _GAP)
        if number:
            _draw_arrow(draw, at - _GAP // 2, _CARD // 2)
        _draw_shown(band, at, tall, card, artifacts)
    top = 0
    for text in texts:
        ink.write(draw, (left, top), text.lines, text.colour, text.size, text.step)
        top += text.height
    return band


def _choose(state: RefineState) -> list[_Shown]:
    """The first picture and the best one, if they are two; the best one as it was touched up, if it was."""
    if state.incumbent is None:
        return []
    first, best = state.views[0][1], state.incumbent[1]
    same, touched = best.number == first.number, state.touched
    if same and touched is None:
        return [_show("the first picture, and the best", first, wins=True)]
    label = "the first picture" if same else f"the best, picture {best.number}"
    label += ", touched up" if touched else ""
    return [_show("the first picture", first, wins=False), _show(label, touched or best, wins=True)]


def _show(label: str, view: View, *, wins: bool) -> _Shown:
    faults = ink.list_faults([fault.description for fault in view.faults], _FAULTS, 14, SIDE, 2)
    return _Shown(label, view, wins, faults)


def _tell(state: RefineState, width: int) -> list[_Text]:
    """The change of the rating, the words that made it, the explanation and the figures."""
    best = state.incumbent
    count = len(state.views)
    spent = f"{count} picture{'' if count == 1 else 's'} · seed {state.request.seed}"
    figures = f"match with the prompt · {state.status} · {spent}"
    told = [_Text([figures], ink.FADED, 15)]
    if best is not None:
        change = _Text([_tell_rating(state.views[0][1], best[1], state.touched or best[1])], ink.INK, 34)
        told.insert(0, change)
        if best[0].prompt != state.request.prompt:
            words = f"painted as “{best[0].prompt}”"
            told.append(_Text(ink.wrap(words, 20, width, 5), ink.GOLD_INK, 20))
    if state.explanation:
        told.append(_Text(ink.wrap(state.explanation, 16, width, 12), ink.INK, 16))
    return told


def _tell_rating(first: View, best: View, shown: View) -> str:
    """From the first picture to the one that is shown, where another was found that is better."""
    if shown.rating is None:
        return "not rated"
    now = f"{shown.rating.mean:.2f} of 5"
    if first.rating is None or first.number == best.number:
        return now
    return f"{first.rating.mean:.2f} to {now}"


def _draw_shown(band: Image.Image, left: int, tall: int, card: _Shown, artifacts: ArtifactStore) -> None:
    draw = ImageDraw.Draw(band)
    ink.frame(draw, (left, 0, left + _CARD - 1, tall - 1), 12, 5, wins=card.wins)
    band.paste(ink.square(artifacts.load_image(card.view.picture), SIDE), (left + _PAD, _PAD))
    draw.text((left + _PAD, _CARD - 4), card.label, ink.INK, ink.font(16))
    rating = card.view.rating
    ink.bar(draw, (left + _PAD, _CARD + 28), SIDE, rating.mean if rating else None, 16)
    ink.write(draw, (left + _PAD, _CARD + 48), card.faults, ink.BAD, 14, _LINE)


def _draw_arrow(draw: ImageDraw.ImageDraw, middle: int, height: int) -> None:
    draw.line((middle - 16, height, middle + 12, height), ink.FADED, 3)
    draw.polygon([(middle + 8, height - 9), (middle + 20, height), (middle + 8, height + 9)], ink.FADED)

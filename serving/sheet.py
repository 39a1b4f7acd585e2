"""Draws a refinement on one sheet: first and best picture side by side, then every picture by round.

Each picture has its prompt, rating and faults; the winner stands in a golden frame. Knows the run's state
and Pillow; nothing about how the run is shown or sent.
"""

from dataclasses import dataclass

from PIL import Image, ImageDraw

from graphs.state import ORIGINAL, RefineState, View
from models.artifact import ArtifactStore
from serving import ink
from serving.comparison import draw_comparison

WIDTH = 1400
"""Pixels."""
COLUMNS = 7
"""Cards beside each other. A round of the default budget paints so many."""
_MARGIN, _GAP, _PAD = 36, 12, 10
_CARD = (WIDTH - 2 * _MARGIN - (COLUMNS - 1) * _GAP) // COLUMNS
_PICTURE = _CARD - 2 * _PAD
_PROMPT_LINES, _FAULTS, _LINE = 5, 3, 16
_BAR, _TITLE = 26, 44


@dataclass(frozen=True, slots=True)
class _Card:
    label: str
    view: View
    wins: bool
    prompt: list[str]
    faults: list[str]

    @property
    def height(self) -> int:
        lines = len(self.prompt) + len(self.faults)
        return 2 * _PAD + _PICTURE + 30 + _BAR + lines * _LINE + (6 if self.faults else 0)


@dataclass(frozen=True, slots=True)
class _Row:
    title: str
    cards: list[_Card]

    @property
    def lines(self) -> list[list[_Card]]:
        """The cards, broken where the sheet ends."""
        return [self.cards[start : start + COLUMNS] for start in range(0, len(self.cards), COLUMNS)]

    @property
    def height(self) -> int:
        return _TITLE + sum(max(card.height for card in line) + _GAP for line in self.lines)


def draw_sheet(state: RefineState, artifacts: ArtifactStore) -> Image.Image:
    """The whole run as an RGB picture, 1400 pixels wide and as high as its rounds need.

    Raises:
        LookupError: a picture of the run is not in the store.
    """
    inside = WIDTH - 2 * _MARGIN
    heading = ink.wrap(state.request.prompt, 28, inside, 3)
    comparison = draw_comparison(state, artifacts, inside)
    rows = _arrange(state)
    top = _MARGIN + 36 * len(heading) + 12
    height = top + comparison.height + sum(row.height for row in rows) + _MARGIN
    sheet = Image.new("RGB", (WIDTH, height), ink.PAPER)
    ink.write(ImageDraw.Draw(sheet), (_MARGIN, _MARGIN - 8), heading, ink.INK, 28, 36)
    sheet.paste(comparison, (_MARGIN, top))
    top += comparison.height + _GAP
    for row in rows:
        _draw_row(sheet, row, top, artifacts)
        top += row.height
    return sheet


def _draw_row(sheet: Image.Image, row: _Row, top: int, artifacts: ArtifactStore) -> None:
    draw = ImageDraw.Draw(sheet)
    draw.text((_MARGIN, top + 10), row.title, ink.INK, ink.font(16))
    after = _MARGIN + draw.textlength(row.title, ink.font(16)) + 14
    draw.line((after, top + 21, WIDTH - _MARGIN, top + 21), ink.EDGE, 1)
    top += _TITLE
    for line in row.lines:
        height = max(card.height for card in line)
        for column, card in enumerate(line):
            _draw_card(sheet, (_MARGIN + column * (_CARD + _GAP), top), height, card, artifacts)
        top += height + _GAP


def _draw_card(
    sheet: Image.Image, corner: tuple[int, int], height: int, card: _Card, artifacts: ArtifactStore
) -> None:
    draw = ImageDraw.Draw(sheet)
    left, top = corner
    ink.frame(draw, (left, top, left + _CARD, top + height), 10, 4, wins=card.wins)
    left, top = left + _PAD, top + _PAD
    sheet.paste(ink.square(artifacts.load_image(card.view.picture), _PICTURE), (left, top))
    top += _PICTURE + 8
    draw.text((left, top), card.label, ink.INK, ink.font(13))
    if card.wins:
        draw.text((left + _PICTURE, top), "winner", ink.GOLD, ink.font(13), anchor="ra")
    ink.bar(draw, (left, top + 24), _PICTURE, card.view.rating.mean if card.view.rating else None)
    ink.write(draw, (left, top + 22 + _BAR), card.prompt, ink.FADED, 12, _LINE)
    ink.write(draw, (left, top + 28 + _BAR + _LINE * len(card.prompt)), card.faults, ink.BAD, 12, _LINE)


def _arrange(state: RefineState) -> list[_Row]:
    """One row per round, pictures in the order of painting.

    An original that was painted once has no row: the comparison shows it already.
    """
    winner = state.incumbent[1].number if state.incumbent else None
    newcomers = [key for key in state.candidates if key != ORIGINAL]
    rows: dict[int, list[_Card]] = {}
    for candidate, view in state.views:
        name = "original" if candidate.id == ORIGINAL else f"candidate {newcomers.index(candidate.id) + 1}"
        rows.setdefault(view.round, []).append(
            _Card(
                label=f"{view.number}  {name}",
                view=view,
                wins=view.number == winner,
                prompt=ink.wrap(candidate.prompt, 12, _PICTURE, _PROMPT_LINES),
                faults=ink.list_faults(
                    [fault.description for fault in view.faults], _FAULTS, 12, _PICTURE, 3
                ),
            )
        )
    if len(rows.get(0, ())) == 1:
        del rows[0]
    return [_Row(_title(number), cards) for number, cards in sorted(rows.items())]


def _title(number: int) -> str:
    return "The original" if number == 0 else f"Round {number}"

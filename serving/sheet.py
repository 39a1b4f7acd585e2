"""Draws a refinement on one sheet: rounds from top to bottom, every picture with its prompt, rating and
faults.

The original comes first, the winner stands in a golden frame. Knows the run's state and Pillow; nothing
about how the run is shown or sent.
"""

from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from graphs.state import ORIGINAL, RefineState, View
from models.artifact import ArtifactStore

WIDTH = 1400
"""Pixels."""
COLUMNS = 5
_MARGIN, _GAP, _PAD = 36, 18, 12
_CARD = (WIDTH - 2 * _MARGIN - (COLUMNS - 1) * _GAP) // COLUMNS
_PICTURE = _CARD - 2 * _PAD
_PROMPT_LINES, _FAULTS, _LINE = 5, 3, 17
_BAR, _TITLE = 26, 44

_PAPER, _CARD_FILL, _EDGE, _TRACK = "#f4f1ea", "#ffffff", "#ddd6c8", "#ebe6db"
_INK, _FADED, _GOLD = "#2b2a27", "#857f73", "#d9a514"
_GOOD, _FAIR, _BAD = "#3f8f4f", "#d08a1d", "#c0392b"

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


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
    heading = _wrap(state.request.prompt, _font(24), WIDTH - 2 * _MARGIN, 3)
    summary = _wrap(_summarise(state), _font(15), WIDTH - 2 * _MARGIN, 3)
    rows = _arrange(state)
    top = _MARGIN + 32 * len(heading) + 22 * len(summary) + 8
    sheet = Image.new("RGB", (WIDTH, top + sum(row.height for row in rows) + _MARGIN - _GAP), _PAPER)
    draw = ImageDraw.Draw(sheet)
    _write(draw, (_MARGIN, _MARGIN - 6), heading, _INK, 24, 32)
    _write(draw, (_MARGIN, _MARGIN + 32 * len(heading)), summary, _FADED, 15, 22)
    for row in rows:
        _draw_row(sheet, row, top, artifacts)
        top += row.height
    return sheet


def _draw_row(sheet: Image.Image, row: _Row, top: int, artifacts: ArtifactStore) -> None:
    draw = ImageDraw.Draw(sheet)
    draw.text((_MARGIN, top + 10), row.title, _INK, _font(16))
    after = _MARGIN + draw.textlength(row.title, _font(16)) + 14
    draw.line((after, top + 21, WIDTH - _MARGIN, top + 21), _EDGE, 1)
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
    frame = (left, top, left + _CARD, top + height)
    draw.rounded_rectangle(frame, 10, _CARD_FILL, _GOLD if card.wins else _EDGE, 5 if card.wins else 1)
    left, top = left + _PAD, top + _PAD
    picture = artifacts.load_image(card.view.picture).convert("RGB")
    sheet.paste(_fit(picture), (left, top))
    top += _PICTURE + 8
    draw.text((left, top), card.label, _INK, _font(14))
    if card.wins:
        draw.text((left + _PICTURE, top), "winner", _GOLD, _font(14), anchor="ra")
    _draw_bar(draw, left, top + 24, card.view)
    _write(draw, (left, top + 22 + _BAR), card.prompt, _FADED, 13, _LINE)
    _write(draw, (left, top + 28 + _BAR + _LINE * len(card.prompt)), card.faults, _BAD, 13, _LINE)


def _draw_bar(draw: ImageDraw.ImageDraw, left: int, top: int, view: View) -> None:
    """The mean rating as a bar from 1 to 5."""
    width = _PICTURE - 44
    draw.rounded_rectangle((left, top, left + width, top + 9), 4, _TRACK)
    if view.rating is None:
        draw.text((left + _PICTURE, top - 4), "not rated", _FADED, _font(13), anchor="ra")
        return
    mean = view.rating.mean
    colour = _GOOD if mean >= 4.5 else _FAIR if mean >= 3.0 else _BAD
    filled = max(9, round(width * (mean - 1) / 4))
    draw.rounded_rectangle((left, top, left + filled, top + 9), 4, colour)
    draw.text((left + _PICTURE, top - 4), f"{mean:.2f}", _INK, _font(14), anchor="ra")


def _arrange(state: RefineState) -> list[_Row]:
    """One row per round, pictures in the order of painting."""
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
                prompt=_wrap(candidate.prompt, _font(13), _PICTURE, _PROMPT_LINES),
                faults=_describe_faults(view),
            )
        )
    return [_Row(_title(number), cards) for number, cards in sorted(rows.items())]


def _describe_faults(view: View) -> list[str]:
    shown = [f"· {fault.description}" for fault in view.faults[:_FAULTS]]
    if hidden := len(view.faults) - len(shown):
        shown.append(f"· and {hidden} more")
    return [line for text in shown for line in _wrap(text, _font(13), _PICTURE, 2)]


def _title(number: int) -> str:
    return "The original" if number == 0 else f"Round {number}"


def _summarise(state: RefineState) -> str:
    incumbent = state.incumbent
    rating = incumbent[1].rating if incumbent else None
    best = f"best rating {rating.mean:.2f}" if rating else "no rating"
    count = len(state.views)
    told = f"{state.status} · {count} picture{'' if count == 1 else 's'} · {best} · seed {state.request.seed}"
    return f"{told} · {state.explanation}" if state.explanation else told


def _fit(picture: Image.Image) -> Image.Image:
    """The picture as large as its square allows, on a quiet ground; small pictures keep crisp pixels."""
    scale = _PICTURE / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    method = Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.BICUBIC
    square = Image.new("RGB", (_PICTURE, _PICTURE), _TRACK)
    square.paste(picture.resize(size, method), ((_PICTURE - size[0]) // 2, (_PICTURE - size[1]) // 2))
    return square


def _font(size: int) -> Font:
    return ImageFont.load_default(size)


def _write(
    draw: ImageDraw.ImageDraw, corner: tuple[int, int], lines: list[str], colour: str, size: int, step: int
) -> None:
    for number, line in enumerate(lines):
        draw.text((corner[0], corner[1] + number * step), line, colour, _font(size))


def _wrap(text: str, font: Font, width: int, most: int) -> list[str]:
    """At most `most` lines no wider than `width` pixels; what does not fit ends in an ellipsis."""
    lines: list[str] = []
    line = ""
    for word in text.split():
        longer = f"{line} {word}".strip()
        if line and font.getlength(longer) > width:
            lines.append(line)
            line = word
        else:
            line = longer
    lines.append(line)
    kept = lines[:most]
    if len(lines) > most:
        kept[-1] += " …"
    return [_shorten(line, font, width) for line in kept]


def _shorten(line: str, font: Font, width: int) -> str:
    if font.getlength(line) <= width:
        return line
    while line and font.getlength(f"{line}…") > width:
        line = line[:-1]
    return f"{line.rstrip(' …')}…"

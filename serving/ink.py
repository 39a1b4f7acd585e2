"""What a sheet is drawn with: its colours, lines of text that fit, and pictures in squares.

Knows Pillow and nothing of runs.
"""

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

PAPER, CARD, EDGE, TRACK = "#f4f1ea", "#ffffff", "#ddd6c8", "#ebe6db"
INK, FADED, GOLD, GOLD_INK = "#2b2a27", "#857f73", "#d9a514", "#946c00"
GOOD, FAIR, BAD = "#3f8f4f", "#d08a1d", "#c0392b"

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def font(size: int) -> Font:
    """Pillow's own font, so that a sheet looks the same on every machine."""
    return ImageFont.load_default(size)


def write(
    draw: ImageDraw.ImageDraw, corner: tuple[int, int], lines: list[str], colour: str, size: int, step: int
) -> None:
    """Lines from a corner downwards, `step` pixels from each to the next."""
    for number, line in enumerate(lines):
        draw.text((corner[0], corner[1] + number * step), line, colour, font(size))


def wrap(text: str, size: int, width: int, most: int) -> list[str]:
    """At most `most` lines no wider than `width` pixels; what does not fit ends in an ellipsis."""
    face = font(size)
    lines: list[str] = []
    line = ""
    for word in text.split():
        longer = f"{line} {word}".strip()
        if line and face.getlength(longer) > width:
            lines.append(line)
            line = word
        else:
            line = longer
    lines.append(line)
    kept = lines[:most]
    if len(lines) > most:
        kept[-1] += " …"
    return [_shorten(line, face, width) for line in kept]


def list_faults(texts: Sequence[str], most: int, size: int, width: int, lines: int) -> list[str]:
    """The first `most` faults, each in at most so many lines, and how many more there are."""
    shown = [f"· {text}" for text in texts[:most]]
    if hidden := len(texts) - len(shown):
        shown.append(f"· and {hidden} more")
    return [line for text in shown for line in wrap(text, size, width, lines)]


def _shorten(line: str, face: Font, width: int) -> str:
    if face.getlength(line) <= width:
        return line
    while line and face.getlength(f"{line}…") > width:
        line = line[:-1]
    return f"{line.rstrip(' …')}…"


def frame(
    draw: ImageDraw.ImageDraw, box: tuple[int, int, int, int], radius: int, gold: int, *, wins: bool
) -> None:
    """A card's ground and edge, the winner's in gold and `gold` pixels wide."""
    draw.rounded_rectangle(box, radius, CARD, GOLD if wins else EDGE, gold if wins else 1)


def bar(
    draw: ImageDraw.ImageDraw, corner: tuple[int, int], width: int, mean: float | None, size: int = 14
) -> None:
    """A mean rating of 1 to 5 as a bar with its number, `width` pixels together."""
    left, top = corner
    if mean is None:
        draw.rounded_rectangle((left, top, left + width - 66, top + 9), 4, TRACK)
        draw.text((left + width, top - 4), "not rated", FADED, font(13), anchor="ra")
        return
    track = width - 3 * size
    draw.rounded_rectangle((left, top, left + track, top + 9), 4, TRACK)
    filled = max(9, round(track * (mean - 1) / 4))
    draw.rounded_rectangle((left, top, left + filled, top + 9), 4, colour_of(mean))
    draw.text((left + width, top + 4), f"{mean:.2f}", INK, font(size), anchor="rm")


def colour_of(mean: float) -> str:
    """Green for a picture that satisfies, amber for one half right, red below."""
    return GOOD if mean >= 4.5 else FAIR if mean >= 3.0 else BAD


def square(picture: Image.Image, side: int) -> Image.Image:
    """The picture as large as a square of `side` pixels allows, on a quiet ground."""
    scale = side / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    method = Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.BICUBIC
    ground = Image.new("RGB", (side, side), TRACK)
    ground.paste(picture.convert("RGB").resize(size, method), ((side - size[0]) // 2, (side - size[1]) // 2))
    return ground

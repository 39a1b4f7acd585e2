"""Writes the cards' figures into docs/embedded.md (`python -m models.embedded.training.document`).

A test compares the page with the cards, so that it cannot say what was not measured.
"""

import json
from pathlib import Path
from typing import Any

from models.embedded.training.ship import WEIGHTS
from models.embedded.training.taught import vocabulary_of

PAGE = Path(__file__).parents[3] / "docs" / "embedded.md"
EYES = ("critic", "judge")
COLUMNS = ("recall", "precision", "shape", "colour", "pattern", "size", "count", "position", "whole_scene")
BEGIN, END = "<!-- cards: begin -->", "<!-- cards: end -->"


def tables(weights: Path = WEIGHTS) -> str:
    """Markdown tables of the three cards."""
    parts = ("painter", "critic", "judge")
    cards = {part: json.loads((weights / part / "card.json").read_text("utf-8")) for part in parts}
    for part in EYES:
        cards[part].setdefault("vocabulary", vocabulary_of(weights / part))
    return "\n".join([*_painter(cards["painter"]), "", *_perception(cards), ""])


def page(text: str, weights: Path = WEIGHTS) -> str:
    """`text` with what stands between the markers replaced by the tables.

    Raises:
        ValueError: a marker is missing.
    """
    before, _, rest = text.partition(BEGIN)
    _, marker, after = rest.partition(END)
    if not marker:
        raise ValueError(f"{PAGE.name} needs the markers {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{tables(weights)}{END}{after}"


def _painter(card: dict[str, Any]) -> list[str]:
    measured = card["measured"]
    lines = [
        f"Painter, single samples by the judge, {measured['per_family']} held-out prompts per family, "
        f"{card['steps']} steps, guidance {card['guidance']}: the share of pictures that show exactly what "
        "was asked, and in brackets GenEval's leniency, where surplus things are forgiven.",
        "",
        "| family | canonical wording | held-out wording |",
        "|---|---|---|",
    ]
    for family, row in measured["canonical"].items():
        other = measured["heldout"][family]
        lines.append(f"| {family} | {_both(row)} | {_both(other)} |")
    return [*lines, *_official(card["geneval"])] if "geneval" in card else lines


def _official(figures: dict[str, Any]) -> list[str]:
    """GenEval's own prompts."""
    tags = {tag: row for tag, row in figures["tags"].items() if tag != "mean"}
    return [
        "",
        f"{figures['prompts']} of GenEval's 553 prompts are in its words; {figures['samples']} single "
        f"samples of each ({figures['seconds_per_picture']:.2f} s a picture on {figures['device']}), and the "
        "mean of the tags:",
        "",
        f"| {' | '.join(tags)} | mean |",
        "|---|" + "---|" * len(tags),
        f"| {' | '.join(_both(row) for row in figures['tags'].values())} |",
    ]


def _both(row: dict[str, float]) -> str:
    return f"{row['strict']:.2f} ({row['lenient']:.2f})"


def _perception(cards: dict[str, dict[str, Any]]) -> list[str]:
    rows = [(part, name, row) for part in EYES for name, row in _sets(cards[part]).items()]
    # What an older card did not measure is no column.
    columns = [column for column in COLUMNS if all(column in row for _, _, row in rows)]
    lines = [
        "Critic and judge on held-out renders of their own vocabulary, and of the painter's sub-vocabulary "
        "as rendered and as the autoencoder gives it back:",
        "",
        f"| model | pictures | {' | '.join(columns)} |",
        "|---|---|" + "---|" * len(columns),
    ]
    for part, name, row in rows:
        lines.append(f"| {part} | {name} | {' | '.join(f'{row[column]:.3f}' for column in columns)} |")
    lines += ["", "What is taken for what (attribute: true as said, times):", ""]
    for part in EYES:
        worst = cards[part]["confusions"][:6]
        found = "; ".join(f"{name}: {true} as {said}, {times}" for name, true, said, times in worst)
        lines.append(f"- {part}: {found}")
    if all("classes" in cards[part] for part in EYES):
        lines += _names(cards)
    return lines


def _sets(card: dict[str, Any]) -> dict[str, dict[str, float]]:
    """The rows of one model's figures, by the pictures that it was shown."""
    measured, again = card["measured"], card.get("reconstructions")
    known = card["vocabulary"]
    found = {known: measured["renders"]}
    if "every_pair" in measured:
        found[f"{known}, every pair of colour and shape"] = measured["every_pair"]
    if "held_out_drawings" in measured:
        found[f"{known}, held-out drawings"] = measured["held_out_drawings"]
    if again is not None:
        words = again["vocabulary"]
        found |= {
            f"{words}, rendered": again["renders"],
            f"{words}, reconstructed": again["reconstructed"],
        }
    return found


def _names(cards: dict[str, dict[str, Any]]) -> list[str]:
    """The ten names that are taken for others most often, and the ten that are right least often."""
    lines = ["", "Names (true as said, times), and those that are right least often (share, of so many):", ""]
    for part in EYES:
        card = cards[part]
        taken = "; ".join(f"{true} as {said}, {times}" for _, true, said, times in card["name_confusions"])
        worst = [(name, share, number) for name, (share, number) in card["classes"].items() if share < 1]
        least = "; ".join(f"{name} {share:.2f} of {number}" for name, share, number in worst[:10])
        lines.append(f"- {part}: {taken or 'none taken for another'} (least: {least or 'all always right'})")
    return lines


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text("utf-8")), "utf-8")
    print(f"wrote {PAGE}")

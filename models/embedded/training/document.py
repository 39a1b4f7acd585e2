"""Writes the cards' figures into docs/embedded.md (`python -m models.embedded.training.document`).

A test compares the page with the cards, so that it cannot say what was not measured.
"""

import json
from pathlib import Path
from typing import Any

from models.embedded.training.ship import WEIGHTS

PAGE = Path(__file__).parents[3] / "docs" / "embedded.md"
BEGIN, END = "<!-- cards: begin -->", "<!-- cards: end -->"


def tables(weights: Path = WEIGHTS) -> str:
    """Markdown tables of the three cards."""
    parts = ("painter", "critic", "judge")
    cards = {part: json.loads((weights / part / "card.json").read_text("utf-8")) for part in parts}
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
    return lines


def _both(row: dict[str, float]) -> str:
    return f"{row['strict']:.2f} ({row['lenient']:.2f})"


def _perception(cards: dict[str, dict[str, Any]]) -> list[str]:
    columns = ("recall", "precision", "shape", "colour", "pattern", "size", "count", "whole_scene")
    lines = [
        "Critic and judge on held-out renders of the full vocabulary, and of the painter's sub-vocabulary as "
        "rendered and as the autoencoder gives it back:",
        "",
        f"| model | pictures | {' | '.join(columns)} |",
        "|---|---|" + "---|" * len(columns),
    ]
    for part in ("critic", "judge"):
        again = cards[part]["reconstructions"]
        words = again["vocabulary"]
        sets = {
            "full": cards[part]["measured"]["renders"],
            f"{words}, rendered": again["renders"],
            f"{words}, reconstructed": again["reconstructed"],
        }
        for name, row in sets.items():
            lines.append(f"| {part} | {name} | {' | '.join(f'{row[column]:.3f}' for column in columns)} |")
    lines += ["", "What is taken for what (attribute: true as said, times):", ""]
    for part in ("critic", "judge"):
        worst = cards[part]["confusions"][:6]
        found = "; ".join(f"{name}: {true} as {said}, {times}" for name, true, said, times in worst)
        lines.append(f"- {part}: {found}")
    return lines


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text("utf-8")), "utf-8")
    print(f"wrote {PAGE}")

"""Finds the words that a mind quotes from a prompt. A quote that stands nowhere is never bent to fit."""

import re
from collections.abc import Iterable, Sequence

from agents.evidence import Span
from agents.reading.phrase import Misunderstood


def find_quote(prompt: str, quote: str, *, near: Sequence[Span] = (), taken: Sequence[Span] = ()) -> Span:
    """Where `prompt` says `quote`: outside `taken`, and of several places the one nearest to `near`.

    A word is matched whole: "car" is not found in "scarf". Without `near` the first place wins.

    Raises:
        Misunderstood: the quote is empty, or stands nowhere, or only in words that are taken.
    """
    if not quote.strip():
        raise Misunderstood("a quote is empty: copy words of the prompt")
    places = list(_places(prompt, quote))
    if not places:
        raise Misunderstood(
            f"the quote {quote!r} does not stand in the prompt {prompt!r}: copy its words to the letter"
        )
    free = [span for span in places if not any(overlap(span, other) for other in taken)]
    if not free:
        raise Misunderstood(
            f"the quote {quote!r} overlaps words that were quoted before: quotes share no words"
        )
    return min(free, key=lambda span: (_distance(span, near), span.start))


def overlap(left: Span, right: Span) -> bool:
    """Whether the two share a character."""
    return left.start < right.end and right.start < left.end


def _places(prompt: str, quote: str) -> Iterable[Span]:
    """Every place where the quote stands as whole words."""
    begins, ends = r"\b" if quote[0].isalnum() else "", r"\b" if quote[-1].isalnum() else ""
    for match in re.finditer(begins + re.escape(quote) + ends, prompt):
        start = match.start()
        yield Span(start=start, end=start + len(quote), text=quote)


def _distance(span: Span, near: Sequence[Span]) -> int:
    """Characters between a span and the nearest of `near`; 0 where they touch or there are none."""
    return min((max(other.start - span.end, span.start - other.end, 0) for other in near), default=0)

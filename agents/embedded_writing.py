"""Proposes candidate prompts: draws patterns for the located errors, carries out their rules, keeps what
means the same.

Knows how well patterns did before only by the weights and lessons it is given; it knows neither painter nor
picture.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp
from random import Random

from agents.embedded_reading import Reading, read
from agents.embedded_rewriting import Change, Draft, apply_rule
from agents.evidence import Edit, Error, ErrorKind, Lesson, Proposal, apply_edits
from agents.patterns import Pattern, Reword, load_patterns
from agents.propose import PatternChoice, Proposals, ProposeRequest
from agents.rewrite import RewriteRequest, Rewritten
from agents.role import MindError, UnsupportedPrompt
from diorama.wording import TEXT_LENGTH, say, words

LESSON_PULL = 0.7
"""How strongly a lesson tilts a pattern's weight: by e to this power per point of rating and unit of
similarity."""

COMPANION_SHARE = 0.5
"""How often a local edit takes a second one, for another error, along."""

_FAILURES = 6
"""After so many draws that gave nothing new a pattern is out for this error."""

_MOST_FACTOR = 5.0


@dataclass(slots=True)
class _Choice:
    """A pattern for an error, and how likely it is to be drawn."""

    pattern: Pattern
    error: Error | None
    weight: float
    failures: int = 0


def propose(request: ProposeRequest) -> Proposals:
    """At most `count` candidates, all different and none tried; fewer when the patterns give no more.

    Draws (pattern, error) by the patterns' weights, the errors' severity and the lessons. Every candidate
    is read back: one that would ask for something else than the original prompt is discarded, and so is one
    that is longer than what the embedded painter reads (unless the base prompt is longer) or than
    `longest`. Two candidates
    differ if a painter's tokenizer can tell them apart. The same request gives the same candidates.

    Raises:
        UnsupportedPrompt: the prompt is outside the grammar.
        MindError: a pattern is not in the library.
    """
    rng = Random(f"{request.seed} {request.prompt}")
    original, base = read(request.original_prompt), read(request.prompt)
    room = max(TEXT_LENGTH, len(words(request.prompt)))
    seen = {tuple(words(text)) for text in (*request.tried, request.prompt, request.original_prompt)}
    errors = [error for error in request.errors if error.status != "fixed"]
    choices = _make_choices(request, errors)
    proposals: list[Proposal] = []
    while choices and len(proposals) < request.count:
        choice = rng.choices(choices, [max(choice.weight, 1e-9) for choice in choices])[0]
        proposal = _draw(choice, base, original, errors, choices, rng)
        text = None if proposal is None else apply_edits(request.prompt, proposal.edits)
        new = None if text is None else tuple(words(text))
        too_long = text is not None and request.longest is not None and len(text) > request.longest
        if proposal is None or new is None or new in seen or len(new) > room or too_long:
            choice.failures += 1
            if choice.failures == _FAILURES:
                choices.remove(choice)
            continue
        seen.add(new)
        choice.weight /= 2  # so that candidates differ from each other
        proposals.append(proposal)
    return Proposals(proposals=tuple(proposals))


def rewrite(request: RewriteRequest) -> Rewritten:
    """The whole prompt in the canonical wording, with nothing painted and nothing known to be wrong; as it is
    where the canonical wording is longer than what the embedded painter reads.

    Raises:
        UnsupportedPrompt: the prompt is outside the grammar.
    """
    canonical = say(read(request.prompt).parsed.graph)
    room = max(TEXT_LENGTH, len(words(request.prompt)))
    return Rewritten(prompt=canonical if len(words(canonical)) <= room else request.prompt)


def keeps_meaning(prompt: str, original: Reading) -> bool:
    """Whether `prompt` asks for exactly what the original does."""
    try:
        return read(prompt).scene == original.scene
    except UnsupportedPrompt:
        return False


def _make_choices(request: ProposeRequest, errors: Sequence[Error]) -> list[_Choice]:
    """Every pattern with every error it may help; without errors, every rewording of the whole prompt."""
    library = {pattern.name: pattern for pattern in load_patterns()}
    weights = request.patterns or tuple(PatternChoice(name=name, weight=1.0) for name in library)
    if unknown := [choice.name for choice in weights if choice.name not in library]:
        raise MindError(f"no pattern {unknown[0]!r} in agents/patterns.toml; there are: {', '.join(library)}")
    choices: list[_Choice] = []
    for given in weights:
        pattern = library[given.name]
        if given.weight == 0:
            continue
        if not errors and pattern.whole_prompt:
            choices.append(_Choice(pattern, None, given.weight))
        for error in errors:
            if error.kind in pattern.kinds and (pattern.whole_prompt or error.span is not None):
                factor = (0.2 + error.severity) * _lesson_factor(pattern.name, error.kind, request.lessons)
                choices.append(_Choice(pattern, error, given.weight * factor))
    return choices


def _lesson_factor(pattern: str, kind: ErrorKind, lessons: Sequence[Lesson]) -> float:
    pull = sum(
        lesson.similarity * lesson.rating_change
        for lesson in lessons
        if lesson.pattern == pattern and lesson.kind == kind
    )
    return min(max(exp(LESSON_PULL * pull), 1 / _MOST_FACTOR), _MOST_FACTOR)


def _draw(
    choice: _Choice,
    base: Reading,
    original: Reading,
    errors: Sequence[Error],
    choices: Sequence[_Choice],
    rng: Random,
) -> Proposal | None:
    """One proposal by this choice, or None where its rule does not apply or would change what is asked
    for.
    """
    pattern = choice.pattern
    edits = _make_edits(choice, base, original, errors, rng)
    if not pattern.whole_prompt and edits and rng.random() < COMPANION_SHARE:
        others = [c for c in choices if not c.pattern.whole_prompt and c.error != choice.error]
        if others:
            other = rng.choices(others, [max(c.weight, 1e-9) for c in others])[0]
            edits = _join_edits(edits, _make_edits(other, base, original, errors, rng))
    if not edits or not keeps_meaning(apply_edits(base.prompt, edits), original):
        return None
    fault = f" (for: {choice.error.description})" if choice.error else ""
    return Proposal(edits=edits, reason=f"{pattern.summary}{fault}")


def _make_edits(
    choice: _Choice, base: Reading, original: Reading, errors: Sequence[Error], rng: Random
) -> tuple[Edit, ...]:
    pattern = choice.pattern
    # A base prompt that another mind led astray is reworded from the user's own words.
    source = base if base.scene == original.scene else original
    draft = Draft(base, source.parsed.graph, source.names, choice.error, rng)
    helped = [error for error in errors if error.kind in pattern.kinds]
    concerned = helped if isinstance(pattern.rule, Reword) or choice.error is None else [choice.error]
    return tuple(
        _make_edit(base, change, pattern.name, tuple(error.id for error in concerned))
        for change in apply_rule(pattern.rule, draft)
    )


def _make_edit(base: Reading, change: Change, pattern: str, error_ids: tuple[str, ...]) -> Edit:
    start, end, after = change
    return Edit(before=base.span(start, end), after=after, pattern=pattern, error_ids=error_ids)


def _join_edits(edits: tuple[Edit, ...], more: tuple[Edit, ...]) -> tuple[Edit, ...]:
    """Both, where they do not overlap; else the first alone."""
    clash = any(a.before.start < b.before.end and b.before.start < a.before.end for a in edits for b in more)
    return edits if clash else (*edits, *more)

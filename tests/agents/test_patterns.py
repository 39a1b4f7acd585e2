from random import Random
from typing import get_args

import pytest

from agents.embedded_reading import make_questions, read
from agents.embedded_rewriting import Draft, apply_rule
from agents.evidence import Error, ErrorKind
from agents.patterns import Pattern, Reword, load_patterns, patterns_for, read_patterns
from diorama.wording import TRAINING_STYLES, words

ENTRY = """
[[patterns]]
name = "pray"
kinds = ["count"]
summary = "s"
strategy = "s"
example = { before = "a cube", after = "one cube" }
rule = %s
"""


def test_every_kind_of_error_has_patterns() -> None:
    assert len(load_patterns()) >= 14
    for kind in get_args(ErrorKind):
        assert len(patterns_for(kind)) >= 3
        assert all(kind in pattern.kinds for pattern in patterns_for(kind))


def test_every_style_that_painters_learn_is_aimed_at() -> None:
    aimed = {
        p.rule.style for p in load_patterns() if isinstance(p.rule, Reword) and p.rule.order == "as_said"
    }
    assert aimed == set(TRAINING_STYLES)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ('{ name = "kneel" }', "kneel"),
        ('{ name = "reword", style = "baroque" }', "no style 'baroque'"),
        ('{ name = "reword", style = "wish" }', "held out"),
        ('{ name = "respell", what = "verb" }', "verb"),
        ('{ name = "invert", style = "geneval" }', "extra"),
    ],
)
def test_an_unknown_rule_is_refused(rule: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_patterns(ENTRY % rule)


def test_two_patterns_of_one_name_are_refused() -> None:
    entry = ENTRY % '{ name = "invert" }'
    with pytest.raises(ValueError, match="named twice: pray"):
        read_patterns(entry + entry)


@pytest.mark.parametrize("pattern", load_patterns(), ids=lambda pattern: pattern.name)
def test_the_rule_gives_the_example(pattern: Pattern) -> None:
    before, after = pattern.example.before, pattern.example.after
    reading = read(before)
    assert read(after).scene == reading.scene
    made: set[tuple[str, ...]] = set()
    for target in dict.fromkeys(question.target for question in make_questions(before)):
        error = Error(
            id="e",
            kind=pattern.kinds[0],
            target=target,
            description="",
            sentence_ids=(),
            severity=1,
            sources=("vqa",),
        )
        for seed in range(16):
            draft = Draft(reading, reading.parsed.graph, reading.names, error, Random(seed))
            text = before
            for start, end, new in sorted(apply_rule(pattern.rule, draft), reverse=True):
                text = text[:start] + new + text[end:]
            made.add(tuple(words(text)))
    assert tuple(words(after)) in made

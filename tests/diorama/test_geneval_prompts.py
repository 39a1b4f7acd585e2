"""GenEval's prompts are the official ones, and the world can read every one of them."""

import json
from collections import Counter
from hashlib import sha256

from diorama.families import geneval_cases, geneval_metadata
from diorama.parsing import parse
from diorama.vocabulary import load_vocabulary

FULL = load_vocabulary()
CASES = geneval_cases(FULL)

OFFICIAL = "c0bf8d5c86ed31a818987bd3ff27036beb602f0f60f80a4c041d8db17f1bd43f"
"""SHA-256 of the lines of GenEval's `evaluation_metadata.jsonl` in order, each as JSON with sorted keys and
without spaces, joined by newlines.
"""


def test_the_metadata_equals_the_official_file() -> None:
    lines = [json.dumps(geneval_metadata(case), sort_keys=True, separators=(",", ":")) for case in CASES]
    assert sha256("\n".join(lines).encode()).hexdigest() == OFFICIAL


def test_tags_have_their_official_counts() -> None:
    assert Counter(case.family for case in CASES) == {
        "single_object": 80,
        "two_object": 99,
        "counting": 80,
        "colors": 94,
        "position": 100,
        "color_attr": 100,
    }
    assert len({case.prompt for case in CASES}) == len({case.id for case in CASES}) == 553


def test_every_prompt_reads_as_its_metadata_says() -> None:
    for case in CASES:
        graph = parse(case.prompt).graph
        assert graph == case.graph, case.prompt
        assert geneval_metadata(case.model_copy(update={"graph": graph})) == geneval_metadata(case)


def test_the_templates_keep_their_naive_plurals() -> None:
    prompts = {case.prompt for case in CASES}
    assert "a photo of four benchs" in prompts
    assert "a photo of three persons" in prompts
    assert "a photo of two sheeps" in prompts
    assert "a photo of an orange orange" in prompts
    assert "a photo of a green skis and a brown airplane" in prompts


def test_cases_of_a_sub_vocabulary_use_its_words_alone() -> None:
    names = load_vocabulary("cpu_names")
    found = geneval_cases(names)
    assert found == [case for case in CASES if case in found]
    assert 30 <= len(found) < 60
    for case in found:
        assert parse(case.prompt, names).graph == case.graph
    assert not geneval_cases(load_vocabulary("cpu"))

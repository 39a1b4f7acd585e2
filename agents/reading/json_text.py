"""Finds the JSON object in what a model said: bare, fenced, after thinking aloud, or with prose around it."""

import json
import re
from typing import Any, cast

_THOUGHT = re.compile(r"<think>.*?</think>", re.DOTALL)
_FENCED = re.compile(r"```(?:json)?\s*\n(.*?)```", re.DOTALL)


def find_object(said: str) -> dict[str, Any]:
    """The JSON object of a reply.

    Raises:
        ValueError: there is none, or prose around it leaves open where it ends.
    """
    text = _THOUGHT.sub("", said).strip()
    fenced = _FENCED.findall(text)
    for candidate in (text, *fenced, text[max(text.find("{"), 0) : text.rfind("}") + 1]):
        try:
            found = json.loads(candidate)
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict):
            return cast(dict[str, Any], found)
    raise ValueError(f"there is no JSON object in the reply, which starts {said[:80]!r}")

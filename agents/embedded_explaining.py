"""Tells a person in one paragraph how a refinement went. Knows only what it is told; it invents no
reasons.
"""

from collections.abc import Sequence

from agents.embedded_claims import NOTHING_ELSE
from agents.evidence import Error
from agents.explain import ExplainRequest, Explanation
from diorama.telling import join

_ENDS = {
    "budget": "The budget was used up before the picture was perfect.",
    "plateau": "Further wordings brought nothing better, so the search stopped.",
    "cancelled": "The run was cancelled on the way.",
    "failed": "The run failed on the way.",
    "unsupported": "The prompt asks for something that this world does not know.",
}


def explain(request: ExplainRequest) -> Explanation:
    """One friendly paragraph: what was wrong, what was changed, what it brought, what is still wrong."""
    parts = [_say_start(request), _say_change(request), _say_gain(request), _say_rest(request)]
    parts.append(_ENDS.get(request.status, ""))
    return Explanation(text=" ".join(filter(None, parts)))


def _say_start(request: ExplainRequest) -> str:
    if not request.errors:
        return "The first picture already showed what you asked for."
    return f"At first {_name(request.errors)}."


def _say_change(request: ExplainRequest) -> str:
    if request.final_prompt == request.prompt:
        return "Your own words turned out to work best and were kept." if request.errors else ""
    return f"It came out best when it was said as “{request.final_prompt}”."


def _say_gain(request: ExplainRequest) -> str:
    before, after = request.original.mean, request.final.mean
    pictures = f"{request.pictures} picture{'' if request.pictures == 1 else 's'}"
    if after > before:
        return f"In {pictures} the match with your words went from {before:.2f} to {after:.2f} of 5."
    return f"After {pictures} the match with your words is {after:.2f} of 5."


def _say_rest(request: ExplainRequest) -> str:
    left = [error for error in request.errors if error.status != "fixed"]
    if left:
        return f"Still open: {_name(left)}."
    return "Nothing is wrong any more." if request.errors else ""


def _name(errors: Sequence[Error]) -> str:
    return join(list(dict.fromkeys(map(_name_one, errors))))


def _name_one(error: Error) -> str:
    target = error.target
    match error.kind:
        case "missing":
            return f"{target} could not be seen"
        case "count":
            return f"the number was not right for “{target}”"
        case "extra":
            return (
                "there was something that nobody asked for"
                if target == NOTHING_ELSE
                else f"{target} was too much"
            )
        case "position":
            return f"“{target}” was not so"
        case "background":
            return f"the scene was not {target}"
        case _:
            return f"the {error.kind} was not right for “{target}”"

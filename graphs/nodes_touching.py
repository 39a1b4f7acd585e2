"""The node that paints the things of a picture that is right once more, from close up: touch_up."""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from langgraph.runtime import Runtime
from PIL import Image
from pydantic import JsonValue

from agents.point_out import POINT_OUT, PointOutRequest, Thing
from agents.rate import RATE, RateRequest
from graphs.context import Studio, Tally, emit
from graphs.events import TouchedUp
from graphs.nodes_painting import look_at, paint_picture, rate
from graphs.policy import is_satisfying
from graphs.seeds import derive_seed
from graphs.state import RefineState, View
from models.artifact import ArtifactRef, ArtifactStore
from models.backdrops import NotPlain
from models.backends import resolve
from models.close_ups import CloseUp, CutOff, CutOut, cut_out, put_back, take_close_ups
from models.picture_request import GenerateRequest

Update = dict[str, Any]
"""A partial update of the state."""

STRENGTH = 0.625
"""The share of the steps that are made: with .8, things lost what was asked of them."""
LARGE = 1024
"""Pixels. A picture whose sides are at most half of that is delivered twice as large when it was touched up:
what was painted close up has detail that its old place has no pixels for.
"""


@dataclass(frozen=True, slots=True)
class _Painted:
    """A thing as it was painted anew."""

    thing: Thing
    cut: CutOut


class _AsFound(Exception):
    """Why a picture stays as it was found, where nothing is amiss."""


async def touch_up(state: RefineState, runtime: Runtime[Studio]) -> Update:
    """Paint every small thing of the best picture anew, large, before the picture's own backdrop, and put it
    back where it is rated no lower there. The outcome takes the picture's place if it satisfies as well.

    It is no further picture of the search: nothing is learnt from it.

    Raises:
        MindError: nobody could point the things out, or look at the outcome.
        ToolError: they could not be painted.
    """
    assert state.incumbent is not None, "what satisfies is a picture"
    candidate, view = state.incumbent
    tally = Tally(runtime, "touch_up")
    request = PointOutRequest(prompt=state.request.prompt, questions=state.questions)
    things = (await tally.ask(POINT_OUT, request, [view.picture])).things
    found = await asyncio.to_thread(runtime.context.artifacts.load_image, view.picture)
    try:
        near = await asyncio.to_thread(_take_small, found, things, state.request.backend)
        if not near:
            raise _AsFound("no thing in it is small and gains from being painted close up")
        better = await _paint_near(state, view, near, runtime, tally)
        if not better:
            raise _AsFound("no thing came out better")
        ref = await asyncio.to_thread(_put_all_back, found, view, better, runtime.context.artifacts)
    except (NotPlain, _AsFound) as error:
        emit(runtime, TouchedUp(reason=str(error), round=state.round))
        return tally.update
    fresh = View(number=len(state.views) + 1, seed=view.seed, round=state.round, picture=ref)
    looked = await rate(look_at(state, candidate, fresh), runtime)
    [touched] = looked["candidates"][candidate.id].views
    kept, names = is_satisfying(state, touched), tuple(each.thing.words for each in better)
    emit(runtime, TouchedUp(things=names, picture=ref, rating=touched.rating, kept=kept, round=state.round))
    calls, spent = {**tally.calls, **looked["calls"]}, {**tally.spent, **looked.get("spent", {})}
    update: Update = {"calls": calls, "spent": spent, "notes": looked["notes"]}
    return {**update, "touched": touched} if kept else update


def _take_small(found: Image.Image, things: Sequence[Thing], backend: str) -> list[tuple[Thing, CloseUp]]:
    """Close-ups of the things that are small, and gain by it where the backend's card names some that do."""
    names = resolve(backend).gains_near

    def gains(thing: Thing) -> bool:
        return names is None or any(re.search(rf"\b{re.escape(name)}\b", thing.words) for name in names)

    close_ups = zip(things, take_close_ups(found, [thing.box for thing in things]), strict=True)
    return [(thing, near) for thing, near in close_ups if near is not None and gains(thing)]


async def _paint_near(
    state: RefineState,
    view: View,
    near: Sequence[tuple[Thing, CloseUp]],
    runtime: Runtime[Studio],
    tally: Tally,
) -> list[_Painted]:
    """Every close-up, painted anew, in one batch where the backend has batches; less those that are rated
    lower than before, and those whose thing cannot be told from what it is painted before.
    """
    artifacts = runtime.context.artifacts

    async def paint(number: int, thing: Thing, close_up: CloseUp) -> _Painted | None:
        told: dict[str, JsonValue] = {
            "tool": "close_up",
            "edit_of": view.picture.sha256,
            "thing": thing.words,
        }
        before = await asyncio.to_thread(
            artifacts.save_image, close_up.picture, seed=view.seed, provenance=told
        )
        prompt = f"a photo of {thing.words}"
        request = GenerateRequest(
            prompt=prompt,
            backend=state.request.backend,
            seed=derive_seed(state.request.seed, "touch_up", number),
            edit_of=before,
            strength=STRENGTH,
        )
        after = await paint_picture(request, runtime, state.round, shown=number == 0)
        asked = RateRequest(prompt=prompt, questions=(), answers=(), errors=())
        was, now = [(await tally.ask(RATE, asked, [each])).mean for each in (before, after)]
        if now < was:
            return None
        try:
            return _Painted(thing, await asyncio.to_thread(cut_out, close_up, artifacts.load_image(after)))
        except (NotPlain, CutOff):
            return None

    painted = await asyncio.gather(*(paint(number, *pair) for number, pair in enumerate(near)))
    return [each for each in painted if each is not None]


def _put_all_back(
    found: Image.Image, view: View, better: Sequence[_Painted], artifacts: ArtifactStore
) -> ArtifactRef:
    enlarged = 2 if 2 * max(found.size) <= LARGE else 1
    picture = found.resize((enlarged * found.width, enlarged * found.height), Image.Resampling.BICUBIC)
    for each in better:
        picture = put_back(picture, each.cut)
    names: list[JsonValue] = [each.thing.words for each in better]
    told: dict[str, JsonValue] = {"tool": "touch_up", "edit_of": view.picture.sha256, "things": names}
    return artifacts.save_image(picture, seed=view.seed, provenance=told)

"""The node that paints the things of a picture that is right once more, from close up: touch_up."""

import asyncio
from collections.abc import Sequence
from typing import Any

from langgraph.runtime import Runtime
from PIL import Image
from pydantic import JsonValue

from agents.point_out import POINT_OUT, PointOutRequest, Thing
from graphs.context import Studio, Tally, emit
from graphs.events import TouchedUp
from graphs.nodes_painting import look_at, paint_picture, rate
from graphs.policy import is_satisfying
from graphs.seeds import derive_seed
from graphs.state import RefineState, View
from models.close_ups import CloseUp, NotPlain, put_back, take_close_ups
from models.picture_request import GenerateRequest

Update = dict[str, Any]
"""A partial update of the state."""

STRENGTH = 0.625
"""The share of the steps that are made. Of 83 pictures that the critic found right the judge found .96 right,
and .98 once they were touched up and those left out that the critic no longer found so; with .8 .94.
"""


async def touch_up(state: RefineState, runtime: Runtime[Studio]) -> Update:
    """Paint every small thing of the best picture anew, large, before the picture's own backdrop, and put it
    back. The outcome takes the picture's place if it satisfies as well.

    It is no further picture of the search: nothing is learnt from it.

    Raises:
        MindError: nobody could point the things out, or look at the outcome.
        ToolError: they could not be painted.
    """
    assert state.incumbent is not None, "what satisfies is a picture"
    candidate, view = state.incumbent
    tally = Tally(runtime, f"picture {view.number}")
    request = PointOutRequest(prompt=state.request.prompt, questions=state.questions)
    things = (await tally.ask(POINT_OUT, request, [view.picture])).things
    artifacts = runtime.context.artifacts
    found = await asyncio.to_thread(artifacts.load_image, view.picture)
    try:
        near = await asyncio.to_thread(_take_small, found, things)
        if not near:
            raise NotPlain("no thing in it is small")
        painted = await _paint_near(state, view, near, runtime)
        picture = await asyncio.to_thread(_put_all_back, found, near, painted)
    except NotPlain as error:
        emit(runtime, TouchedUp(reason=str(error), round=state.round))
        return tally.update
    names = [thing.words for thing, _ in near]
    told: dict[str, JsonValue] = {"tool": "touch_up", "edit_of": view.picture.sha256, "things": [*names]}
    ref = await asyncio.to_thread(artifacts.save_image, picture, seed=view.seed, provenance=told)
    fresh = View(number=len(state.views) + 1, seed=view.seed, round=state.round, picture=ref)
    looked = await rate(look_at(state, candidate, fresh), runtime)
    [touched] = looked["candidates"][candidate.id].views
    kept = is_satisfying(state, touched)
    emit(
        runtime,
        TouchedUp(things=tuple(names), picture=ref, rating=touched.rating, kept=kept, round=state.round),
    )
    calls, spent = {**tally.calls, **looked["calls"]}, {**tally.spent, **looked.get("spent", {})}
    update: Update = {"calls": calls, "spent": spent, "notes": looked["notes"]}
    return {**update, "touched": touched} if kept else update


def _take_small(found: Image.Image, things: Sequence[Thing]) -> list[tuple[Thing, CloseUp]]:
    close_ups = take_close_ups(found, [thing.box for thing in things])
    return [(thing, near) for thing, near in zip(things, close_ups, strict=True) if near is not None]


async def _paint_near(
    state: RefineState, view: View, near: Sequence[tuple[Thing, CloseUp]], runtime: Runtime[Studio]
) -> list[Image.Image]:
    """Every close-up, painted anew, in one batch where the backend has batches."""
    artifacts = runtime.context.artifacts

    async def paint(number: int, thing: Thing, close_up: CloseUp) -> Image.Image:
        told: dict[str, JsonValue] = {
            "tool": "close_up",
            "edit_of": view.picture.sha256,
            "thing": thing.words,
        }
        taken = await asyncio.to_thread(
            artifacts.save_image, close_up.picture, seed=view.seed, provenance=told
        )
        request = GenerateRequest(
            prompt=f"a photo of {thing.words}",
            backend=state.request.backend,
            seed=derive_seed(state.request.seed, "touch_up", number),
            edit_of=taken,
            strength=STRENGTH,
        )
        picture = await paint_picture(request, runtime, state.round, shown=number == 0)
        return await asyncio.to_thread(artifacts.load_image, picture)

    return await asyncio.gather(*(paint(number, *pair) for number, pair in enumerate(near)))


def _put_all_back(
    picture: Image.Image, near: Sequence[tuple[Thing, CloseUp]], painted: Sequence[Image.Image]
) -> Image.Image:
    for (_, close_up), new in zip(near, painted, strict=True):
        picture = put_back(picture, close_up, new)
    return picture

"""A picture that satisfies is touched up where that was asked for, if it satisfies after that too."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import ImageOps

from graphs.context import Studio
from graphs.events import Degraded, Event, Stepped, TouchedUp
from graphs.request import Budget, RefineRequest
from graphs.run import Home, load_state, refine, replay
from memory.artifacts import Artifacts
from models.artifact import ArtifactRef
from models.backends import EMBEDDED
from models.perception import Perception
from models.tool import ToolContext
from tests.graphs.conftest import DioramaPainter, TruthfulCritic, open_studio
from tests.graphs.test_refine import HARD, Sometimes

SMALL = "a photo of two blue spheres and a red cube"


@pytest.fixture(autouse=True)
def any_may_gain(monkeypatch: pytest.MonkeyPatch) -> None:
    """The painter of these tests is not the shipped one, whose card names what it paints better close up."""
    monkeypatch.setattr("graphs.nodes_touching.resolve", lambda backend: EMBEDDED)


def request(prompt: str = SMALL, pictures: int = 24, **changes: Any) -> RefineRequest:
    return RefineRequest(prompt=prompt, budget=Budget(pictures=pictures), **changes)


def find(events: list[Event]) -> list[TouchedUp]:
    return [event for event in events if isinstance(event, TouchedUp)]


async def test_the_best_picture_is_replaced_by_the_one_touched_up(studio: Studio, home: Home) -> None:
    still = replace(studio, learning=False, episodes=None, posterior=None, seeds=None)
    plain = await refine(request(), still, home)
    assert plain.status == "satisfied" and plain.found_picture is None
    events: list[Event] = []
    result = await refine(request(touch_up=True), still, home, events.append, run_id="touched")
    [touched] = find(events)
    assert touched.kept and touched.picture == result.picture
    assert touched.things == ("a blue sphere", "a blue sphere"), "the cube is large already"
    assert result.found_picture == plain.picture != result.picture
    assert result.pictures == plain.pictures, "it is no further picture of the search"
    # point_out; either sphere rated before and after; answer and rate
    assert result.mind_calls == plain.mind_calls + 1 + 2 * 2 + 2
    assert result.final_rating == touched.rating and result.final_rating is not None
    assert (
        result.explanation == f"{plain.explanation} Finally, small things in it were painted again close up."
    )
    # This painter leaves close-ups as they are, so only edges are softer.
    assert result.picture is not None and result.found_picture is not None
    delivered = studio.artifacts.load_image(result.picture)
    found = studio.artifacts.load_image(result.found_picture)
    assert delivered.size == (2 * found.width, 2 * found.height)
    off = np.abs(np.asarray(delivered, float) - np.asarray(found.resize(delivered.size), float))
    assert 0 < off.mean() < 6
    state = await load_state("touched", home)
    assert state.touched is not None and state.touched.picture == result.picture
    assert [view.picture for _, view in state.views] and result.picture not in [
        v.picture for _, v in state.views
    ]
    again = await replay("touched", still, home)
    assert (again.picture, again.found_picture) == (result.picture, result.found_picture)


async def test_a_picture_of_many_pixels_keeps_its_size(
    studio: Studio, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graphs.nodes_touching.LARGE", 63)
    result = await refine(request(touch_up=True), studio, home)
    assert result.picture is not None and result.found_picture is not None
    sizes = {studio.artifacts.load_image(ref).size for ref in (result.picture, result.found_picture)}
    assert sizes == {(32, 32)}


async def test_where_every_pixel_comes_from_is_told(studio: Studio, home: Home) -> None:
    result = await refine(request(touch_up=True), studio, home)
    assert result.picture is not None and result.found_picture is not None
    assert isinstance(studio.artifacts, Artifacts)
    [told] = studio.artifacts.sidecar(result.picture)["provenances"]  # pyright: ignore
    assert (told["tool"], told["edit_of"]) == ("touch_up", result.found_picture.sha256)
    assert told["things"] == ["a blue sphere", "a blue sphere"]


class Strict(TruthfulCritic):
    """Sees another colour in what a tool made."""

    def __init__(self, tool: str) -> None:
        self._tool = tool

    def know(self, artifacts: Artifacts, picture: ArtifactRef) -> Perception:
        seen = super().know(artifacts, picture)
        [told, *_] = artifacts.sidecar(picture)["provenances"]  # pyright: ignore
        if told.get("tool") != self._tool:
            return seen
        things = tuple(thing.model_copy(update={"colour": "green"}) for thing in seen.things)
        return seen.model_copy(update={"things": things})


class Clumsy(DioramaPainter):
    """Turns what it is to paint anew upside down."""

    def edit(self, picture: ArtifactRef, context: ToolContext) -> ArtifactRef:
        turned = ImageOps.flip(context.load_picture(picture))
        told = {"tool": "clumsy", "edit_of": picture.sha256}
        return context.artifacts.save_image(turned, seed=None, provenance=told)


async def test_what_no_longer_satisfies_is_left_out(home: Home) -> None:
    studio = open_studio(home, critic=Strict("touch_up"))
    events: list[Event] = []
    result = await refine(request(touch_up=True), studio, home, events.append)
    [touched] = find(events)
    assert not touched.kept and touched.picture is not None and touched.picture != result.picture
    assert (result.status, result.found_picture) == ("satisfied", None)
    assert "close up" not in result.explanation
    assert result.final_rating and result.final_rating.mean >= 4.9
    await studio.executor.close()
    assert studio.episodes is not None
    studio.episodes.close()


async def test_a_thing_that_came_out_worse_stays_as_it_was(home: Home) -> None:
    studio = open_studio(home, Clumsy(), Strict("clumsy"))
    events: list[Event] = []
    result = await refine(request(touch_up=True), studio, home, events.append)
    [touched] = find(events)
    assert touched.reason == "no thing came out better" and touched.picture is None
    assert (result.status, result.found_picture, result.notes) == ("satisfied", None, ())
    await studio.executor.close()
    assert studio.episodes is not None
    studio.episodes.close()


async def test_only_what_the_backend_paints_better_close_up_is_touched_up(
    studio: Studio, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt = "a photo of two blue spheres and a small red cone"
    for names, wanted in ((("cone", "cube"), {"a small red cone", "a red cone"}), (("spheres",), set[str]())):
        card = EMBEDDED.model_copy(update={"gains_near": names})
        monkeypatch.setattr("graphs.nodes_touching.resolve", lambda backend, card=card: card)
        events: list[Event] = []
        await refine(request(prompt, touch_up=True), studio, home, events.append)
        [touched] = find(events)
        assert set(touched.things) <= wanted and bool(touched.things) == bool(wanted)


async def test_only_what_satisfies_is_touched_up_and_only_on_request(studio: Studio, home: Home) -> None:
    for asked in (request(), request(HARD, pictures=1, touch_up=True)):
        events: list[Event] = []
        result = await refine(asked, studio, home, events.append)
        assert result.found_picture is None and not find(events)
        assert not [event for event in events if isinstance(event, Stepped) and event.node == "touch_up"]


async def test_without_anyone_to_point_things_out_the_picture_stays(studio: Studio, home: Home) -> None:
    blind = replace(studio, mind=Sometimes(studio.mind, "point_out"))
    events: list[Event] = []
    result = await refine(request(touch_up=True), blind, home, events.append)
    assert (result.status, result.found_picture) == ("satisfied", None) and result.picture
    [degraded] = [event for event in events if isinstance(event, Degraded)]
    assert degraded.node == "touch_up" and "the picture stays as it was found" in degraded.reason
    assert result.notes == (f"touch_up, round {degraded.round}: {degraded.reason}",)


async def test_what_is_large_is_left_alone_and_that_is_said(studio: Studio, home: Home) -> None:
    events: list[Event] = []
    result = await refine(request("a photo of a large cube", touch_up=True), studio, home, events.append)
    [touched] = find(events)
    assert touched.picture is None
    assert touched.reason == "no thing in it is small and gains from being painted close up"
    assert result.found_picture is None and result.notes == ()

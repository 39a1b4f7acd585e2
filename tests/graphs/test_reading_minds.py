"""Whole refinements whose minds read: every role travels over HTTP to a server that plays it."""

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from agents.embedded import EmbeddedMind
from agents.reading.card import EndpointCard
from agents.reading.endpoint import EndpointSpeaker
from agents.reading.mind import ReadingMind
from agents.reading.phrases import PHRASES
from agents.reading.pictures import data_url
from agents.role import Role
from graphs.context import Studio
from graphs.events import Degraded, Event
from graphs.request import Budget, RefineRequest
from graphs.run import Home, refine, replay
from memory.replies import KeptReplies
from models.artifact import ArtifactRef, ArtifactStore
from tests.agents.reading.saying import say
from tests.agents.reading.server import Body, Endpoint, Sent, chat, error, serving

HARD = "a photo of a red cube left of two blue spheres"
"""The painter of these tests gets this wording wrong with the first nine seeds."""


Told = dict[tuple[str, ...], tuple[Role[Any, Any], Any, Sequence[ArtifactRef]]]


class Overheard(ReadingMind):
    """Notes which words and pictures stand for which request, for the server to tell what it is asked."""

    told: Told
    artifacts: ArtifactStore

    async def ask(self, role: Role[Any, Any], request: Any, images: Sequence[ArtifactRef] = ()) -> Any:
        words = json.dumps(PHRASES[role.name].tell(request), ensure_ascii=False, indent=1)
        pictures = [data_url(self.artifacts, image, 1024) for image in images]
        self.told[(role.instructions, words, *pictures)] = (role, request, images)
        return await super().ask(role, request, images)


def heard(body: Body, told: Told) -> tuple[Role[Any, Any], Any, Sequence[ArtifactRef]]:
    """Which request this is, by the words and the pictures that came over the wire."""
    system, user = (message["content"] for message in body["messages"][:2])
    parts = [{"text": user}] if isinstance(user, str) else user
    said = tuple(part.get("text") or part["image_url"]["url"] for part in parts)
    [request] = [told[key] for key in told if key[1:] == said and key[0] in system]
    return request


@asynccontextmanager
async def reading(studio: Studio, home: Home, fail: Any = None) -> AsyncGenerator[tuple[Studio, Endpoint]]:
    """The studio with a mind behind HTTP; the server plays the roles with the embedded mind."""
    knowing, loop = EmbeddedMind(studio.executor), asyncio.get_running_loop()

    def reply(body: Body) -> Sent:
        if fail and (failure := fail(body, len(endpoint.asked))):
            return failure
        role, request, images = heard(body, mind.told)
        asked = asyncio.run_coroutine_threadsafe(knowing.ask(role, request, images), loop)
        return chat(json.dumps(say(role.name, request, asked.result(60))))

    with serving(Endpoint(reply)) as endpoint:
        replies = KeptReplies(home.root / "replies.db")
        card = EndpointCard(base_url=endpoint.url, retries=1)
        async with EndpointSpeaker("local", card, studio.artifacts, replies) as speaker:
            mind = Overheard("local", speaker, replies)
            mind.told, mind.artifacts = {}, studio.artifacts
            yield replace(studio, mind=mind), endpoint


def request(**changes: Any) -> RefineRequest:
    return RefineRequest(prompt=HARD, mind="local", budget=Budget(pictures=16), **changes)


async def test_a_refinement_over_http_and_its_replay(studio: Studio, home: Home) -> None:
    async with reading(studio, home) as (reader, endpoint):
        result = await refine(request(), reader, home)
        assert result.status == "satisfied" and result.notes == ()
        assert result.original_rating and result.final_rating
        assert result.final_rating.mean > result.original_rating.mean
        assert result.edits and result.final_prompt != HARD
        # each call was one request, beside the probe and the search for the model's name
        assert result.mind_calls == len(endpoint.asked) + result.spent.cached
        assert result.spent.tokens_in == 100 * (len(endpoint.asked) + len(endpoint.probes))
        asked = len(endpoint.asked)
        again = await replay(result.run_id, reader, home)
        assert len(endpoint.asked) == asked, "a replay asks nothing anew"
        assert (again.picture, again.final_prompt) == (result.picture, result.final_prompt)
        assert again.spent.cached == again.mind_calls


async def test_a_server_that_often_fails_degrades_and_never_ends_a_run(studio: Studio, home: Home) -> None:
    faults = [chat("so sorry"), error(500, "oh no"), chat(None, refusal="no"), chat("{", finish="length")]
    events: list[Event] = []

    def fail(body: Body, number: int) -> Sent | None:
        return faults[number % len(faults)] if number % 3 == 0 else None

    async with reading(studio, home, fail) as (reader, _):
        result = await refine(request(), reader, home, events.append)
    assert result.status in ("satisfied", "budget", "plateau")
    assert result.picture is not None and result.spent.asked_again > 0
    assert bool(result.notes) == any(isinstance(event, Degraded) for event in events)


async def test_tokens_are_a_budget(studio: Studio, home: Home) -> None:
    async with reading(studio, home) as (reader, _):
        spent = request(seed=3).model_copy(update={"budget": Budget(pictures=16, tokens=900)})
        result = await refine(spent, reader, home)
    assert result.status == "budget" and 1 <= result.pictures < 16
    assert result.spent.tokens >= 900


async def test_roles_may_have_minds_of_their_own(studio: Studio, home: Home) -> None:
    async with reading(studio, home) as (reader, endpoint):
        own = replace(reader, mind=studio.mind, minds={"rate": reader.mind})
        result = await refine(request(), own, home)
    shapes = {body["response_format"]["json_schema"]["name"] for body in endpoint.asked}
    assert shapes == {"SaidRating"} and len(endpoint.asked) <= result.pictures

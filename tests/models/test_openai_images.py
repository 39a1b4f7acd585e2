"""Pictures painted behind real HTTP, and every way in which they may not come."""

import asyncio
import base64
import json
import struct
import zlib
from io import BytesIO
from typing import Any

import pytest
from PIL import Image
from pydantic import ValidationError

from memory.artifacts import Artifacts
from models.artifact import ArtifactRef
from models.backends import name_backends
from models.cards import Backend, ImagesCard, backend_of
from models.executor import LocalExecutor
from models.generate_image import GenerateImage
from models.openai_images import Endpoint, load_endpoint, paint_remotely
from models.picture_request import GenerateRequest
from models.tool import Progress, ToolContext, ToolError, ToolUnavailable
from tests.models.images_server import Asked, Sent, Studio, error, picture, serving, stream


def card(url: str, **changes: Any) -> Backend:
    parts: dict[str, Any] = {"kind": "openai-images", "base_url": url, "retries": 1, "timeout": 5}
    return backend_of("studio", ImagesCard(**parts | changes))


def open_endpoint(url: str, **changes: Any) -> Endpoint:
    backend = card(url, **changes)
    assert backend.endpoint is not None
    return load_endpoint(backend, backend.endpoint)


def ask(prompt: str = "a red cube", **changes: Any) -> GenerateRequest:
    return GenerateRequest(**{"prompt": prompt, "backend": "studio", "seed": 7} | changes)


def paint(
    endpoint: Endpoint, artifacts: Artifacts, *requests: GenerateRequest, report: Any = lambda p: None
) -> list[ArtifactRef]:
    context = ToolContext(artifacts, report, lambda: None)
    return [result.picture for result in paint_remotely(endpoint, requests, context)]


def test_a_generation_is_stored_with_its_provenance(artifacts: Artifacts) -> None:
    with serving(Studio(lambda asked: picture("blue"))) as studio:
        [ref] = paint(open_endpoint(studio.url), artifacts, ask(width=1024, height=1536))
    assert artifacts.load_image(ref).getpixel((3, 3)) == (0, 0, 255) and ref.seed == 7
    [asked] = studio.asked
    assert asked == {
        "path": "/v1/images/generations",
        "model": "gpt-image-1",
        "prompt": "a red cube",
        "n": 1,
        "size": "1024x1536",
    }
    written = json.dumps(artifacts.sidecar(ref))
    assert '"seed_decides_pixels": false' in written and studio.url in written


def test_other_models_are_asked_for_bytes_and_seeds_if_they_take_them(artifacts: Artifacts) -> None:
    with serving(Studio(lambda asked: picture(kind="JPEG"))) as studio:
        endpoint = open_endpoint(studio.url, model="sdxl", seeds=True, quality="high", width=512, height=512)
        paint(endpoint, artifacts, ask())
    [asked] = studio.asked
    wanted = {"response_format": "b64_json", "seed": 7, "quality": "high", "size": "512x512"}
    assert wanted.items() <= asked.items()
    assert card("http://h/v1", seeds=True).supports == ("size", "edit", "seed")


def test_an_edit_sends_the_picture(artifacts: Artifacts) -> None:

    ref = artifacts.save_image(Image.new("RGB", (16, 16), "green"), seed=None, provenance={})
    with serving(Studio(lambda asked: picture("red"))) as studio:
        endpoint = open_endpoint(studio.url)
        [edited] = paint(endpoint, artifacts, ask("make it red", edit_of=ref))
        with pytest.raises(ToolError, match="no picture is stored under 000"):
            paint(endpoint, artifacts, ask(edit_of=ArtifactRef(sha256="0" * 64)))
    [asked] = studio.asked
    assert (asked["path"], asked["prompt"]) == ("/v1/images/edits", "make it red")
    assert asked["image"].startswith(b"\x89PNG") and edited != ref
    assert ref.sha256 in json.dumps(artifacts.sidecar(edited))


@pytest.mark.parametrize("edit", [False, True])
def test_streamed_sketches_are_progress(artifacts: Artifacts, edit: bool) -> None:

    ref = artifacts.save_image(Image.new("RGB", (16, 16), "green"), seed=None, provenance={})
    kind = "image_edit" if edit else "image_generation"
    reports: list[Progress] = []
    with serving(Studio(lambda asked: stream(kind, "black", "grey", "white"))) as studio:
        endpoint = open_endpoint(studio.url, partial_images=2)
        [painted] = paint(endpoint, artifacts, ask(edit_of=ref if edit else None), report=reports.append)
    assert artifacts.load_image(painted).getpixel((0, 0)) == (255, 255, 255)
    assert [(r.done, r.total, r.unit) for r in reports] == [
        (1, 3, "sketch"),
        (2, 3, "sketch"),
        (1, 1, "picture"),
    ]


def test_sketches_that_a_request_asks_for_are_shown(artifacts: Artifacts) -> None:
    reports: list[Progress] = []
    with serving(Studio(lambda asked: stream("image_generation", "black", "white"))) as studio:
        endpoint = open_endpoint(studio.url)
        paint(endpoint, artifacts, ask(sketches=1), report=reports.append)
        with pytest.raises(ToolError, match="sends at most 3 sketches, not 4"):
            paint(endpoint, artifacts, ask(sketches=4))
    [sketch] = [sketch for report in reports for sketch in report.sketches]
    assert Image.open(BytesIO(sketch.png)).getpixel((0, 0)) == (0, 0, 0) and sketch.step == 1
    assert studio.asked[0]["partial_images"] == 1


def test_pictures_are_painted_side_by_side_and_come_in_order(artifacts: Artifacts) -> None:
    def reply(asked: Asked) -> Sent:
        return Sent(picture(asked["prompt"]).body, seconds=0.2 if asked["prompt"] == "red" else 0.05)

    colours = ["red", "lime", "blue", "white", "black", "red", "lime", "blue"]
    with serving(Studio(reply)) as studio:
        refs = paint(open_endpoint(studio.url, concurrency=3), artifacts, *map(ask, colours))
    seen = [artifacts.load_image(ref).getpixel((0, 0)) for ref in refs]
    assert seen[:5] == [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)]
    assert studio.busiest == 3


def bomb() -> str:
    """A PNG of a few bytes that promises 30,000 x 30,000 pixels."""
    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    data = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return base64.b64encode(data).decode()


def holding(b64: str) -> Sent:
    return Sent(json.dumps({"data": [{"b64_json": b64}]}).encode())


@pytest.mark.parametrize(
    ("sent", "words", "requests"),
    [
        (
            error(400, "blocked", "moderation_blocked"),
            "refuses 'a red cube': .*blocked. Say it in other words",
            1,
        ),
        (error(400, "size 1x1 is unknown"), "does not take the request: .*size 1x1 is unknown", 1),
        (error(401, "bad key"), "denies access .*check OPENAI_API_KEY", 1),
        (error(429, "slow down", retry_after_ms="10"), "is busy .*slow down.*lower its concurrency", 2),
        (error(500, "oh no"), "failed: .*oh no", 2),
        (Sent(b"<html></html>", headers={"content-type": "text/html"}), "text/html that is no picture", 1),
        (Sent(b'{"data": ['), "is no picture, starting", 1),
        (Sent(b'{"data": []}'), "sent no picture", 1),
        (Sent(b'{"data": [{"url": "http://127.0.0.1/x.png"}]}'), "links are not followed", 1),
        (holding("@@@"), "no whole picture", 1),
        (holding(base64.b64encode(b"GIF89a").decode()), "no whole picture", 1),
        (holding(picture().body.decode()[40:80]), "no whole picture", 1),
        (holding(bomb()), "30000x30000 pixels|no whole picture", 1),
        (Sent(b"", cut=True), "cannot be reached", 2),
        (Sent(picture().body, seconds=1.5), "no picture in 0.5 s", 2),
    ],
    ids=lambda value: value[:24] if isinstance(value, str) else "",
)
def test_every_fault_has_a_way_out(artifacts: Artifacts, sent: Sent, words: str, requests: int) -> None:
    with serving(Studio(lambda asked: sent)) as studio:
        with pytest.raises(ToolError, match=words) as caught:
            paint(open_endpoint(studio.url, timeout=0.5), artifacts, ask())
        assert len(studio.asked) == requests
    assert str(caught.value).startswith(f"studio (gpt-image-1 at {studio.url})")


def test_a_stream_that_ends_early_is_an_error(artifacts: Artifacts) -> None:
    cut = Sent(stream("image_generation", "black", "white").body.split(b"\n\n")[0] + b"\n\n")
    cut = Sent(cut.body, headers={"content-type": "text/event-stream"})
    with serving(Studio(lambda asked: cut)) as studio, pytest.raises(ToolError, match="without a picture"):
        paint(open_endpoint(studio.url, partial_images=1), artifacts, ask())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"steps": 5}, "takes no steps, so it cannot use 5"),
        ({"guidance": 2.0}, "takes no guidance"),
        ({"negative_prompt": "x"}, "takes no negative_prompt"),
        ({"width": 512}, "give both, or neither"),
    ],
)
def test_what_an_endpoint_would_ignore_is_refused(
    artifacts: Artifacts, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(ToolError, match=words):
        paint(open_endpoint("http://127.0.0.1:9/v1"), artifacts, ask(**changes))


def test_openai_itself_needs_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ToolError, match="studio needs a key: set OPENAI_API_KEY"):
        open_endpoint("https://api.openai.com/v1")
    with pytest.raises(ValidationError, match="api_key"):
        ImagesCard.model_validate({"kind": "openai-images", "api_key": "sk-in-a-file"})


async def test_what_was_painted_beside_a_failure_is_not_painted_again(
    artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reply(asked: Asked) -> Sent:
        return error(400, "no cones") if asked["prompt"] == "cone" else picture("red")

    with serving(Studio(reply)) as studio:
        name_backends({"studio": card(studio.url)})
        try:
            async with LocalExecutor([GenerateImage()], artifacts, devices=("cpu",)) as executor:
                asked = [ask(prompt) for prompt in ("cube", "cone", "torus", "ball")]
                painted = await asyncio.gather(
                    *(executor.submit("generate_image", request) for request in asked), return_exceptions=True
                )
        finally:
            name_backends({})
    assert [isinstance(result, ToolError) for result in painted] == [False, True, False, False]
    prompts = [asked["prompt"] for asked in studio.asked]
    assert sorted(set(prompts)) == ["ball", "cone", "cube", "torus"]
    assert all(prompts.count(prompt) == 1 for prompt in ("ball", "cube", "torus"))


def test_what_passes_is_told_apart_from_what_does_not(artifacts: Artifacts) -> None:
    for sent, kind in ((error(503, "busy"), ToolUnavailable), (error(400, "bad"), ToolError)):
        with serving(Studio(lambda asked, sent=sent: sent)) as studio, pytest.raises(ToolError) as caught:
            paint(open_endpoint(studio.url, retries=0), artifacts, ask())
        assert type(caught.value) is kind

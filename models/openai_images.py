"""Paints at an endpoint in the shape of OpenAI's Images API: generations, and edits of a stored picture.

Every way in which an endpoint can fail becomes a ToolError with the way out. Knows no pipelines.
"""

import base64
import binascii
import json
import os
import time
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

from PIL import Image
from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from models.cards import Backend, Images
from models.picture_request import GenerateRequest, GenerateResult
from models.tool import Progress, Sketch, ToolContext, ToolError, ToolUnavailable

MOST_SKETCHES = 3
"""Pictures on the way that the API sends."""
MOST_PIXELS = 64_000_000
"""A reply that promises more is refused before it is decoded."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A backend whose pictures are painted elsewhere."""

    backend: Backend
    card: Images
    key: str
    finished: dict[GenerateRequest, GenerateResult] = field(
        default_factory=dict[GenerateRequest, GenerateResult]
    )
    """Pictures of batches in which another one failed, until they are asked for again."""


class _Reply(BaseModel):
    """What is read of a generation, of an edit, and of the last event of a stream."""

    model_config = ConfigDict(extra="ignore")

    class Picture(BaseModel):
        """One picture, as base64; `url` is set by servers that only give links."""

        model_config = ConfigDict(extra="ignore")

        b64_json: str | None = None
        url: str | None = None

    data: list[Picture] = []


def load_endpoint(backend: Backend, card: Images) -> Endpoint:
    """The endpoint with its key; nothing is sent yet.

    Raises:
        ToolError: its key is not set.
    """
    key = os.environ.get(card.api_key_env)
    if not key and card.base_url == Images().base_url:
        raise ToolError(f"{backend.name} needs a key: set {card.api_key_env}")
    return Endpoint(backend, card, key or "none")


def paint_remotely(
    endpoint: Endpoint, requests: Sequence[GenerateRequest], context: ToolContext
) -> list[GenerateResult]:
    """One picture per request, several under way at the same time.

    Raises:
        ToolError: a setting does not suit the endpoint, or it gave no picture.
    """
    for request in requests:
        _check(endpoint, request)
    with _connect(endpoint) as client, ThreadPoolExecutor(endpoint.card.concurrency) as pool:
        under_way = [pool.submit(_paint_one, endpoint, client, request, context) for request in requests]
        try:
            for number, painted in enumerate(under_way, start=1):
                wait([painted])
                context.report(Progress(done=number, total=len(requests), unit="picture"))
                context.check_cancelled()
        finally:
            for waiting in under_way:
                waiting.cancel()
    failed = [painted for painted in under_way if painted.exception() is not None]
    if failed:
        # The others were paid for. An executor that now asks for each alone gets them from here.
        for request, painted in zip(requests, under_way, strict=True):
            if painted not in failed:
                endpoint.finished[request] = painted.result()
    return [painted.result() for painted in under_way]


def _connect(endpoint: Endpoint) -> Any:
    """A client whose connections last as long as a batch."""
    import openai

    card = endpoint.card
    return openai.OpenAI(
        base_url=card.base_url, api_key=endpoint.key, timeout=card.timeout, max_retries=card.retries
    )


def _check(endpoint: Endpoint, request: GenerateRequest) -> None:
    """Refuse what the endpoint would ignore."""
    name = endpoint.backend.name
    for setting in ("steps", "guidance", "negative_prompt", "strength"):
        if (value := getattr(request, setting)) is not None:
            raise ToolError(f"{name} takes no {setting}, so it cannot use {value!r}: leave it out")
    if (request.width is None) != (request.height is None):
        raise ToolError(f"{name} takes a width with a height: give both, or neither")


def _paint_one(
    endpoint: Endpoint, client: Any, request: GenerateRequest, context: ToolContext
) -> GenerateResult:
    if (finished := endpoint.finished.pop(request, None)) is not None:
        return finished
    context.check_cancelled()
    began = time.perf_counter()
    picture = _decode(endpoint, _ask(endpoint, client, request, context))
    ref = context.artifacts.save_image(
        picture, seed=request.seed, provenance=_provenance(endpoint, request, picture)
    )
    return GenerateResult(picture=ref, seconds=time.perf_counter() - began)


def _ask(endpoint: Endpoint, client: Any, request: GenerateRequest, context: ToolContext) -> str:
    """The picture in base64, as the endpoint sent it."""
    import openai

    images, card = client.images, endpoint.card
    arguments: dict[str, Any] = {"model": card.model, "prompt": request.prompt, "n": 1}
    if size := _size(endpoint, request):
        arguments["size"] = size
    if card.quality:
        arguments["quality"] = card.quality
    if sketches := _sketches(endpoint, request):
        arguments |= {"stream": True, "partial_images": sketches}
    if card.seeds:
        arguments["extra_body"] = {"seed": request.seed}
    if not card.model.startswith("gpt-image"):
        arguments["response_format"] = "b64_json"  # gpt-image gives nothing else and refuses the word
    paint = images.generate
    if request.edit_of is not None:
        paint, arguments["image"] = images.edit, _file(request, context)
    if not sketches:
        paint = getattr(images.with_raw_response, "edit" if request.edit_of else "generate")
    try:
        reply = paint(**arguments)
        if sketches:
            return _follow(endpoint, request, reply, sketches, context)
        return _read(endpoint, reply.http_response.content, reply.headers.get("content-type", ""))
    except openai.OpenAIError as error:
        raise _fault(endpoint, request, error) from error


def _size(endpoint: Endpoint, request: GenerateRequest) -> str | None:
    width = request.width or endpoint.backend.width
    height = request.height or endpoint.backend.height
    return f"{width}x{height}" if width and height else None


def _file(request: GenerateRequest, context: ToolContext) -> tuple[str, bytes, str]:
    assert request.edit_of is not None
    picture = context.load_picture(request.edit_of)
    buffer = BytesIO()
    picture.save(buffer, "PNG")
    return "picture.png", buffer.getvalue(), "image/png"


def _sketches(endpoint: Endpoint, request: GenerateRequest) -> int:
    """How many pictures on the way to ask for: the request's, else the card's."""
    wanted = request.sketches or endpoint.card.partial_images
    if wanted > MOST_SKETCHES:
        raise ToolError(
            f"{_place(endpoint)} sends at most {MOST_SKETCHES} sketches, not {wanted}: ask for fewer"
        )
    return wanted


def _follow(
    endpoint: Endpoint, request: GenerateRequest, stream: Iterator[Any], sketches: int, context: ToolContext
) -> str:
    """The last picture of a stream; each on the way is progress.

    Raises:
        ToolError: the stream ended without a finished picture.
    """
    for event in stream:
        context.check_cancelled()
        kind = getattr(event, "type", "")
        if kind.endswith("partial_image"):
            done = min(getattr(event, "partial_image_index", 0) + 1, sketches)
            shown = _sketch(endpoint, request, done, event.b64_json) if request.sketches else ()
            context.report(Progress(done=done, total=sketches + 1, unit="sketch", sketches=shown))
        elif kind.endswith("completed"):
            return event.b64_json
    raise ToolError(f"{_place(endpoint)} ended its stream without a picture: set partial_images to 0")


def _read(endpoint: Endpoint, body: bytes, content_type: str) -> str:
    try:
        reply = _Reply.model_validate(json.loads(body))
    except (ValidationError, ValueError, RecursionError) as error:
        start = body[:60].decode("utf-8", "replace")
        raise ToolError(
            f"{_place(endpoint)} sent {content_type or 'something'} that is no picture, starting {start!r}: "
            "does its base URL end in /v1?"
        ) from error
    if not reply.data:
        raise ToolError(f"{_place(endpoint)} sent no picture: try again, or say the prompt in another way")
    if reply.data[0].b64_json is None:
        raise ToolError(f"{_place(endpoint)} sent a link instead of a picture; links are not followed")
    return reply.data[0].b64_json


def _sketch(endpoint: Endpoint, request: GenerateRequest, number: int, encoded: str) -> tuple[Sketch]:
    buffer = BytesIO()
    _decode(endpoint, encoded).save(buffer, "PNG")
    return (Sketch(prompt=request.prompt, seed=request.seed, step=number, png=buffer.getvalue()),)


def _decode(endpoint: Endpoint, encoded: str) -> Image.Image:
    """The picture in RGB.

    Raises:
        ToolError: it is no picture, or promises more than MOST_PIXELS.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the size is checked below
            picture = Image.open(
                BytesIO(base64.b64decode(encoded, validate=True)), formats=("PNG", "JPEG", "WEBP")
            )
            if picture.width * picture.height > MOST_PIXELS:
                raise ToolError(
                    f"{_place(endpoint)} sent a picture of {picture.width}x{picture.height} pixels, and at "
                    f"most {MOST_PIXELS:,} are taken"
                )
            return picture.convert("RGB")
    except (binascii.Error, OSError, ValueError, Image.DecompressionBombError) as error:
        raise ToolError(f"{_place(endpoint)} sent what is no whole picture: {error}") from error


def _fault(endpoint: Endpoint, request: GenerateRequest, error: Exception) -> ToolError:
    """What the SDK raised, after its own retries, with the way out."""
    import openai

    place, card = _place(endpoint), endpoint.card
    match error:
        case openai.APITimeoutError():
            return ToolUnavailable(f"{place} gave no picture in {card.timeout:g} s: raise its timeout")
        case openai.APIConnectionError():
            return ToolUnavailable(f"{place} cannot be reached ({error.__cause__ or error}): is it running?")
        case openai.RateLimitError():
            return ToolUnavailable(f"{place} is busy ({error.message}): lower its concurrency")
        case openai.AuthenticationError() | openai.PermissionDeniedError():
            return ToolError(f"{place} denies access ({error.message}): check {card.api_key_env}")
        case openai.BadRequestError() if "moderation" in str(error.body) or "safety" in str(error.body):
            return ToolError(
                f"{place} refuses {request.prompt[:60]!r}: {error.message}. Say it in other words"
            )
        case openai.InternalServerError():
            return ToolUnavailable(f"{place} failed: {error.message}")
        case openai.APIStatusError():
            return ToolError(f"{place} does not take the request: {error.message}")
        case _:
            return ToolError(f"{place} gave a reply that cannot be read: {error}")


def _place(endpoint: Endpoint) -> str:
    return f"{endpoint.backend.name} ({endpoint.card.model} at {endpoint.card.base_url})"


def _provenance(endpoint: Endpoint, request: GenerateRequest, picture: Image.Image) -> dict[str, JsonValue]:
    return {
        "tool": "generate_image",
        "prompt": request.prompt,
        "seed": request.seed,
        "seed_decides_pixels": endpoint.card.seeds,
        "backend": endpoint.backend.name,
        "endpoint": endpoint.card.base_url,
        "model": endpoint.card.model,
        "edit_of": request.edit_of.sha256 if request.edit_of else None,
        "width": picture.width,
        "height": picture.height,
    }

"""The tool that paints: a prompt and a seed in, a stored picture out, on any backend.

Does not know how pipelines or endpoints paint, who asks, nor what the picture is for.
"""

import time
from collections.abc import Hashable, Sequence

from models.backends import memory_bytes, resolve
from models.openai_images import Endpoint, load_endpoint, paint_remotely
from models.painting import ROWS, Painter, batching, paint, provenance, settle
from models.picture_request import GenerateRequest, GenerateResult
from models.pipelines import load_pipeline
from models.threads import fixed_threads
from models.tool import Tool, ToolContext


class GenerateImage(Tool[GenerateRequest, GenerateResult, Painter | Endpoint]):
    """Paints pictures with any backend."""

    name = "generate_image"
    summary = "Paint a picture from a prompt and a seed."
    request_type = GenerateRequest
    result_type = GenerateResult
    max_batch = ROWS

    def model_key(self, request: GenerateRequest) -> str:
        """The backend's name.

        Raises:
            UnknownBackend: it names none.
        """
        return resolve(request.backend).name

    def batch_key(self, request: GenerateRequest) -> Hashable:
        """All that is asked but the prompt, the seed and the picture to edit, only whether there is one; with
        them where nothing is batched.

        A batch of pictures that are painted one at a time would only hold the finished ones back.
        """
        own = {"prompt", "seed", "edit_of"}
        alone = resolve(request.backend).kind == "diffusers"
        return request.model_dump_json(exclude=None if alone else own), request.edit_of is not None

    def memory_bytes(self, model_key: str) -> int:
        """What the backend's weights take, in bytes."""
        return memory_bytes(resolve(model_key))

    def load(self, model_key: str, device: str) -> Painter | Endpoint:
        """Load the backend's pipeline, or open its endpoint."""
        backend = resolve(model_key)
        if backend.endpoint is not None:
            return load_endpoint(backend, backend.endpoint)
        pipeline = load_pipeline(backend, device)
        painter = Painter(backend, pipeline)
        if backend.kind != "embedded":
            return painter
        with fixed_threads(backend.threads):
            return batching(painter)

    def run(
        self, model: Painter | Endpoint, requests: Sequence[GenerateRequest], context: ToolContext
    ) -> list[GenerateResult]:
        """One picture per request: one after another on a device, side by side at an endpoint.

        Raises:
            ToolError: a prompt is too long or has words that the backend does not know, a setting does not
                suit the backend, or a picture came out as NaN.
        """
        if isinstance(model, Endpoint):
            return paint_remotely(model, requests, context)
        settled = [settle(model, request) for request in requests]
        results: list[GenerateResult] = []
        with fixed_threads(model.backend.threads):
            for start in range(0, len(requests), model.rows):
                part = requests[start : start + model.rows]
                began = time.perf_counter()
                pictures = paint(model, part, settled[start], context, done=start, total=len(requests))
                refs = [
                    context.artifacts.save_image(
                        picture,
                        seed=request.seed,
                        provenance=provenance(model, request, settled[start], picture),
                    )
                    for request, picture in zip(part, pictures, strict=True)
                ]
                seconds = (time.perf_counter() - began) / len(part)
                results += [GenerateResult(picture=ref, seconds=seconds) for ref in refs]
        return results

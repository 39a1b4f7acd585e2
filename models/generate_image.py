"""The tool that paints: a prompt and a seed in, a stored picture out, on any backend.

A picture's pixels depend on its own request alone. Kernels choose their order of additions by the shape of
the whole batch, so a row of a larger batch may differ in its low bits from the same row alone (measured on a
CPU: 1e-6 after four steps of a tiny Flux, enough to change bytes of a PNG). Intel's MKL adds in one fixed
    order when `MKL_CBWR=AUTO,STRICT` is set before torch is loaded, which `app.py` does; then, with the
    autoencoder decoding row by row, batches of the small embedded painter are exact, and 1.4 times as fast as
    lone pictures. Whether they really are is tried out when it is loaded; where they are not, and for every
    other backend, pictures are painted one at a time, which is exact on any device by construction and costs
    a full-size model next to nothing.

Does not know who asks, nor what the picture is for.
"""

import inspect
import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from models.artifact import ArtifactRef
from models.backends import Backend, load_pipeline, resolve
from models.prompt_length import check_prompt, text_tokenizer
from models.threads import fixed_threads
from models.tool import Progress, Tool, ToolContext, ToolError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

ROWS = 8
"""Pictures per batch; more rows were no faster per picture on a CPU."""


class GenerateRequest(BaseModel):
    """One picture to paint. None takes the backend's own setting."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: str = Field(min_length=1, description="What the picture shows.")
    backend: str = Field(
        default="embedded",
        description="A backend's name, the folder of a saved pipeline, or owner/name on the hub.",
    )
    seed: int = Field(ge=0, lt=2**32, description="Decides the noise that the picture starts from.")
    steps: int | None = Field(default=None, ge=1, le=200, description="Denoising steps.")
    guidance: float | None = Field(
        default=None, ge=0, allow_inf_nan=False, description="Guidance scale; 1 and less switch guidance off."
    )
    width: int | None = Field(default=None, ge=8, le=4096, description="Pixels.")
    height: int | None = Field(default=None, ge=8, le=4096, description="Pixels.")


class GenerateResult(BaseModel):
    """A painted picture."""

    model_config = ConfigDict(frozen=True)

    picture: ArtifactRef
    seconds: float = Field(ge=0, description="Wall time that painting and storing took, in seconds.")


@dataclass(frozen=True, slots=True)
class Painter:
    """A loaded backend."""

    backend: Backend
    pipeline: Any
    rows: int = 1
    """How many pictures may be painted in one batch without changing each other's pixels."""

    def takes(self, parameter: str) -> bool:
        """Whether the pipeline's `__call__` has this parameter."""
        return parameter in inspect.signature(self.pipeline.__call__).parameters

    def default(self, parameter: str) -> Any:
        """The pipeline's own default for a parameter."""
        return inspect.signature(self.pipeline.__call__).parameters[parameter].default

    @property
    def guidance_parameter(self) -> str | None:
        """How this pipeline is guided. Flux takes true guidance unless it was distilled in."""
        transformer: Any = self.pipeline.components.get("transformer")
        embedded = transformer is not None and transformer.config.get("guidance_embeds", False)
        if self.takes("true_cfg_scale") and not embedded:
            return "true_cfg_scale"
        return "guidance_scale" if self.takes("guidance_scale") else None


@dataclass(frozen=True, slots=True)
class _Settings:
    """A request with nothing left open. Width and height in pixels; None where only the pipeline knows."""

    steps: int
    guidance: float
    width: int | None
    height: int | None


class GenerateImage(Tool[GenerateRequest, GenerateResult, Painter]):
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
        """(backend, steps, guidance, width, height), as asked; with the prompt and seed where nothing is
        batched.

        A batch of pictures that are painted one at a time would only hold the finished ones back.
        """
        key = request.backend, request.steps, request.guidance, request.width, request.height
        return key if resolve(request.backend).kind == "embedded" else (*key, request.prompt, request.seed)

    def memory_bytes(self, model_key: str) -> int:
        """What the backend's weights take, in bytes."""
        return resolve(model_key).memory_bytes()

    def load(self, model_key: str, device: str) -> Painter:
        """Load the backend's pipeline."""
        backend = resolve(model_key)
        pipeline = load_pipeline(backend, device)
        painter = Painter(backend, pipeline)
        if backend.kind != "embedded":
            return painter
        with fixed_threads(backend.threads):
            return _batching(painter)

    def run(
        self, model: Painter, requests: Sequence[GenerateRequest], context: ToolContext
    ) -> list[GenerateResult]:
        """Paint the requests one after another.

        Raises:
            ToolError: a prompt is too long or has words that the backend does not know, a setting does not
            suit the
                backend, or a picture came out as NaN.
        """
        settled = [_settle(model, request) for request in requests]
        results: list[GenerateResult] = []
        with fixed_threads(model.backend.threads):
            for start in range(0, len(requests), model.rows):
                part = requests[start : start + model.rows]
                began = time.perf_counter()
                pictures = _paint(model, part, settled[start], context, done=start, total=len(requests))
                refs = [
                    context.artifacts.save_image(
                        picture,
                        seed=request.seed,
                        provenance=_provenance(model, request, settled[start], picture),
                    )
                    for request, picture in zip(part, pictures, strict=True)
                ]
                seconds = (time.perf_counter() - began) / len(part)
                results += [GenerateResult(picture=ref, seconds=seconds) for ref in refs]
        return results


def _settle(painter: Painter, request: GenerateRequest) -> _Settings:
    """Fill in what the request leaves open, and refuse what the backend cannot do."""
    backend, parameter = painter.backend, painter.guidance_parameter
    check_prompt(backend, painter.pipeline, request.prompt)
    if request.guidance is not None and parameter is None:
        raise ToolError(
            f"{backend.name} has no guidance, so it cannot use guidance={request.guidance}: leave it out"
        )
    guidance = request.guidance if request.guidance is not None else backend.guidance
    if guidance is None:
        guidance = painter.default(parameter) if parameter else 0.0
    width, height = request.width or backend.width, request.height or backend.height
    if backend.fixed_size and (width, height) != (backend.width, backend.height):
        raise ToolError(
            f"{backend.name} paints {backend.width}x{backend.height} pixels only, not {width}x{height}: "
            "leave width and height out"
        )
    multiple = painter.pipeline.image_processor.config.vae_scale_factor
    for side in (width, height):
        if side is not None and side % multiple:
            raise ToolError(
                f"{backend.name} paints sides that are multiples of {multiple} pixels, not {side}"
            )
    steps = request.steps or backend.steps or painter.default("num_inference_steps")
    return _Settings(steps=steps, guidance=guidance, width=width, height=height)


def _paint(
    painter: Painter,
    requests: Sequence[GenerateRequest],
    settings: _Settings,
    context: ToolContext,
    *,
    done: int,
    total: int,
) -> "list[Image.Image]":
    """One picture per request, all in one batch."""
    import numpy as np
    import torch
    from PIL import Image

    def on_step_end(pipeline: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        context.check_cancelled()
        finite = torch.isfinite(tensors["latents"]).flatten(1).all(1).tolist()
        if not all(finite):
            raise _not_finite(
                painter, requests[finite.index(False)], f"after step {step + 1} of {settings.steps}"
            )
        steps_done = done * settings.steps + (step + 1) * len(requests)
        message = f"picture {done + len(requests)} of {total}"
        context.report(Progress(done=steps_done, total=total * settings.steps, message=message))
        return {}

    context.check_cancelled()
    prompts, seeds = [request.prompt for request in requests], [request.seed for request in requests]
    pictures: list[Image.Image] = []
    for request, pixels in zip(
        requests, _pixels(painter, prompts, seeds, settings, on_step_end), strict=True
    ):
        if not np.isfinite(pixels).all():
            raise _not_finite(painter, request, "in decoding")
        pictures.append(Image.fromarray((pixels * 255).round().astype(np.uint8)))
    return pictures


def _pixels(
    painter: Painter, prompts: list[str], seeds: list[int], settings: _Settings, on_step_end: Any = None
) -> "NDArray[np.float32]":
    """(N, height, width, 3) in 0..1."""
    import torch

    arguments = _guidance(painter, settings.guidance, len(prompts))
    if painter.takes("max_sequence_length"):
        # Flux has no text mask: it must see the padded length that it was trained with.
        arguments["max_sequence_length"] = text_tokenizer(painter.backend, painter.pipeline)[1]
    return painter.pipeline(
        prompt=prompts,
        width=settings.width,
        height=settings.height,
        num_inference_steps=settings.steps,
        generator=[
            torch.Generator("cpu").manual_seed(seed) for seed in seeds
        ],  # the same noise on every device
        output_type="np",
        callback_on_step_end=on_step_end,
        **arguments,
    ).images


def _batching(painter: Painter) -> Painter:
    """The painter with batches of ROWS, if on this machine a picture does not depend on its batch mates."""
    from models.steady_rows import steady_rows

    painter.pipeline.vae.enable_slicing()
    steady_rows(painter.pipeline.transformer, ROWS)
    return replace(painter, rows=ROWS if _rows_agree(painter) else 1)


def _rows_agree(painter: Painter) -> bool:
    """Whether a batch gives each row the very pixels that it has alone, tried out with two steps of ROWS
    rows.
    """
    import numpy as np
    import torch

    settings = _Settings(steps=2, guidance=2.0, width=painter.backend.width, height=painter.backend.height)
    words: list[str] = sorted(text_tokenizer(painter.backend, painter.pipeline)[0].get_vocab())
    prompts, seeds = words[-ROWS:], list(range(ROWS))
    with torch.inference_mode():
        together = _pixels(painter, prompts, seeds, settings)
        return all(
            np.array_equal(
                together[row], _pixels(painter, prompts[row : row + 1], seeds[row : row + 1], settings)[0]
            )
            for row in (0, ROWS // 2, ROWS - 1)
        )


def _guidance(painter: Painter, scale: float, rows: int) -> dict[str, Any]:
    if painter.guidance_parameter == "true_cfg_scale":
        return (
            {"true_cfg_scale": scale, "negative_prompt": [""] * rows}
            if scale > 1
            else {"true_cfg_scale": 1.0}
        )
    return {painter.guidance_parameter: scale} if painter.guidance_parameter else {}


def _not_finite(painter: Painter, request: GenerateRequest, where: str) -> ToolError:
    return ToolError(
        f"{painter.backend.name} gave NaN or infinite values {where} for seed {request.seed} and prompt "
        f"{request.prompt!r}: try another seed, or less guidance"
    )


def _provenance(
    painter: Painter, request: GenerateRequest, settings: _Settings, picture: "Image.Image"
) -> dict[str, JsonValue]:
    import torch

    return {
        "tool": GenerateImage.name,
        "prompt": request.prompt,
        "seed": request.seed,
        "backend": painter.backend.name,
        "steps": settings.steps,
        "guidance": settings.guidance,
        "width": picture.width,
        "height": picture.height,
        "device": painter.pipeline.device.type,
        "threads": torch.get_num_threads(),
        "versions": {library: version(library) for library in ("torch", "diffusers", "transformers")},
    }

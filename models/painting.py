"""Paints with a diffusers pipeline: settles what a request leaves open, runs the steps, checks the pixels.

A picture's pixels depend on its own request alone. Kernels choose their order of additions by the shape of
the whole batch, so a row of a larger batch may differ in its low bits from the same row alone (measured on a
CPU: 1e-6 after four steps of a tiny Flux, enough to change bytes of a PNG). Intel's MKL adds in one fixed
order when `MKL_CBWR=AUTO,STRICT` is set before torch is loaded, which `app.py` does; then, with the
autoencoder decoding row by row, batches of the small embedded painter are exact, and 1.4 times as fast as
lone pictures. Whether they really are is tried out when it is loaded; where they are not, and for every
other backend, pictures are painted one at a time, which is exact on any device by construction and costs
a full-size model next to nothing.

Families differ in their calls: `_arguments` knows how. Does not know who asks, nor what the picture is for.
"""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from pydantic import JsonValue

from models.cards import Backend
from models.editing import image_to_image, load_pictures, made_steps, settle_strength
from models.picture_request import GenerateRequest
from models.prompt_length import check_prompt, read_length, text_tokenizer
from models.sketches import ColourMap, Sketcher, due_steps
from models.tool import Progress, ToolContext, ToolError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

ROWS = 8
"""Pictures per batch; more rows were no faster per picture on a CPU."""


@dataclass(frozen=True, slots=True)
class Painter:
    """A loaded backend."""

    backend: Backend
    pipeline: Any
    rows: int = 1
    """How many pictures may be painted in one batch without changing each other's pixels."""
    colours: ColourMap = field(default_factory=ColourMap)
    """Of its latents, learnt as pictures with sketches are painted."""

    def takes(self, parameter: str) -> bool:
        """Whether the pipeline's `__call__` has this parameter."""
        return parameter in inspect.signature(self.pipeline.__call__).parameters

    def default(self, parameter: str) -> Any:
        """The pipeline's own default for a parameter."""
        return inspect.signature(self.pipeline.__call__).parameters[parameter].default

    @property
    def has_distilled_guidance(self) -> bool:
        """Whether the model takes guidance as a number that it was trained with."""
        transformer: Any = self.pipeline.components.get("transformer")
        return transformer is not None and bool(transformer.config.get("guidance_embeds", False))

    @property
    def guidance_parameter(self) -> str | None:
        """How this pipeline is guided. Flux takes true guidance unless it was distilled in."""
        if self.takes("true_cfg_scale") and not self.has_distilled_guidance:
            return "true_cfg_scale"
        return "guidance_scale" if self.takes("guidance_scale") else None


@dataclass(frozen=True, slots=True)
class Settled:
    """A request with nothing left open. Width and height in pixels; None where only the pipeline knows."""

    steps: int
    guidance: float
    width: int | None
    height: int | None
    negative_prompt: str = ""
    strength: float | None = None
    """How much of a picture is painted anew; None: all of it, from words alone."""

    @property
    def made(self) -> int:
        """How many steps are made: with a strength fewer than `steps`."""
        return made_steps(self.steps, self.strength)


def settle(painter: Painter, request: GenerateRequest) -> Settled:
    """Fill in what the request leaves open, and refuse what the backend cannot do.

    Raises:
        ToolError: a setting does not suit the backend, or the prompt does not.
    """
    backend, parameter = painter.backend, painter.guidance_parameter
    check_prompt(backend, painter.pipeline, request.prompt)
    if request.guidance is not None and parameter is None:
        raise ToolError(
            f"{backend.name} has no guidance, so it cannot use guidance={request.guidance}: leave it out"
        )
    guidance = request.guidance if request.guidance is not None else backend.guidance
    if guidance is None:
        guidance = painter.default(parameter) if parameter else 0.0
    negative_prompt = _settle_negative_prompt(painter, request, guidance)
    width, height = request.width or backend.width, request.height or backend.height
    if backend.fixed_size and (width, height) != (backend.width, backend.height):
        raise ToolError(
            f"{backend.name} paints {backend.width}x{backend.height} pixels only, not {width}x{height}: "
            "leave width and height out"
        )
    if (width is None) != (height is None):  # pipelines drop one that comes alone
        raise ToolError(f"{backend.name} takes a width with a height: give both, or neither")
    multiple = painter.pipeline.image_processor.config.vae_scale_factor
    for side in (width, height):
        if side is not None and side % multiple:
            raise ToolError(
                f"{backend.name} paints sides that are multiples of {multiple} pixels, not {side}"
            )
    steps = request.steps or backend.steps or painter.default("num_inference_steps")
    strength = settle_strength(backend, request, steps)
    return Settled(steps, guidance, width, height, negative_prompt, strength)


def _settle_negative_prompt(painter: Painter, request: GenerateRequest, guidance: float) -> str:
    """The negative prompt, if it can have an effect: without guidance there is none."""
    name = painter.backend.name
    wanted = request.negative_prompt or painter.backend.negative_prompt or ""
    if not wanted:
        return ""
    if not painter.takes("negative_prompt") or painter.has_distilled_guidance:
        raise ToolError(f"{name} takes no negative prompt: leave {wanted!r} out, or say it in the prompt")
    if guidance <= 1:
        raise ToolError(f"{name} hears a negative prompt only with a guidance above 1, not {guidance:g}")
    check_prompt(painter.backend, painter.pipeline, wanted)
    return wanted


def paint(
    painter: Painter,
    requests: Sequence[GenerateRequest],
    settled: Settled,
    context: ToolContext,
    *,
    done: int,
    total: int,
) -> "list[Image.Image]":
    """One picture per request, all in one batch."""
    import numpy as np
    import torch
    from PIL import Image

    if settled.strength is not None:
        painter = replace(painter, pipeline=image_to_image(painter.backend, painter.pipeline))
    changed = load_pictures(requests, (settled.width, settled.height), context)
    sketcher = _sketcher(painter, requests, settled)

    def on_step_end(pipeline: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        context.check_cancelled()
        finite = torch.isfinite(tensors["latents"]).flatten(1).all(1).tolist()
        if not all(finite):
            raise _not_finite(
                painter, requests[finite.index(False)], f"after step {step + 1} of {settled.made}"
            )
        # Schedulers of second order take more timesteps than steps.
        steps = max(settled.made, getattr(pipeline, "num_timesteps", None) or 0)
        steps_done = done * steps + (step + 1) * len(requests)
        message = f"picture {done + len(requests)} of {total}"
        sketches = sketcher.after(step + 1, tensors["latents"]) if sketcher else ()
        context.report(Progress(done=steps_done, total=total * steps, message=message, sketches=sketches))
        return {}

    context.check_cancelled()
    prompts, seeds = [request.prompt for request in requests], [request.seed for request in requests]
    pictures: list[Image.Image] = []
    painted = _pixels(painter, prompts, seeds, settled, on_step_end, changed)
    for request, pixels in zip(requests, painted, strict=True):
        if not np.isfinite(pixels).all():
            raise _not_finite(painter, request, "in decoding")
        pictures.append(Image.fromarray((pixels * 255).round().astype(np.uint8)))
    if sketcher:
        sketcher.learn(painted)
    return pictures


def _sketcher(painter: Painter, requests: Sequence[GenerateRequest], settled: Settled) -> Sketcher | None:
    """Who makes the sketches that were asked for, if any were."""
    wanted = requests[0].sketches  # equal in a batch
    if not wanted:
        return None
    return Sketcher(
        painter.pipeline,
        painter.colours,
        # Only the proportions count where the pipeline alone knows the size: those are square.
        (settled.width or 1, settled.height or 1),
        due_steps(wanted, settled.made),
        tuple((request.prompt, request.seed) for request in requests),
    )


def denoise(painter: Painter, prompts: list[str], seeds: list[int], settled: Settled) -> Any:
    """Latents as the pipeline leaves them; nothing is decoded.

    Raises:
        ToolError: the pipeline takes no such settings.
    """
    return _call(painter, prompts, seeds, settled, "latent").images


def _pixels(
    painter: Painter,
    prompts: list[str],
    seeds: list[int],
    settled: Settled,
    on_step_end: Any = None,
    changed: "list[Image.Image] | None" = None,
) -> "NDArray[np.float32]":
    """(N, height, width, 3) in 0..1; of the pictures that are `changed`, if any are.

    Raises:
        ToolError: the pipeline takes no such settings, or its safety checker blanked a picture.
    """
    output = _call(painter, prompts, seeds, settled, "np", on_step_end, changed)
    blanked = getattr(output, "nsfw_content_detected", None) or []
    for prompt, seed, wrong in zip(prompts, seeds, blanked, strict=False):
        if wrong:
            raise ToolError(
                f"the safety checker of {painter.backend.name} blanked the picture of {prompt!r} with seed "
                f"{seed}: try another seed, or other words"
            )
    return output.images


def _call(
    painter: Painter,
    prompts: list[str],
    seeds: list[int],
    settled: Settled,
    output_type: str,
    on_step_end: Any = None,
    changed: "list[Image.Image] | None" = None,
) -> Any:
    import torch

    size = {"width": settled.width, "height": settled.height}
    edit = {"image": changed, "strength": settled.strength} if changed else {}
    try:
        return painter.pipeline(
            prompt=prompts,
            num_inference_steps=settled.steps,
            # the same noise on every device
            generator=[torch.Generator("cpu").manual_seed(seed) for seed in seeds],
            output_type=output_type,
            **{name: pixels for name, pixels in size.items() if painter.takes(name)},
            **edit,
            **_arguments(painter, settled, len(prompts)),
            **_watch(painter, on_step_end),
        )
    except ValueError as error:
        raise ToolError(f"{painter.backend.name} does not take these settings: {error}") from error


def _arguments(painter: Painter, settled: Settled, rows: int) -> dict[str, Any]:
    """What a family wants beside the prompt, the size and the steps."""
    arguments: dict[str, Any] = {}
    scale, parameter = settled.guidance, painter.guidance_parameter
    if parameter == "true_cfg_scale":
        arguments["true_cfg_scale"] = scale if scale > 1 else 1.0
        if scale > 1:
            arguments["negative_prompt"] = [settled.negative_prompt] * rows
    elif parameter:
        arguments[parameter] = scale
        if settled.negative_prompt:
            arguments["negative_prompt"] = [settled.negative_prompt] * rows
    if painter.takes("max_sequence_length"):
        # Flux has no text mask: it must see the padded length that it was trained with.
        arguments["max_sequence_length"] = read_length(painter.backend, painter.pipeline)
    if painter.takes("use_resolution_binning"):
        arguments["use_resolution_binning"] = False  # it paints another size and scales the picture
    if painter.takes("clean_caption"):
        arguments["clean_caption"] = False  # it would change the words
    return arguments


def _watch(painter: Painter, on_step_end: Any) -> dict[str, Any]:
    """The callback in the form that the pipeline takes; PixArt's is the one of old."""
    if on_step_end is None:
        return {}
    if painter.takes("callback_on_step_end"):
        return {"callback_on_step_end": on_step_end}

    def callback(step: int, timestep: Any, latents: Any) -> None:
        on_step_end(painter.pipeline, step, timestep, {"latents": latents})

    return {"callback": callback, "callback_steps": 1}


def batching(painter: Painter) -> Painter:
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

    settled = Settled(steps=2, guidance=2.0, width=painter.backend.width, height=painter.backend.height)
    words: list[str] = sorted(text_tokenizer(painter.backend, painter.pipeline)[0].get_vocab())
    prompts, seeds = words[-ROWS:], list(range(ROWS))
    with torch.inference_mode():
        together = _pixels(painter, prompts, seeds, settled)
        return all(
            np.array_equal(
                together[row], _pixels(painter, prompts[row : row + 1], seeds[row : row + 1], settled)[0]
            )
            for row in (0, ROWS // 2, ROWS - 1)
        )


def _not_finite(painter: Painter, request: GenerateRequest, where: str) -> ToolError:
    return ToolError(
        f"{painter.backend.name} gave NaN or infinite values {where} for seed {request.seed} and prompt "
        f"{request.prompt!r}: try another seed, or less guidance"
    )


def provenance(
    painter: Painter, request: GenerateRequest, settled: Settled, picture: "Image.Image"
) -> dict[str, JsonValue]:
    """What is written beside a picture about how it was painted."""
    import torch

    return {
        "tool": "generate_image",
        "prompt": request.prompt,
        "seed": request.seed,
        "backend": painter.backend.name,
        **({"parent": painter.backend.parent} if painter.backend.parent else {}),
        **({"pruning": painter.backend.pruning} if painter.backend.pruning else {}),
        **({"edit_of": request.edit_of.sha256, "strength": settled.strength} if request.edit_of else {}),
        "steps": settled.steps,
        "guidance": settled.guidance,
        **({"negative_prompt": settled.negative_prompt} if settled.negative_prompt else {}),
        "width": picture.width,
        "height": picture.height,
        "device": painter.pipeline.device.type,
        "threads": torch.get_num_threads(),
        "versions": {library: version(library) for library in ("torch", "diffusers", "transformers")},
    }

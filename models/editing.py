"""Painting a picture anew in part: image to image (SDEdit, arXiv 2108.01073), by the pipeline that diffusers
has beside a backend's own.

The picture gets the noise of a step on the way, and the steps from there on are made. Weights are shared with
the backend's own pipeline; nothing is loaded. Does not know what is changed, nor why.
"""

import inspect
import math
from collections.abc import Sequence
from typing import Any

from PIL import Image

from models.cards import Backend
from models.picture_request import GenerateRequest
from models.tool import ToolContext, ToolError

STRENGTH = 0.6
"""Where a request leaves it open: enough for a thing to change, too little for it to move."""


def settle_strength(backend: Backend, request: GenerateRequest, steps: int) -> float | None:
    """How much of the picture is painted anew, as a share of whole steps; None where there is no picture to
    change.

    Raises:
        ToolError: so little is to change that no step would be made.
    """
    if request.edit_of is None:
        return None
    strength = request.strength or STRENGTH
    if not (made := round(steps * strength)):
        raise ToolError(
            f"{backend.name} would make none of its {steps} steps with strength={strength:g}: ask for more "
            "of either"
        )
    return _exactly(made, steps)


def made_steps(steps: int, strength: float | None) -> int:
    """How many of `steps` are made where a share of `strength`, as it was settled, is painted anew."""
    return steps if strength is None else round(steps * strength)


def _exactly(made: int, steps: int) -> float:
    """The strength that every family takes for so many steps: some round its product with the steps down, and
    some what is left of them.
    """
    near = made / steps
    exact = (s for s in (near, math.nextafter(near, 2), math.nextafter(near, 0)) if s * steps == made)
    return min(1.0, next(exact, near))


def image_to_image(backend: Backend, pipeline: Any) -> Any:
    """The pipeline that changes pictures, with the weights of `pipeline`.

    Raises:
        ToolError: diffusers has none for this family.
    """
    from diffusers.pipelines.auto_pipeline import AutoPipelineForImage2Image

    auto: Any = AutoPipelineForImage2Image
    refusal = f"{backend.name} paints from words alone and cannot edit a picture: leave edit_of out"
    try:
        editor = auto.from_pipe(pipeline)
    except (ValueError, TypeError) as error:
        raise ToolError(refusal) from error
    editor.set_progress_bar_config(disable=True)
    if "strength" not in inspect.signature(editor.__call__).parameters:
        raise ToolError(refusal)
    return editor


def load_pictures(
    requests: Sequence[GenerateRequest], size: tuple[int | None, int | None], context: ToolContext
) -> list[Image.Image] | None:
    """The pictures to change, in `size` where it is settled; None where there are none.

    Raises:
        ToolError: a picture is not in the store.
    """
    pictures: list[Image.Image] = []
    for request in requests:
        if request.edit_of is None:
            return None
        picture = context.load_picture(request.edit_of)
        wanted = (size[0] or picture.width, size[1] or picture.height)
        pictures.append(
            picture if picture.size == wanted else picture.resize(wanted, Image.Resampling.LANCZOS)
        )
    return pictures

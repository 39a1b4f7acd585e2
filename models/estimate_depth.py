"""The tool that estimates depth: a stored picture in, its relative depth as a stored picture out.

Knows where depth networks are kept and how a result is stored; how depth is painted is in
`pixel_perfect_depth`.
"""

import json
import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from models.backends import BYTES_PER_VALUE
from models.depth_request import DepthRequest, DepthResult
from models.threads import fixed_threads
from models.tool import Progress, Tool, ToolContext, ToolError
from models.weights import check_pipeline

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Depths = NDArray[np.float32]

EMBEDDED = "embedded"
WEIGHTS = Path(__file__).parent / "embedded" / "weights" / "depth"


class DepthCard(BaseModel):
    """What a depth network's folder says beside its weights, in card.json.

    `scale` and `shift` turn its relative depths into metric ones on usual pictures: the medians of its
    training pictures. `view` is their camera's horizontal field of view in degrees.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    scale: float
    shift: float
    view: float


GUESS = DepthCard(scale=2.4, shift=0.7, view=55.0)
"""From about one metre to about twenty, through a usual lens: for networks that say nothing."""


@dataclass(frozen=True, slots=True)
class Surveyor:
    """A loaded depth network."""

    name: str
    pipeline: Any
    card: DepthCard | None


def find_depth_model(name: str) -> Path:
    """The folder of a depth network.

    Raises:
        ToolError: there is none of this name.
    """
    folder = WEIGHTS if name == EMBEDDED else Path(name).expanduser()
    if not (folder / "model_index.json").is_file():
        ways = "`maulstick train depth` trains one, `maulstick convert` makes one of an official checkpoint"
        if name == EMBEDDED:
            raise ToolError(f"no depth network ships with this version: name a folder. {ways}")
        raise ToolError(f"there is no depth network in {folder}: {ways}")
    return folder


class EstimateDepth(Tool[DepthRequest, DepthResult, Surveyor]):
    """Estimates depth by Pixel-Perfect Depth."""

    name = "estimate_depth"
    summary = "Say how far each pixel of a picture is: a relative depth, sharp at edges."
    request_type = DepthRequest
    result_type = DepthResult
    max_batch = 8

    def model_key(self, request: DepthRequest) -> str:
        """The network's name."""
        return request.model

    def batch_key(self, request: DepthRequest) -> Hashable:
        """All that is asked but the picture and the seed."""
        return request.model_dump_json(exclude={"picture", "seed"})

    def memory_bytes(self, model_key: str) -> int:
        """What network and encoder take at fp32, in bytes."""
        return BYTES_PER_VALUE * check_pipeline(find_depth_model(model_key))

    def load(self, model_key: str, device: str) -> Surveyor:
        """Load a depth network.

        Raises:
            ToolError: it is not there, or damaged.
        """
        from models.pixel_perfect_depth.folders import load_pipeline

        folder = find_depth_model(model_key)
        pipeline = load_pipeline(folder).to(device)
        pipeline.set_progress_bar_config(disable=True)
        return Surveyor(model_key, pipeline, read_card(folder))

    def run(
        self, model: Surveyor, requests: Sequence[DepthRequest], context: ToolContext
    ) -> list[DepthResult]:
        """Estimate the depth of each picture, one at a time: a result depends on its own request alone.

        Raises:
            ToolError: a picture is not in the store, or too small or too long.
        """
        with fixed_threads(1 if model.name == EMBEDDED else None):
            return [
                _survey(model, request, context, number, len(requests))
                for number, request in enumerate(requests)
            ]


def read_card(folder: Path) -> DepthCard | None:
    """A folder's card; None where it has none.

    Raises:
        ToolError: it is none.
    """
    path = folder / "card.json"
    if not path.is_file():
        return None
    try:
        return DepthCard.model_validate_json(path.read_text("utf-8"))
    except ValidationError as error:
        raise ToolError(f"{path} is no card of a depth network: {error.errors()[0]['msg']}") from error


def _survey(
    model: Surveyor, request: DepthRequest, context: ToolContext, number: int, total: int
) -> DepthResult:
    import numpy as np
    import torch

    from models.pixel_perfect_depth.pictures import check_picture

    began = time.perf_counter()
    picture = check_picture(context.load_picture(request.picture), request.picture.sha256[:12])

    def watch(_pipeline: Any, step: int, steps: int) -> None:
        context.check_cancelled()
        context.report(Progress(done=number * steps + step, total=total * steps))

    try:
        found = model.pipeline(
            picture,
            num_inference_steps=request.steps,
            ensemble_size=request.ensemble,
            processing_resolution=request.side,
            match_input_resolution=request.match,
            resample_method_output=request.resample,
            tile_size=request.tile,
            generator=torch.Generator().manual_seed(request.seed),
            callback_on_step_end=watch,
        )
    except ValueError as error:
        raise ToolError(f"{model.name}: {error}") from error
    depth = np.asarray(found.prediction[0, :, :, 0], np.float32)
    if not np.isfinite(depth).all():
        raise ToolError(f"{model.name} gave depths that are no numbers for {request.picture.sha256}")
    return _store(model, request, context, depth, began)


def _store(
    model: Surveyor, request: DepthRequest, context: ToolContext, depth: "Depths", began: float
) -> DepthResult:
    from models.pixel_perfect_depth.colouring import colour, to_levels
    from models.pixel_perfect_depth.regions import region_depths

    try:
        regions = region_depths(depth, request.regions)
    except ValueError as error:
        raise ToolError(str(error)) from error
    low, high = float(depth.min()), float(depth.max())
    card = model.card or GUESS
    told = {
        "tool": EstimateDepth.name,
        "request": json.loads(request.model_dump_json()),
        "low": low,
        "high": high,
    }
    save = context.artifacts.save_image
    return DepthResult(
        depth=save(to_levels(depth, low, high), seed=request.seed, provenance=told),
        coloured=save(colour(depth), seed=request.seed, provenance=told),
        low=low,
        high=high,
        scale=card.scale,
        shift=card.shift,
        typical=model.card is not None,
        view=card.view,
        regions=tuple(regions),
        seconds=time.perf_counter() - began,
    )

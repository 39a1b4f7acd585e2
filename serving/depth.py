"""The commands `depth`, `convert ppd` and `train depth`."""

import asyncio
import io
import json
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
from PIL import Image
from pydantic import ValidationError
from rich.console import Console

from memory.artifacts import Artifacts
from models.depth_request import DepthRequest, DepthResult
from models.executor import find_devices
from serving.assembly import choose_devices, make_executor
from serving.configuration import configure
from serving.delivery import copy_file
from serving.failures import UserError, describe_validation
from serving.home import DataFolder, check_writable
from settings import Settings


def estimate_depth(
    picture: Path,
    model: str,
    steps: int | None,
    ensemble: int,
    seed: int,
    side: int | None,
    tile: int | None,
    out: Path | None,
    points: Path | None,
    view: Path | None,
    degrees: float | None,
    as_json: bool,
) -> int:
    """Estimate the depth of a file, and write it as pictures, as points, as a page to look at.

    Raises:
        UserError: an argument is not allowed.
        ToolError: the picture or the network cannot be used.
    """
    from models.pixel_perfect_depth.pictures import open_picture
    from models.pixel_perfect_depth.point_files import SUFFIXES

    settings = configure()
    if points is not None and points.suffix.lower() not in SUFFIXES:
        raise UserError(f"points are written as {' or '.join(SUFFIXES)}, not as {points.name}")
    if degrees is not None and not 0 < degrees < 180:
        raise UserError(f"a field of view is between 0 and 180 degrees, not {degrees:g}")
    out = out or Path("out") / "depth" / picture.stem
    check_writable(out, "--out")
    opened = open_picture(picture)
    artifacts = Artifacts(DataFolder(settings.home).artifacts)
    ref = artifacts.save_image(opened, seed=None, provenance={"imported": picture.name})
    try:
        request = DepthRequest(
            picture=ref, model=model, steps=steps, ensemble=ensemble, seed=seed, side=side, tile=tile
        )
    except ValidationError as error:
        raise UserError(describe_validation(error)) from error
    result = asyncio.run(_estimate(settings, artifacts, request, as_json))
    written = {
        "depth": copy_file(artifacts.path(result.depth), out / "depth.png"),
        "coloured": copy_file(artifacts.path(result.coloured), out / "coloured.png"),
    }
    if points is not None or view is not None:
        cloud = _cloud(artifacts, result, opened, degrees)
        written |= _write_cloud(cloud, points, view, picture.name)
    _print(result, written, as_json)
    return 0


async def _estimate(
    settings: Settings, artifacts: Artifacts, request: DepthRequest, quiet: bool
) -> DepthResult:
    console = Console(stderr=True, quiet=quiet)
    with console.status("estimating depth") as status:
        async with make_executor(settings, artifacts) as executor:
            return cast(
                DepthResult,
                await executor.submit(
                    "estimate_depth",
                    request,
                    lambda told: status.update(f"estimating depth: step {told.done} of {told.total}"),
                ),
            )


def _cloud(artifacts: Artifacts, result: DepthResult, picture: Image.Image, degrees: float | None) -> Any:
    from models.pixel_perfect_depth.colouring import from_levels
    from models.pixel_perfect_depth.geometry import Intrinsics, point_cloud

    with Image.open(io.BytesIO(artifacts.load_bytes(result.depth))) as stored:
        relative = from_levels(stored, result.low, result.high)
    height, width = relative.shape
    if degrees is not None:
        camera = Intrinsics.of_view(width, height, degrees)
    else:
        camera = Intrinsics.of_exif(picture) or Intrinsics.of_view(width, height, result.view)
    metric = np.exp(result.scale * relative + result.shift) - 1
    return point_cloud(metric, camera, np.asarray(picture, np.uint8))


def _write_cloud(cloud: Any, points: Path | None, view: Path | None, name: str) -> dict[str, Path]:
    from models.pixel_perfect_depth.point_files import write_points
    from models.pixel_perfect_depth.viewer import write_page

    written: dict[str, Path] = {}
    if points is not None:
        write_points(cloud, points)
        written["points"] = points
    if view is not None:
        write_page(cloud, view, name)
        written["page"] = view
    return written


def _print(result: DepthResult, written: dict[str, Path], as_json: bool) -> None:
    if as_json:
        told = result.model_dump(include={"low", "high", "scale", "shift", "typical", "view", "seconds"})
        print(json.dumps({**told, **{name: str(path) for name, path in written.items()}}))
        return
    for name, path in written.items():
        print(f"{name}: {path}")
    if not result.typical:
        print(
            "this network says nothing of metres: points stand from about 1 to about 20, and only their "
            "proportions mean something"
        )


def convert_checkpoint(
    official: Path, out: Path, semantics: str | None, config: Path | None, encoder: Path | None
) -> int:
    """Write an official checkpoint of Pixel-Perfect Depth as a network of ours.

    Raises:
        ToolError: see `models.pixel_perfect_depth.convert`.
    """
    from models.pixel_perfect_depth.convert import convert_official

    configure()
    network = convert_official(official, out, semantics, config, encoder)
    sizes = network.config
    print(
        f"{out}: a {type(network).__name__} with {network.num_parameters() / 1e6:,.1f} M parameters, "
        f"{sizes['num_layers']} blocks of {sizes['hidden_size']}"
    )
    if encoder is None:
        print("the network alone; with --encoder `maulstick depth --model` takes the folder")
    return 0


def train_depth(
    profile: str,
    out: Path | None,
    variant: str,
    steps: int | None,
    scenes: int | None,
    resume: bool,
    vocabulary: str | None,
    data: Path | None,
    start: Path | None,
) -> int:
    """Train a depth network on the diorama, or on a folder of pictures with depth.

    Raises:
        UserError: the profile or the variant is unknown, `out` holds a training and `resume` is not set, or
            both a vocabulary and a folder are named.
        ToolError: the folder holds no pictures with depth, or `start` no such network.
    """
    from diorama.atlas import ArtError
    from models.backends import WEIGHTS
    from models.embedded.training.loop import ForeignTraining
    from models.pixel_perfect_depth.profiles import DEPTH, VARIANTS, ProfileName, Variant
    from models.pixel_perfect_depth.training import train

    settings = configure()
    if profile not in DEPTH:
        raise UserError(f"no profile is called {profile!r}: use --profile {', '.join(get_args(ProfileName))}")
    if variant not in VARIANTS:
        raise UserError(f"no variant is called {variant!r}: use --variant {', '.join(get_args(Variant))}")
    folder = out or DataFolder(settings.home).training / f"depth-{profile}-{variant}"
    check_writable(folder, "--out")
    if (folder / "training.pt").exists() and not resume:
        raise UserError(
            f"{folder} holds a training already: go on with it by --resume, or name another --out"
        )
    if data is not None and (vocabulary or scenes):
        raise UserError("--vocabulary and --scenes are about the diorama: leave them out beside --data")
    devices = choose_devices(settings.device)
    try:
        train(
            profile,
            folder,
            critic=WEIGHTS / "critic",
            variant=variant,
            autoencoder=WEIGHTS / "painter" / "vae",
            steps=steps,
            scenes=scenes,
            resume=resume,
            device=find_devices()[0] if devices == "auto" else devices[0],
            vocabulary=vocabulary,
            data=data,
            start=start,
        )
    except (ForeignTraining, ArtError, ValueError) as error:
        raise UserError(str(error)) from error
    print(f"training kept in {folder}")
    return 0

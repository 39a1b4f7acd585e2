"""The command `generate`: paint as asked, look at nothing."""

import asyncio
import json
from collections.abc import Callable
from itertools import count
from pathlib import Path

from models.picture_request import GenerateRequest, GenerateResult
from models.tool import Progress
from serving.assembly import Workshop, open_workshop
from serving.configuration import configure
from serving.delivery import copy_file
from serving.failures import UserError
from serving.home import check_writable
from serving.refining import make_request
from settings import Settings


def generate_pictures(
    prompt: str,
    backend: str | None,
    images: int,
    seed: int,
    sketches: int,
    out: Path | None,
    as_json: bool,
) -> int:
    """Paint `images` pictures with the seeds `seed`, `seed + 1`, ..., and say where they are.

    With `sketches`, `out` shows each on its way, as SEED-sketch1.png and so on.

    Raises:
        UserError: an argument is not allowed or `out` takes no files.
        ToolError: the backend is unknown or refuses the prompt.
    """
    settings = configure()
    # The same edge as `refine`: what one refuses, the other refuses.
    checked = make_request(prompt, backend or settings.backend, settings.mind, images, seed)
    if out:
        check_writable(out, "--out")
    elif sketches:
        raise UserError("sketches are written to a folder: name it with --out")
    requests = [
        GenerateRequest(
            prompt=checked.prompt,
            backend=checked.backend,
            seed=(checked.seed + index) % 2**32,
            sketches=sketches,
        )
        for index in range(images)
    ]
    pictures = asyncio.run(_paint(settings, requests, out))
    if as_json:
        print(json.dumps({"prompt": checked.prompt, "backend": checked.backend, "pictures": pictures}))
    else:
        for picture in pictures:
            print(f"{picture['path']}  (seed {picture['seed']}, {picture['seconds']:.1f} s)")
    return 0


async def _paint(
    settings: Settings, requests: list[GenerateRequest], out: Path | None
) -> list[dict[str, str | int | float]]:
    async with open_workshop(settings, settings.mind, requests[0].backend) as workshop:
        results = await asyncio.gather(
            *(
                workshop.executor.submit("generate_image", request, _keep_sketches(request, out))
                for request in requests
            )
        )
        return [
            _describe(workshop, request, result, out)
            for request, result in zip(requests, results, strict=True)
            if isinstance(result, GenerateResult)
        ]


def _keep_sketches(request: GenerateRequest, out: Path | None) -> Callable[[Progress], None] | None:
    """Writes what a picture's progress shows of it, numbered; None where nothing is wanted."""
    if out is None or not request.sketches:
        return None
    numbers = count(1)

    def keep(progress: Progress) -> None:
        for sketch in progress.sketches:
            if (sketch.prompt, sketch.seed) == (request.prompt, request.seed):
                out.mkdir(parents=True, exist_ok=True)
                (out / f"{request.seed}-sketch{next(numbers)}.png").write_bytes(sketch.png)

    return keep


def _describe(
    workshop: Workshop, request: GenerateRequest, result: GenerateResult, out: Path | None
) -> dict[str, str | int | float]:
    path = workshop.artifacts.path(result.picture)
    if out:
        path = copy_file(path, out / f"{request.seed}.png")
    return {
        "seed": request.seed,
        "sha256": result.picture.sha256,
        "path": str(path),
        "seconds": result.seconds,
    }

"""Frames of a video to one sequence of relative depths (arXiv 2601.05246).

Windows of 16 frames are painted one after the other from the same noise, and stitched. Frames come in RGB.
The official code turns them into BGR on the way; `channels="bgr"` does so too, should its weights want that.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from models.pixel_perfect_depth.resizing import resize_picture
from models.pixel_perfect_depth.schedule import TIMESTEPS, steps_of, timestep_grid
from models.pixel_perfect_depth.stitching import WINDOW, stitch, windows
from models.pixel_perfect_depth.upsampling import Resampling, resample
from models.pixel_perfect_depth.video import VideoDepthTransformer

Encode = Callable[[Tensor, int, int], Tensor]
"""Pictures (F, 3, S, S) in 0..1, rows, columns to tokens (F, rows * columns, C), all frames seen together."""


@torch.no_grad()
def estimate_clip(
    network: VideoDepthTransformer,
    encode: Encode,
    frames: Sequence[Image.Image],
    *,
    steps: int = 4,
    generator: torch.Generator | None = None,
    channels: Literal["rgb", "bgr"] = "rgb",
    match_input_resolution: bool = False,
    resample_method_output: Resampling = "nearest",
    on_window: Callable[[int, int], None] | None = None,
) -> NDArray[np.float32]:
    """Relative depths (frames, h, w) of a video, all in the scale of its first window.

    Args:
        network: the video network; frames are squashed to its square size.
        encode: the vision model that it was trained with (Pi3), or anything of its width.
        frames: RGB pictures of one size, one or more.
        steps: Euler steps.
        generator: of the noise, which all windows share.
        channels: in which order the network sees colours.
        match_input_resolution: depths in the frames' own size (False: in the network's).
        resample_method_output: how; "bilinear" brings flying pixels back. Windows are stitched before.
        on_window: is told (windows done, of so many).

    Raises:
        ValueError: no frames, or of several sizes, or tokens of another width than the network takes.
    """
    if len(sizes := {frame.size for frame in frames}) > 1:
        raise ValueError(f"the frames of a video have one size, not {sorted(sizes)}")
    plan = windows(len(frames))
    size = network.config["sample_size"]
    pixels = torch.stack([resize_picture(frame, size, size) for frame in frames]).to(network.device)
    noise = torch.randn(WINDOW, 1, size, size, generator=generator).to(network.device)
    found: list[NDArray[np.floating]] = []
    for number, window in enumerate(plan, 1):
        shown = pixels[window]
        tokens = encode(shown, network.side, network.side)
        if tokens.shape[-1] != (width := network.config["semantic_dim"]):
            raise ValueError(f"the video network takes tokens of {width} channels, not {tokens.shape[-1]}")
        given = shown.flip(1) if channels == "bgr" else shown
        found.append(_paint(network, given - 0.5, tokens, noise, steps).cpu().numpy())
        if on_window is not None:
            on_window(number, len(plan))
    depth = stitch(found, len(frames)).astype(np.float32)
    if not match_input_resolution:
        return depth
    width, height = frames[0].size
    full = torch.stack([resize_picture(frame, height, width) for frame in frames])
    resized = resample(torch.from_numpy(depth)[:, None], (height, width), resample_method_output, full)
    return resized[:, 0].numpy()


def _paint(
    network: VideoDepthTransformer, image: Tensor, tokens: Tensor, noise: Tensor, steps: int
) -> Tensor:
    """Relative depths (F, S, S) of one window; the state stays in float32."""
    latent = noise
    for timestep, after in steps_of(timestep_grid(steps)):
        inputs = torch.cat([latent, image], 1).to(network.dtype)
        velocity = network(inputs, timestep, tokens.to(network.dtype), return_dict=False)[0].float()
        latent = latent + (after - timestep) / TIMESTEPS * velocity
    return latent[:, 0] + 0.5

"""Sketches of a picture on its way: what the sampler believes at a step, in the colours of the latents.

Two latents in a row hold the same picture under different amounts of noise, so both together tell the
picture: with x = a x0 + b e at either step, x0 follows (exact for first-order samplers, close for others).
Latents become colours by a linear map, fitted by least squares to what the pipeline's own decoder makes of
them: to the first sketch's, which is decoded for that once, and from then on to every finished picture's.
Sketches never touch what is painted.
"""

from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.step_noise import clean_latents
from models.tool import Sketch

SIDE = 256
"""Pixels of a sketch's longer side, at least; latents are coarser."""
_RIDGE = 1e-4
_MEMORY = 8
"""Pictures that the map goes by: up to so many count alike, those before less and less."""


@dataclass(slots=True)
class ColourMap:
    """Linear from latent channels to colours in 0..1, fitted to all pairs that it was shown."""

    weights: NDArray[Any] | None = None
    """(channels + 1, 3); None before the first pair."""
    _products: list[NDArray[Any]] = field(default_factory=list[NDArray[Any]])
    _seen: int = 0

    def learn(
        self, latents: NDArray[np.float32], picture: NDArray[np.float32], *, finished: bool = True
    ) -> None:
        """Take in one pair: latents (channels, h, w) and the picture (H, W, 3) that they decode to.

        One that is not finished serves until one is, and is forgotten then: early latents decode to other
        colours.
        """
        channels, height, width = latents.shape
        small = Image.fromarray((picture.clip(0, 1) * 255).round().astype(np.uint8))
        colours = np.asarray(small.resize((width, height), Image.Resampling.BOX), np.float64) / 255
        known = _with_one(latents)
        pair: list[NDArray[Any]] = [
            known.T @ known / len(known),
            known.T @ colours.reshape(-1, 3) / len(known),
        ]
        if finished:
            self._seen = min(self._seen + 1, _MEMORY)
            if self._products:
                pair = [old + (new - old) / self._seen for old, new in zip(self._products, pair, strict=True)]
            self._products = pair
        self.weights = np.linalg.solve(pair[0] + _RIDGE * np.eye(channels + 1), pair[1])

    def paint(self, latents: NDArray[np.float32]) -> Image.Image:
        """The colours of latents (channels, h, w), enlarged to `SIDE`."""
        assert self.weights is not None, "a map is fitted before it is used"
        _, height, width = latents.shape
        colours = (_with_one(latents) @ self.weights).reshape(height, width, 3).clip(0, 1)
        small = Image.fromarray((colours * 255).round().astype(np.uint8))
        times = max(1.0, SIDE / max(height, width))
        return small.resize((round(width * times), round(height * times)), Image.Resampling.BICUBIC)


def _with_one(latents: NDArray[np.float32]) -> NDArray[np.float64]:
    flat = latents.reshape(len(latents), -1).T.astype(np.float64)
    return np.concatenate([flat, np.ones((len(flat), 1))], axis=1)


def share_of_noise(scheduler: Any, index: int) -> tuple[float, float]:
    """(a, b) of x = a x0 + b e in the latents that are left after `index` steps of a scheduler in use.

    Flow matching (SD3, Flux, SANA): a = 1 - sigma, b = sigma. Schedulers that count in sigma and scale their
    latents by it (Euler, Heun, LMS): a = 1, b = sigma. DPM solvers keep the variance: b / a = sigma,
    a^2 + b^2 = 1. All others by their cumulated alphas, as DDIM does.
    """
    sigmas = getattr(scheduler, "sigmas", None)
    name = type(scheduler).__name__
    flow = "FlowMatch" in name or scheduler.config.get("use_flow_sigmas", False)
    if sigmas is not None and (flow or not hasattr(scheduler, "alphas_cumprod")):
        sigma = float(sigmas[min(index, len(sigmas) - 1)])
        return 1 - sigma, sigma
    if sigmas is not None and len(sigmas) == len(scheduler.timesteps) + 1:
        sigma = float(sigmas[index])
        kept = 1.0 if float(scheduler.init_noise_sigma) > 1 else (1 + sigma**2) ** -0.5
        return kept, sigma * kept
    if index >= len(scheduler.timesteps):
        return 1.0, 0.0
    alpha = float(scheduler.alphas_cumprod[int(scheduler.timesteps[index])])
    return alpha**0.5, (1 - alpha) ** 0.5


@dataclass(slots=True)
class Sketcher:
    """Makes the sketches of one batch. Tell it the latents after every step."""

    pipeline: Any
    colours: ColourMap
    size: tuple[int, int]
    """Width and height of the pictures, in pixels."""
    steps: frozenset[int]
    """After which steps there is a sketch; the first is 1."""
    names: tuple[tuple[str, int], ...]
    """Prompt and seed of each row."""
    _before: Any = None

    def after(self, step: int, latents: Any) -> tuple[Sketch, ...]:
        """Take in the latents after `step` steps; the sketches that are due then, one for each row."""
        before, self._before = self._before, latents
        if step not in self.steps or before is None:
            return ()
        clean = clean_latents(self.pipeline.scheduler)
        if clean is None:
            clean = self._without_noise(step, before, latents)
        if clean is None:
            return ()
        clean = self.unpacked(clean)
        if self.colours.weights is None:
            self.colours.learn(clean[0].float().cpu().numpy(), self._decode(clean[:1]), finished=False)
        return tuple(
            Sketch(prompt=prompt, seed=seed, step=step, png=_png(self.colours.paint(row)))
            for (prompt, seed), row in zip(self.names, clean.float().cpu().numpy(), strict=True)
        )

    def _without_noise(self, step: int, before: Any, latents: Any) -> Any:
        """The latents of the picture in those before and after a step which keeps its noise; None where both
        have one noise level, as in a scheduler that looks at it twice.
        """
        (a, b), (a_before, b_before) = (
            share_of_noise(self.pipeline.scheduler, index) for index in (step, step - 1)
        )
        divisor = b_before * a - b * a_before
        return None if abs(divisor) < 1e-6 else (b_before * latents - b * before) / divisor

    def learn(self, pictures: NDArray[np.float32]) -> None:
        """Fit the colours to finished pictures, (N, H, W, 3) in 0..1."""
        if self._before is not None:
            for row, picture in zip(self.unpacked(self._before).float().cpu().numpy(), pictures, strict=True):
                self.colours.learn(row, picture)

    def unpacked(self, latents: Any) -> Any:
        """Latents as (N, channels, h, w): Flux has them as a row of 2x2 patches."""
        if latents.ndim == 4:
            return latents
        count, tokens, channels = latents.shape
        width, height = self.size
        across = round((tokens * width / height) ** 0.5)
        grid = latents.view(count, tokens // across, across, channels // 4, 2, 2)
        return grid.permute(0, 3, 1, 4, 2, 5).reshape(count, channels // 4, -1, 2 * across)

    def _decode(self, latents: Any) -> NDArray[np.float32]:
        """What the pipeline's own decoder makes of one row, (H, W, 3) in 0..1."""
        import torch

        vae = self.pipeline.vae
        scaled = latents / vae.config.scaling_factor + (getattr(vae.config, "shift_factor", None) or 0.0)
        with torch.inference_mode():
            picture = vae.decode(scaled.to(vae.dtype), return_dict=False)[0]
        return (picture[0].float() / 2 + 0.5).permute(1, 2, 0).cpu().numpy()


def due_steps(wanted: int, steps: int) -> frozenset[int]:
    """After which of `steps` steps `wanted` sketches are made: spread evenly, none before the second."""
    return frozenset(max(2, round(steps * (number + 1) / (wanted + 1))) for number in range(wanted))


def _png(picture: Image.Image) -> bytes:
    buffer = BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()

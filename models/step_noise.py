"""The noise that a stochastic sampler adds in its steps, so that a picture depends on its own request alone.

Many pipelines (Flux and SD3 among them) hand no generator to their scheduler's `step`, which then draws from
torch's global state: the same seed paints another picture each time, and a batch another than its rows alone.
Here each row has a generator of its own, seeded with the very latents that the row begins with. They follow
from the request's seed, so nothing has to be passed along, and whoever calls the pipeline gets the same.
"""

import functools
import hashlib
import inspect
from typing import Any


def own_noise(pipeline: Any) -> Any:
    """Let the pipeline's scheduler draw noise row by row, where its steps can draw any; returns the pipeline.

    A scheduler that takes the place of this one later has to be given here again.
    """
    scheduler = pipeline.scheduler
    draws = "generator" in inspect.signature(scheduler.step).parameters
    if draws and hasattr(scheduler, "step_index"):  # those without it are handed theirs by their pipelines
        scheduler.step = StepNoise(scheduler)
    return pipeline


def clean_latents(scheduler: Any) -> Any:
    """What the last step of a stochastic flow took for the latents without noise, packed as the pipeline has
    them; None with any other scheduler, whose steps keep their noise and so tell.
    """
    return scheduler.step.clean if isinstance(scheduler.step, StepNoise) else None


class StepNoise:
    """In the place of a scheduler's `step`: hands over generators where the pipeline hands over none."""

    def __init__(self, scheduler: Any) -> None:
        self.scheduler = scheduler
        self.plain = scheduler.step
        self.generators: list[Any] = []
        self.clean: Any = None
        functools.update_wrapper(self, self.plain)  # pipelines look which parameters it has

    def __call__(self, model_output: Any, timestep: Any, sample: Any, *others: Any, **named: Any) -> Any:
        """One step, as the scheduler takes it."""
        begins = self.scheduler.step_index is None
        if begins:
            self.generators = [_generator_of(row) for row in sample]
            self.clean = None
        if named.get("generator") is None:
            named["generator"] = self.generators
        stepped = self.plain(model_output, timestep, sample, *others, **named)
        if self.scheduler.config.get("stochastic_sampling", False):
            self.clean = sample - self.scheduler.sigmas[self.scheduler.step_index - 1] * model_output
        return stepped


def _generator_of(row: Any) -> Any:
    """On the CPU: the same noise on every device."""
    import torch

    told = hashlib.blake2b(row.detach().float().cpu().contiguous().numpy().tobytes(), digest_size=8)
    return torch.Generator("cpu").manual_seed(int.from_bytes(told.digest()) >> 1)

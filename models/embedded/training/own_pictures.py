"""What trainings share in which a painter learns from its own pictures."""

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from models.embedded.painter import load_painter
from models.embedded.profiles import PainterProfile, SharpeningProfile, TuningProfile
from models.embedded.training.loop import Losses, Training, schedule
from models.embedded.training.painter import PainterTraining, save_average
from models.embedded.training.samples import draw_samples

Told = tuple[Tensor, Tensor]
"""Word vectors (N, T, width) and prompt vectors (N, width)."""


def guided_velocity(
    network: PainterTraining, x: Tensor, t: Tensor, told: Told, untold: Told, guidance: float
) -> Tensor:
    """Velocity (N, 64, 64) at packed latents `x` and noise shares `t` (N,) under guidance, with the gradient
    of the one without.

    Guided, the Jacobian of each step would be guidance times the one less the rest of the other, and their
    product over all steps of a sampler explodes.
    """
    velocity, _ = network.velocity(x, t, *told)
    with torch.no_grad():
        unguided, _ = network.velocity(x.detach(), t, *untold)
    return velocity + (guidance - 1) * (velocity.detach() - unguided)


def run(
    training: Training,
    loss_at: Callable[[int], Losses],
    profile: TuningProfile | SharpeningProfile,
    recipe: PainterProfile,
    vae: AutoencoderKL,
    *,
    steps: int | None,
    minutes: float | None,
    look_every: int | None,
    critic: Path | None,
    judge: Path | None,
    device: str,
) -> Path:
    """Train a module whose child `painter` is a painter, look at samples as the profile has them made, and
    save its average in `painter` below the training's folder; returns that. `steps` and `look_every` are the
    profile's where they are None.
    """
    folder = training.out / "painter"
    length, often = steps or profile.steps, look_every or profile.look_every

    def save() -> Path:
        return save_average(recipe, training.average.part("painter"), vae, folder)

    def look(step: int) -> Mapping[str, float]:
        return draw_samples(
            load_painter(save()),
            recipe.vocabulary,
            critic,
            training.out / "samples" / f"{step:07d}.png",
            judge=judge,
            judged=max(1, recipe.judged),
            per_family=min(8, profile.batch),
            guidance=profile.guidance,
            steps=profile.sampled,
            device=device,
        )

    training.run(
        length,
        loss_at,
        rate_at=lambda step: schedule(step, length, warmup=20),
        minutes=minutes,
        every=min(20, often, length),
        look=look,
        look_every=often,
    )
    if training.team.leads:
        save()
    return folder

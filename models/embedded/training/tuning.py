"""Recipe that tunes a painter by what its own pictures show.

The velocity loss asks how well a picture is denoised that somebody else laid out. Here the painter samples
from noise, in as many steps and with the guidance that it will be sampled with, a grader reads what came out,
and the gradient of the grade goes back through all steps (DRaFT, arXiv 2309.17400, section 4.1; AlignProp,
arXiv 2310.03739). The velocity loss stays beside it, so that the painter keeps to the world's pictures, and
heads on the grader's features ask that they look like those (see `realism`).
"""

from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from torch import Tensor, nn

from diorama.draws import Family
from diorama.vocabulary import load_vocabulary
from diorama.wording import lexicon
from diorama.world import World
from models.embedded.painter import build_tokenizer, count_tokens
from models.embedded.profiles import TUNING, PainterProfile, ProfileName, TuningProfile
from models.embedded.training import grader as grading
from models.embedded.training.autoencoder import load_autoencoder
from models.embedded.training.captions import CANONICAL, WORDINGS, Captions
from models.embedded.training.going_on import check_sizes
from models.embedded.training.grades import wish_targets
from models.embedded.training.latents import TOKENS
from models.embedded.training.loop import (
    Losses,
    Training,
    generator,
    normal,
    optimisers,
    torch_generator,
    uniform,
)
from models.embedded.training.own_pictures import Told, guided_velocity, run
from models.embedded.training.painter import (
    SHIFT,
    PainterTraining,
    go_on_from,
    losses,
    recipe_of,
    unpack,
)
from models.embedded.training.painters_world import SEED, families_of, open_rows, open_world
from models.embedded.training.realism import Realism

ASKED: dict[Family, float] = {
    "single_object": 0.5,
    "colors": 1.5,
    "two_object": 1.5,
    "counting": 2.0,
    "position": 2.0,
    "depth": 1.0,
    "color_attr": 2.5,
    "patterns": 1.0,
    "dense": 1.0,
    "free": 1.5,
}
"""Shares of the families among the prompts that the painter is graded on: more of what it gets wrong."""
GRADED_NOISE = 0.35
"""At most so much noise is added to a picture before it is graded. A grader that reads pictures alone can be
pleased by what no eye sees."""

LOUDEST = 0.05
"""The largest norm of a picture's gradient, in weighted nats per unit of latent. Half of the pictures of a
painter that knows its words have less than a third of it."""


class Tuned(nn.Module):
    """What learns while a painter is tuned: the painter, and the heads that are thrown away."""

    def __init__(self, recipe: PainterProfile) -> None:
        super().__init__()
        self.painter = PainterTraining(recipe, count_tokens(lexicon()))
        self.realism = Realism()


def sampling_times(steps: int, shift: float = SHIFT) -> Tensor:
    """The noise shares (steps + 1,) from 1 to 0, as FluxPipeline takes them with a scheduler's `shift`."""
    scheduler = FlowMatchEulerDiscreteScheduler(shift=shift)
    scheduler.set_timesteps(sigmas=np.linspace(1.0, 1.0 / steps, steps).tolist())
    return torch.as_tensor(scheduler.sigmas)


def sample(
    network: PainterTraining,
    noise: Tensor,
    told: Told,
    untold: Told,
    times: Tensor,
    guidance: float,
) -> Tensor:
    """Packed latents (N, 64, 64) painted from `noise` by Euler steps along `times`, with gradients.

    What guidance adds takes no part in the gradient; see `guided_velocity`.
    """
    x = noise
    for now, then in pairwise(times.tolist()):
        t = torch.full((len(x),), now, device=x.device)
        velocity = guided_velocity(network, x, t, told, untold, guidance)
        x = x + (then - now) * velocity
        if x.requires_grad:
            x.register_hook(_bound)
    return x


def _bound(gradient: Tensor) -> Tensor:
    """At most LOUDEST per picture: one that is wholly wrong would drown the others."""
    norms = gradient.flatten(1).norm(dim=1).view(-1, 1, 1) * len(gradient)
    return gradient * (LOUDEST / norms.clamp(min=LOUDEST))


def tune(
    profile: ProfileName,
    out: Path,
    *,
    start: Path,
    critic: Path | None = None,
    judge: Path | None = None,
    look_every: int | None = None,
    vocabulary: str | None = None,
    steps: int | None = None,
    scenes: int | None = None,
    resume: bool = True,
    compiled: bool = False,
    crew: int = 0,
    minutes: float | None = None,
    device: str = "cpu",
) -> Path:
    """Tune the painter saved in `start` and save what comes of it in `out/painter`; returns that folder.

    Args:
        profile: lengths; sizes are the painter profile's of this name.
        out: receives latents/, grader/, training.pt, log.jsonl, samples/ and painter/.
        start: folder of a trained painter.
        critic: as for `painter.train`.
        judge: as for `painter.train`.
        look_every: as for `painter.train`.
        vocabulary: as for `painter.train`.
        steps: as for `painter.train`.
        scenes: as for `painter.train`.
        resume: as for `painter.train`.
        compiled: as for `painter.train`; on a CPU the grader is compiled too.
        crew: as for `painter.train`.
        minutes: as for `painter.train`; those of the grader come on top.
        device: as for `painter.train`.

    Raises:
        ArtError, ForeignLatents, ForeignTraining: as `painter.train` does.
    """
    recipe, tuning = recipe_of(profile, vocabulary), TUNING[profile]
    check_sizes(start, recipe)
    words = load_vocabulary(recipe.vocabulary)
    vae = load_autoencoder(start / "vae")
    stream = open_world(words, "cpu" if crew else device)
    captions = Captions(stream.world, build_tokenizer(lexicon(), lexicon(words)), device)
    rows = open_rows(stream, captions, start / "vae", out / "latents", scenes or recipe.scenes, device, crew)
    grader = grading.train(words, rows.all(), out / "grader", tuning.grader, resume=resume, device=device)
    torch.manual_seed(SEED)
    tuned = Tuned(recipe).to(device)
    network = tuned.painter
    go_on_from(start, network, captions, recipe, out / "text", reread=False, resume=resume)
    network.freeze_encoders()
    if compiled:
        network.transformer.compile()
        if device == "cpu":  # an accelerator has graded a picture long before it would have compiled that
            grader.compile()
    learners = [*optimisers(network, tuning.rate), *optimisers(tuned.realism, tuning.realism_rate)]
    training = Training(tuned, learners, out, decay=0.98)
    if resume:
        training.resume()
    asked = World(words, SEED, weights={family: ASKED[family] for family in families_of(words)})
    wishes = Captions(asked, captions.tokenizer, device)
    times = sampling_times(tuning.sampled)

    def loss_at(draw: int) -> Losses:
        rng, noise = generator(SEED, draw, 3), torch_generator(SEED, draw, 3, device)
        rendered = rows.draw(rng, tuning.batch)["latents"].float()
        graded = grades(tuned, grader, wishes, rendered, times, tuning, rng, noise)
        kept = losses(network, captions, rows.draw(rng, tuning.batch), rng, noise)
        return {**graded, **{name: tuning.kept * value for name, value in kept.items()}}

    return run(
        training, loss_at, tuning, recipe, vae,
        steps=steps, minutes=minutes, look_every=look_every, critic=critic, judge=judge, device=device,
    )  # fmt: skip


def grades(
    tuned: Tuned,
    grader: grading.Grader,
    wishes: Captions,
    rendered: Tensor,
    times: Tensor,
    tuning: TuningProfile,
    rng: np.random.Generator,
    noise: torch.Generator,
) -> Losses:
    """What the grader misses in freshly painted pictures, by kind, and what the heads miss that tell them
    from `rendered` latents, as losses; and the loss of the heads themselves.
    """
    network, realism = tuned.painter, tuned.realism
    indices = rng.integers(2**40, size=tuning.batch).tolist()
    prompts = [
        wishes.world.prompt(index, 0 if rng.random() < CANONICAL else int(rng.integers(1, WORDINGS)))
        for index in indices
    ]
    with torch.no_grad():
        told, untold = network.read(wishes.encode(prompts)), network.read(wishes.encode([""] * len(prompts)))
    start = normal(noise, len(prompts), TOKENS**2, 64).to(told[0])
    x = unpack(sample(network, start, told, untold, times, tuning.guidance))
    read = grader.read(*_blur(x, noise))
    with torch.no_grad():
        theirs = grader.read(*_blur(rendered, noise))
    wanted = wish_targets([wishes.world.graph(index) for index in indices], wishes.world.vocabulary)
    graded = grader.grade(read, {name: value.to(x.device) for name, value in wanted.items()})
    return {
        **{f"missed_{name}": tuning.graded * value.mean() for name, value in graded.items()},
        "missed_realism": tuning.realism * realism.missed(read),
        "realism": realism.mistaken(theirs, read),
    }


def _blur(x: Tensor, noise: torch.Generator) -> tuple[Tensor, Tensor]:
    """Latents with a little noise, and the noise shares (N,)."""
    t = uniform(noise, len(x)).to(x) * GRADED_NOISE
    return grading.add_noise(x, t, noise), t

"""Recipe that sharpens a painter: what it takes a noisy picture for is to look like a rendered one.

The velocity loss asks for the mean of all pictures that may hide in the noise. Where an elephant may face
either way, its mean has no head, and a small painter, whose sampler has few steps to choose a side in, paints
the mean. Here a copy of the painter learns to tell what it takes its own unfinished pictures for from
rendered pictures, and it learns to be taken for one of those (adversarial diffusion distillation, arXiv
2311.17042; on latents, by eyes that begin as the painter, LADD, arXiv 2403.12015, and APT, arXiv 2501.08316).
Guidance is part of what is looked at, since it is part of the sampler. The velocity loss stays beside it.
"""

from collections.abc import Mapping
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import FluxTransformer2DModel
from torch import Tensor, nn

from diorama.draws import Family
from diorama.vocabulary import load_vocabulary
from diorama.wording import lexicon
from models.embedded.painter import build_tokenizer, count_tokens
from models.embedded.profiles import SHARPENING, ProfileName, SharpeningProfile
from models.embedded.training.autoencoder import load_autoencoder
from models.embedded.training.captions import Captions
from models.embedded.training.going_on import check_sizes
from models.embedded.training.grader import add_noise
from models.embedded.training.latents import TOKENS
from models.embedded.training.loop import (
    Losses,
    Training,
    generator,
    normal,
    optimisers,
    torch_generator,
)
from models.embedded.training.own_pictures import Told, guided_velocity, run
from models.embedded.training.painter import (
    PainterTraining,
    go_on_from,
    losses,
    pack,
    recipe_of,
)
from models.embedded.training.painters_world import open_rows, open_world
from models.embedded.training.precision import mixed
from models.embedded.training.realism import build_head, mistaken
from models.embedded.training.rows import Rows
from models.embedded.training.tuning import sampling_times

SEED = 1717
SHOWN: dict[Family, float] = {
    "single_object": 2.0,
    "colors": 3.0,
    "two_object": 2.0,
    "counting": 3.0,
    "position": 2.0,
    "depth": 0.5,
    "color_attr": 2.0,
    "patterns": 0.5,
    "dense": 0.5,
    "free": 1.0,
}
"""Shares of the families: more lone things than the painter learnt from, since those are large enough to have
parts.
"""
SEEN_MEAN, SEEN_SPREAD = -0.5, 1.0
"""Of the logit of the noise share under which pictures are looked at. The more noise, the more it is their
layout that is looked at, and the less their grain.
"""


class Eyes(nn.Module):
    """A copy of the painter's first blocks, and heads on it, that learn to say where a picture was rendered.

    With frozen blocks, heads were fooled within 200 steps by elephants that still had no head: what a painter
    does not know of, its own features do not show.
    """

    def __init__(self, transformer: FluxTransformer2DModel, singles: int = 2) -> None:
        super().__init__()
        self.blocks = deepcopy(transformer)
        self.blocks.single_transformer_blocks = self.blocks.single_transformer_blocks[:singles]
        tapped = [*self.blocks.transformer_blocks, self.blocks.single_transformer_blocks[-1]]
        self.heads = nn.ModuleList(build_head(transformer.inner_dim) for _ in tapped)
        self._seen: dict[int, Tensor] = {}
        for number, block in enumerate(tapped):
            block.register_forward_hook(partial(self._keep, number))

    def _keep(self, number: int, _block: nn.Module, _inputs: Any, outputs: tuple[Tensor, Tensor]) -> None:
        self._seen[number] = outputs[1]

    def forward(self, network: PainterTraining, x: Tensor, t: Tensor, told: Told) -> Tensor:
        """Logits (N, cells) that packed latents `x` at noise shares `t` (N,) were rendered: one per token and
        head.
        """
        with mixed(x.device.type):
            self.blocks(
                hidden_states=x,
                timestep=t,
                pooled_projections=told[1],
                encoder_hidden_states=told[0],
                txt_ids=network.text_ids,
                img_ids=network.image_ids,
                return_dict=False,
            )
        logits: list[Tensor] = []
        for number, head in enumerate(self.heads):
            seen = self._seen[number].float().transpose(1, 2).unflatten(2, (TOKENS, TOKENS))
            logits.append(head(seen).flatten(1))
        return torch.cat(logits, 1)


class Sharpened(nn.Module):
    """What learns: the painter, and the heads that are thrown away."""

    def __init__(self, network: PainterTraining) -> None:
        super().__init__()
        self.painter = network
        self.eyes = Eyes(network.transformer)


class Easel:
    """Pictures that the painter has begun, each at another step of its sampler.

    Every look at them takes each a step further, so that pictures are looked at as they are while they are
    painted, with what the painter got wrong in the steps before, and no step is made for that alone. Where
    training begins, and where it goes on, those in the middle begin as rendered pictures under noise.
    """

    def __init__(
        self,
        rows: Rows,
        captions: Captions,
        times: Tensor,
        size: int,
        rng: np.random.Generator,
        noise: torch.Generator,
    ) -> None:
        self.rows, self.captions, self.times = rows, captions, times
        self.phase = torch.arange(size) * (len(times) - 1) // size
        drawn = rows.draw(rng, size)
        self.ids = captions.of(drawn, rng, noise, empty=0.0)
        x = pack(drawn["latents"].float())
        self.x = add_noise(x, times[self.phase].to(x), noise)

    def step(
        self, network: PainterTraining, guidance: float, rng: np.random.Generator, noise: torch.Generator
    ) -> tuple[Tensor, Told]:
        """What the painter takes its pictures for, packed latents (N, 64, 64) with gradients, and what it was
        told of each (N, T, width), (N, width). Afterwards they are a step further.
        """
        with torch.no_grad():
            told = network.read(self.ids)
            untold = network.read(self.captions.encode([""] * len(self.ids)))
        now, then = (self.times[self.phase + k].to(self.x) for k in (0, 1))
        velocity = guided_velocity(network, self.x, now, told, untold, guidance)
        clean = self.x - now.view(-1, 1, 1) * velocity
        self.x = add_noise(clean.detach(), then, noise)
        self.phase += 1
        self._begin(rng, noise)
        return clean, told

    def _begin(self, rng: np.random.Generator, noise: torch.Generator) -> None:
        done = self.phase == len(self.times) - 1
        if not done.any():
            return
        drawn = self.rows.draw(rng, int(done.sum()))
        self.ids[done] = self.captions.of(drawn, rng, noise, empty=0.0)
        self.x[done] = normal(noise, *self.x[done].shape).to(self.x)
        self.phase[done] = 0


def compare(
    sharpened: Sharpened,
    easel: Easel,
    rendered: Mapping[str, Tensor],
    profile: SharpeningProfile,
    rng: np.random.Generator,
    noise: torch.Generator,
) -> Losses:
    """What the painter is to lower: minus the mean logit of its unfinished pictures (`missed`). And what the
    eyes are to lower: their hinge loss on those and on `rendered` ones (`mistaken`).
    """
    network, eyes = sharpened.painter, sharpened.eyes
    clean, told = easel.step(network, profile.guidance, rng, noise)
    veiled, t = _veil(clean, noise)
    eyes.requires_grad_(False)  # each loss is for one side alone
    missed = -eyes(network, veiled, t, told).mean()
    eyes.requires_grad_(True)
    with torch.no_grad():
        theirs = network.read(easel.captions.of(rendered, rng, noise, empty=0.0))
    painted = eyes(network, veiled.detach(), t, told)
    real = eyes(network, *_veil(pack(rendered["latents"].float()), noise), theirs)
    return {"missed": profile.missed * missed, "mistaken": mistaken(real, painted)}


def _veil(x: Tensor, noise: torch.Generator) -> tuple[Tensor, Tensor]:
    t = torch.sigmoid(normal(noise, len(x)) * SEEN_SPREAD + SEEN_MEAN).to(x)
    return add_noise(x, t, noise), t


def sharpen(
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
    """Sharpen the painter saved in `start` and save what comes of it in `out/painter`; returns that folder.

    Args:
        profile: lengths; sizes are the painter profile's of this name.
        out: receives latents/, training.pt, log.jsonl, samples/ and painter/.
        start: folder of a trained painter.
        critic: as for `painter.train`.
        judge: as for `painter.train`.
        look_every: as for `painter.train`.
        vocabulary: as for `painter.train`.
        steps: as for `painter.train`.
        scenes: as for `painter.train`.
        resume: go on from what `out` holds; pictures that were begun are begun anew.
        compiled: as for `painter.train`; the eyes are compiled too.
        crew: as for `painter.train`.
        minutes: as for `painter.train`.
        device: as for `painter.train`.

    Raises:
        ArtError, ForeignLatents, ForeignTraining: as `painter.train` does.
    """
    recipe, sharpening = recipe_of(profile, vocabulary), SHARPENING[profile]
    check_sizes(start, recipe)
    words = load_vocabulary(recipe.vocabulary)
    vae = load_autoencoder(start / "vae")
    stream = open_world(words, "cpu" if crew else device, SEED, SHOWN)
    captions = Captions(stream.world, build_tokenizer(lexicon(), lexicon(words)), device)
    rows = open_rows(
        stream, captions, start / "vae", out / "latents", scenes or sharpening.scenes, device, crew
    )
    torch.manual_seed(SEED)
    network = PainterTraining(recipe, count_tokens(lexicon())).to(device)
    go_on_from(start, network, captions, recipe, out / "text", reread=False, resume=resume)
    network.freeze_encoders()
    sharpened = Sharpened(network).to(device)
    if compiled:
        network.transformer.compile()
        sharpened.eyes.blocks.compile()
    learners = [
        *optimisers(network, sharpening.rate),
        *optimisers(sharpened.eyes.blocks, sharpening.eyes_rate),
        *optimisers(sharpened.eyes.heads, sharpening.heads_rate),
    ]
    training = Training(sharpened, learners, out, decay=sharpening.decay)
    if resume:
        training.resume()
    begun = training.step * training.team.size + training.team.rank
    times = sampling_times(sharpening.sampled)
    rng, noise = generator(SEED, begun, 5), torch_generator(SEED, begun, 5, device)
    easel = Easel(rows, captions, times, sharpening.batch, rng, noise)

    def loss_at(draw: int) -> Losses:
        rng, noise = generator(SEED, draw, 4), torch_generator(SEED, draw, 4, device)
        compared = compare(sharpened, easel, rows.draw(rng, sharpening.batch), sharpening, rng, noise)
        kept = losses(network, captions, rows.draw(rng, sharpening.kept), rng, noise)
        return {**compared, "velocity": kept["velocity"]}

    return run(
        training, loss_at, sharpening, recipe, vae,
        steps=steps, minutes=minutes, look_every=look_every, critic=critic, judge=judge, device=device,
    )  # fmt: skip

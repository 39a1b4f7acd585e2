"""A network that reads latents with noise, and grades how well they show a scene graph.

It is what a painter is tuned by (see `tuning`), and is thrown away afterwards. Critic and judge stay out of
that: neither may be what a painter learnt to please. It reads the truth of rendered scenes from their latents
at every noise share, so that its gradients point to what a picture shows and not to a few pixels that happen
to please it (classifiers smoothed by noise, arXiv 1906.00945).
"""

from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from diorama.graph import MAX_THINGS
from diorama.vocabulary import Vocabulary
from models.embedded.painter import LATENT_CHANNELS
from models.embedded.profiles import GraderProfile
from models.embedded.training.grades import scene_targets
from models.embedded.training.latents import NONE, TOKENS
from models.embedded.training.loop import (
    IGNORED,
    Losses,
    Training,
    generator,
    normal,
    optimisers,
    schedule,
    torch_generator,
    uniform,
)
from models.embedded.training.precision import mixed
from models.embedded.training.text import PREDICATES

SEED = 505
WAVES = 16
FINE, COARSE = 96, 192
"""Widths of the two halves of the network, on grids of 16 and of 8 cells."""
FINE_BLOCKS = 2
CLEAR_SHARE, CLEAR_NOISE = 0.5, 0.4
"""Half of the pictures have at most so much noise, as those have that a painter is tuned by."""


KEPT = {"setting": "setting", "where": "shape", "colour_where": "colour"}
"""What is read of a picture beside its things, and under which name its rows keep it."""


class Block(nn.Module):
    """Two 3x3 convolutions beside a residual connection, scaled and shifted by the noise share."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, inputs)
        self.first = nn.Conv2d(inputs, outputs, 3, stride, 1)
        self.told = nn.Linear(2 * WAVES, 2 * outputs)
        self.middle = nn.GroupNorm(8, outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1)
        self.skip = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, stride, stride)

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H / stride, W / stride); `told` (N, 2 WAVES)."""
        y = self.first(F.silu(self.norm(x)))
        scale, shift = self.told(told)[..., None, None].chunk(2, 1)
        return self.skip(x) + self.second(F.silu(self.middle(y) * (1 + scale) + shift))


class Grader(nn.Module):
    """Reads per shape how many there are, in which colours, patterns and sizes, and how shapes stand."""

    place: Tensor
    waves: Tensor

    def __init__(self, words: Vocabulary) -> None:
        super().__init__()
        shapes, self.looks = len(words.shapes), len(words.colours) + 1
        counts = MAX_THINGS + 1
        self.inlet = nn.Conv2d(LATENT_CHANNELS + 2, FINE, 3, 1, 1)
        self.blocks = nn.ModuleList(
            [
                Block(FINE, FINE, 1),
                Block(FINE, FINE, 1),
                Block(FINE, COARSE, 2),
                Block(COARSE, COARSE, 1),
                Block(COARSE, COARSE, 1),
            ]
        )
        self.norm = nn.GroupNorm(8, COARSE)
        self.where = nn.Conv2d(COARSE, shapes, 1)
        self.colour_where = nn.Conv2d(COARSE, self.looks, 1)
        self.value = nn.Conv2d(COARSE, COARSE, 1)
        self.queries = nn.Parameter(torch.randn(shapes, COARSE) * 0.1)
        self.mix = nn.Linear(2 * COARSE, COARSE)
        self.count = nn.Linear(COARSE, counts)
        self.colour = nn.Linear(COARSE, self.looks * counts)
        self.pattern = nn.Linear(COARSE, len(words.patterns))
        self.size = nn.Linear(COARSE, len(words.sizes))
        self.subject = nn.Linear(COARSE, 48)
        self.object = nn.Linear(COARSE, 48)
        self.relation = nn.Bilinear(48, 48, len(PREDICATES))
        self.setting = nn.Linear(COARSE, len(words.settings))
        steps = torch.linspace(-1, 1, 2 * TOKENS)
        place = torch.stack(torch.meshgrid(steps, steps, indexing="ij"))
        self.register_buffer("place", place, persistent=False)
        self.register_buffer("waves", torch.pi * torch.arange(1, WAVES + 1) / 2, persistent=False)

    def forward(self, latents: Tensor, t: Tensor) -> dict[str, Tensor]:
        """Logits of latents (N, 16, 16, 16) that have noise shares `t` (N,).

        Returns:
            where (N, shapes, 8, 8) and colour_where (N, looks, 8, 8), count (N, shapes, counts), colour (N,
            shapes, looks, counts), pattern and size (N, shapes, classes), setting (N, settings), and found
            (N, shapes, 192), which `relate` reads. The last look is a natural one. What `Realism` reads: fine
            (N, 96, 16, 16) and coarse (N, 192, 8, 8), of the blocks before and after the grid is halved.
        """
        phase = t[:, None] * self.waves
        told = torch.cat([phase.sin(), phase.cos()], 1)
        x = self.inlet(torch.cat([latents, self.place.expand(len(latents), -1, -1, -1)], 1))
        for block in self.blocks[:FINE_BLOCKS]:
            x = block(x, told)
        fine = x
        for block in self.blocks[FINE_BLOCKS:]:
            x = block(x, told)
        coarse = x
        x = F.silu(self.norm(x))
        where, value = self.where(x), self.value(x).flatten(2)
        scores = where.flatten(2).float()
        summed = torch.einsum("nst,ndt->nsd", scores.sigmoid().to(value), value) / TOKENS
        mean = torch.einsum("nst,ndt->nsd", scores.softmax(-1).to(value), value)
        found = F.silu(self.mix(torch.cat([summed, mean], -1)) + self.queries)
        return {
            "where": where,
            "colour_where": self.colour_where(x),
            "count": self.count(found),
            "colour": self.colour(found).unflatten(-1, (self.looks, -1)),
            "pattern": self.pattern(found),
            "size": self.size(found),
            "setting": self.setting(x.mean((2, 3))),
            "found": found,
            "fine": fine,
            "coarse": coarse,
        }

    def relate(self, found: Tensor, row: Tensor, a: Tensor, b: Tensor) -> Tensor:
        """Logits (M, predicates) that shape `a` stands so to shape `b` in picture `row`, each (M,)."""
        return self.relation(self.subject(found)[row, a], self.object(found)[row, b])

    def read(self, latents: Tensor, t: Tensor) -> dict[str, Tensor]:
        """What `forward` says, its products in bf16."""
        with mixed(latents.device.type):
            return self(latents, t)

    def grade(self, read: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Minus the log-likelihood of what is wanted (see `grades`) of pictures that were read: nats per
        picture (N,), by kind.
        """
        row, a, b = (wanted["relation"] != IGNORED).any(-1).nonzero(as_tuple=True)
        related = self.relate(read["found"].float(), row, a, b)
        result = {
            name: _surprise(read[name].float(), wanted[name])
            for name in ("count", "colour", "pattern", "size", "setting")
        }
        asked = wanted["relation"][row, a, b]
        each = F.binary_cross_entropy_with_logits(related, asked.clamp(min=0).float(), reduction="none")
        told = (each * (asked != IGNORED)).sum(-1)
        result["relation"] = torch.zeros(len(read["setting"])).to(told).index_add(0, row, told)
        if "where" in wanted:
            result["where"] = _locate(read["where"].float(), wanted["where"])
            result["colour_where"] = _locate(read["colour_where"][:, :-1].float(), wanted["colour_where"])
        return result


def _surprise(logits: Tensor, wanted: Tensor) -> Tensor:
    each = F.cross_entropy(logits.flatten(0, -2), wanted.flatten(), ignore_index=IGNORED, reduction="none")
    return each.view(len(wanted), -1).sum(1)


def _locate(logits: Tensor, wanted: Tensor) -> Tensor:
    """Per picture; a token where nothing stands is a class of its own with logit 0."""
    with_none = torch.cat([torch.zeros_like(logits[:, :1]), logits], 1)
    classes = torch.where(wanted == NONE, 0, wanted.long() + 1)
    return F.cross_entropy(with_none, classes, reduction="none").mean((1, 2)) * 4


def add_noise(latents: Tensor, t: Tensor, noise: torch.Generator) -> Tensor:
    """Latents (N, ...), packed or not, with noise shares `t` (N,)."""
    at = t.view(-1, *(1,) * (latents.ndim - 1))
    return (1 - at) * latents + at * normal(noise, *latents.shape).to(latents)


def train(
    words: Vocabulary,
    data: Mapping[str, Tensor],
    out: Path,
    profile: GraderProfile,
    *,
    minutes: float | None = None,
    resume: bool = True,
    device: str = "cpu",
) -> Grader:
    """Train a grader on latents `data` of a world of `words` (see `LatentCache`), or take the one in `out`.

    Its checkpoint and log are written to `out`, and the finished one to `out/grader.safetensors`.
    """
    torch.manual_seed(SEED)
    grader = Grader(words).to(device)
    finished = out / "grader.safetensors"
    if resume and finished.is_file():
        grader.load_state_dict(load_file(finished))
        return grader.requires_grad_(False).eval()
    training = Training(grader, optimisers(grader, profile.rate), out, decay=0.995)
    if resume:
        training.resume()
    held_out = max(1, len(data["index"]) // 32)

    def grade(rows: Tensor, noise: torch.Generator, t: Tensor) -> Losses:
        chosen = {name: value[rows] for name, value in data.items()}
        x = chosen["latents"].float()
        t = t.to(x)
        wanted = scene_targets(chosen["things"], words)
        wanted |= {name: chosen[kept] for name, kept in KEPT.items()}
        wanted["setting"] = wanted["setting"].long()
        graded = grader.grade(grader.read(add_noise(x, t, noise), t), wanted)
        return {name: value.mean() for name, value in graded.items()}

    def loss_at(draw: int) -> Losses:
        rng, noise = generator(SEED, draw), torch_generator(SEED, draw, device=device)
        rows = torch.from_numpy(rng.integers(held_out, len(data["index"]), size=profile.batch)).to(device)
        t = uniform(noise, len(rows))
        clear = uniform(noise, len(rows)) < CLEAR_SHARE
        return grade(rows, noise, torch.where(clear, CLEAR_NOISE * t, t))

    @torch.no_grad()
    def look(_step: int) -> Mapping[str, float]:
        state = {name: value.clone() for name, value in grader.state_dict().items()}
        grader.load_state_dict(training.average.state)
        rows = torch.arange(min(held_out, 512))
        measured: dict[str, float] = {}
        for t in (0.0, 0.3, 0.6, 0.9):
            graded = grade(rows, torch_generator(SEED, 0, 1, device), torch.full((len(rows),), t))
            measured |= {f"{name}_{t}": float(value) for name, value in graded.items()}
        grader.load_state_dict(state)
        return measured

    training.run(
        profile.steps,
        loss_at,
        rate_at=lambda step: schedule(step, profile.steps),
        minutes=minutes,
        every=min(250, profile.steps),
        look=look,
    )
    training.load_average()
    if training.team.leads:
        save_file({name: value.contiguous() for name, value in grader.state_dict().items()}, finished)
    training.team.wait()
    return grader.requires_grad_(False).eval()

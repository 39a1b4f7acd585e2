"""Recipe of the painter's autoencoder: f8, 16 latent channels, judged by what the critic still reads and by
the PSNR of things, not of pictures.

Crops first, because they are four times cheaper; full pictures for the last part, because GroupNorm sees
another world in a crop. Things weigh more than background, edges more than surfaces and chroma more than
luma: that is what a reader of the picture needs. Latents get a little noise: a painter's never lie exactly
where the encoder would put them, and what is written smaller than that it will never paint. A small reader on
the noisy latents (thrown away afterwards) keeps shape and colour linearly visible there, which is also where
the painter will have to put them.
"""

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor, nn

from diorama.vocabulary import Vocabulary, load_vocabulary
from models.embedded.painter import build_autoencoder, decode, encode
from models.embedded.profiles import AUTOENCODER, ProfileName
from models.embedded.shards import SHARD_BYTES
from models.embedded.training.loop import (
    IGNORED,
    Losses,
    Training,
    generator,
    mean_cross_entropy,
    optimisers,
    schedule,
    torch_generator,
)
from models.embedded.training.precision import mixed
from models.embedded.training.stream import Pictures, PictureStream
from models.embedded.training.taught import note_vocabulary
from models.embedded.training.widening import widen

SEED = 303
KL = 3e-4
CROPS = 0.75
"""Share of the steps on crops of half the side."""
KEEP = 0.03
"""Weight of agreeing with the autoencoder that a training starts from. At 0.5 latents stay where they were to
a variance of .0015, and details that they did not hold they never will."""
NOISE = 0.1
"""Standard deviation of the noise on latents, about that of normalised ones."""
EDGES = 2.0
"""Weight of the differences between neighbouring pixels: an absolute error alone is content with blur."""
ADAM_ONLY = ("conv_in", "conv_out", "reader")
COLOUR_AXES = torch.tensor([[0.299, 0.587, 0.114], [-0.169, -0.331, 0.5], [0.5, -0.419, -0.081]])
"""RGB to luma and two chroma axes (ITU-R BT.601)."""


class AutoencoderTraining(nn.Module):
    """The autoencoder and the reader on its latents."""

    def __init__(self, autoencoder: AutoencoderKL, words: Vocabulary) -> None:
        super().__init__()
        self.autoencoder = autoencoder
        channels = int(autoencoder.config["latent_channels"])
        self.reader = nn.Sequential(
            nn.Conv2d(channels, 64, 3, 1, 1),
            nn.GELU(),
            nn.Conv2d(64, 1 + len(words.shapes) + len(words.colours), 1),
        )


def train(
    profile: ProfileName,
    out: Path,
    *,
    steps: int | None = None,
    resume: bool = True,
    device: str = "cpu",
    vocabulary: str | None = None,
    start: Path | None = None,
    minutes: float | None = None,
) -> Path:
    """Train the autoencoder and save it as a diffusers folder in `out/autoencoder`, latents normalised, with
    a card that names the vocabulary; returns `out`.

    It sees the training drawings of `vocabulary` (None: the profile's own). With `start`, the folder of
    another autoencoder whose widths are the profile's or go into them, it begins with what that one does,
    keeps its normalisation, and its latents stay near: a painter that learnt in those can go on in these.
    `minutes` ends it after so long instead of after so many steps.

    Raises:
        ArtError: the vocabulary has cut-outs, and there is no whole sprite atlas.
        ForeignTraining: `out` holds the training of something else.
        NoMultiple: the widths of `start` do not go into the profile's.
    """
    recipe = AUTOENCODER[profile]
    vocabulary = vocabulary or recipe.vocabulary
    length = steps or recipe.steps
    words = load_vocabulary(vocabulary)
    torch.manual_seed(SEED)
    network = AutoencoderTraining(build_autoencoder(recipe.channels), words)
    teacher = None
    if start is not None:
        teacher = load_autoencoder(start)
        widen(network.autoencoder, teacher, SEED)
        teacher = teacher.to(device).requires_grad_(False)  # pyright: ignore[reportArgumentType]
    network = network.to(device)
    learners = optimisers(network, recipe.rate, recipe.muon_rate, ADAM_ONLY, kernels=True)
    training = Training(network, learners, out, decay=0.995)
    if resume:
        training.resume()
    stream = PictureStream(words, SEED, device=device)
    held_out = PictureStream(words, SEED + 1, device=device)

    def loss_at(draw: int) -> Losses:
        crops = training.spent(length, minutes) < length * CROPS
        # Four crops of each picture cost as much as one whole picture, and show its things often enough.
        pictures = recipe.batch if crops else recipe.batch // 2
        batch = stream.batch(draw * recipe.batch, pictures // 2 if crops else pictures)
        x, ids = batch.rgb.float() / 127.5 - 1, batch.ids.long()
        if crops:
            x, ids = _crops(batch, x, ids, generator(SEED, draw), pictures)
        return losses(network, words, batch, x, ids, torch_generator(SEED, draw), teacher)

    def look(_step: int) -> Mapping[str, float]:
        copy = build_autoencoder(recipe.channels)
        copy.load_state_dict(
            {name: value.cpu() for name, value in training.average.part("autoencoder").items()}
        )
        batch = held_out.batch(0, 2 * recipe.batch)
        errors = squared_errors(copy.eval(), batch.rgb.cpu())
        return {"psnr": psnr(errors), "psnr_things": psnr(errors[batch.ids.cpu() >= 0])}

    training.run(
        length,
        loss_at,
        rate_at=lambda step: schedule(step, length, decay=0.5),
        minutes=minutes,
        every=min(250, length),
        look=look,
    )
    if not (training.ended(length, minutes) and training.team.leads):
        return out
    training.load_average()
    autoencoder = network.autoencoder.cpu()
    if teacher is None:
        _normalise(autoencoder, held_out.batch(1000, min(256, 8 * recipe.batch)).rgb.cpu())
    else:
        as_before = {name: teacher.config[name] for name in ("shift_factor", "scaling_factor")}
        autoencoder.register_to_config(**as_before)
    save_autoencoder(autoencoder, out / "autoencoder", vocabulary)
    return out


def save_autoencoder(autoencoder: AutoencoderKL, folder: Path, vocabulary: str) -> None:
    """Write it into `folder` with the vocabulary that it was taught, large parts in shards."""
    autoencoder.register_to_config(_name_or_path="")  # where it started from says nothing elsewhere
    autoencoder.cpu().save_pretrained(folder, safe_serialization=True, max_shard_size=SHARD_BYTES)
    note_vocabulary(folder, vocabulary)


def _crops(
    batch: Pictures, x: Tensor, ids: Tensor, rng: np.random.Generator, count: int
) -> tuple[Tensor, Tensor]:
    """`count` crops of half the side, on the grid of the latents' cells; the box of a random thing centres
    most.
    """
    side, half = x.shape[-1], x.shape[-1] // 2
    crops: list[Tensor] = []
    masks: list[Tensor] = []
    for k in range(count):
        n = k % len(x)
        thing = batch.seen[n][int(rng.integers(len(batch.seen[n])))]
        centre = ((thing.box[1] + thing.box[3]) / 2, (thing.box[0] + thing.box[2]) / 2)
        top, left = (
            min(side - half, max(0, round((c * side - half / 2 + rng.uniform(-16, 16)) / 8) * 8))
            for c in centre
        )
        crops.append(x[n, :, top : top + half, left : left + half])
        masks.append(ids[n, top : top + half, left : left + half])
    return torch.stack(crops), torch.stack(masks)


def losses(
    network: AutoencoderTraining,
    words: Vocabulary,
    batch: Pictures,
    x: Tensor,
    ids: Tensor,
    rng: torch.Generator,
    teacher: AutoencoderKL | None = None,
) -> Losses:
    """Weighted reconstruction, KL, the reader's loss, and how far the latents are from those of a `teacher`.

    `x` is (N, 3, S, S) in -1..1, `ids` (N, S, S).
    """
    autoencoder = network.autoencoder
    with mixed(x.device.type):
        moments = autoencoder.encoder(x)
    mean, logvar = moments.float().chunk(2, 1)
    logvar = logvar.clamp(-12, 6)
    z = mean + ((logvar / 2).exp() + NOISE) * torch.randn(mean.shape, generator=rng).to(x.device)
    with mixed(x.device.type):
        y = autoencoder.decoder(z).float()
    result = {
        "pixels": pixel_loss(x, y, ids),
        "edges": EDGES * edge_loss(x, y),
        "kl": KL * (mean.square() + logvar.exp() - 1 - logvar).mean() * 0.5 * 16,
    }
    cells = ids.shape[-1] // 8
    centres = torch.arange(cells, device=ids.device) * 8 + 4
    grid = ids[:, centres][:, :, centres]
    noisy = z + 0.5 * z.detach().std() * torch.randn(z.shape, generator=rng).to(z)
    read = network.reader(noisy)
    here = grid >= 0
    source = torch.arange(len(x), device=ids.device) % len(batch.seen)
    shapes, colours = _class_tables(words, batch)
    n = source.view(-1, 1, 1).expand_as(grid)[here]
    presence = F.binary_cross_entropy_with_logits(read[:, 0], here.float())
    count = len(words.shapes)
    shape = F.cross_entropy(
        read.permute(0, 2, 3, 1)[here][:, 1 : 1 + count], shapes.to(n.device)[n, grid[here]]
    )
    colours = colours.to(n.device)[n, grid[here]]
    logits = read.permute(0, 2, 3, 1)[here][:, 1 + count :]
    colour = mean_cross_entropy(logits, colours)
    result["reader"] = 0.05 * (presence + shape + colour)
    if teacher is not None:
        with torch.no_grad(), mixed(x.device.type):
            before = encode(teacher, x).float()
        result["keep"] = KEEP * (mean - before).square().mean()
    return result


def pixel_loss(x: Tensor, y: Tensor, ids: Tensor) -> Tensor:
    """How far pictures `y` (N, 3, S, S) are from `x` in luma and chroma, things and details weighing more.

    `ids` (N, S, S) are the things' numbers, -1 for the background.
    """
    axes = COLOUR_AXES.to(x)
    error = torch.einsum("nchw,kc->nkhw", y - x, axes)
    detail = (x - F.avg_pool2d(x, 5, 1, 2)).abs().mean(1, keepdim=True)
    weight = 1 + 3 * (ids >= 0).unsqueeze(1).float() + 4 * detail
    scale = torch.tensor([1.0, 2.0, 2.0]).view(1, 3, 1, 1).to(x)
    return (weight * scale * (error.abs() + 4 * error.square())).mean()


def edge_loss(x: Tensor, y: Tensor) -> Tensor:
    """Mean absolute error of the differences between neighbours, in both directions."""
    across = F.l1_loss(y.diff(dim=-1), x.diff(dim=-1))
    return across + F.l1_loss(y.diff(dim=-2), x.diff(dim=-2))


def _class_tables(words: Vocabulary, batch: Pictures) -> tuple[Tensor, Tensor]:
    """Class indices (pictures, 8) of shape and colour by instance id; a natural look may have no colour."""
    shapes = torch.zeros(len(batch.seen), 8, dtype=torch.long)
    colours = torch.zeros(len(batch.seen), 8, dtype=torch.long)
    for n, things in enumerate(batch.seen):
        for k, thing in enumerate(things):
            shapes[n, k] = words.shape_names.index(thing.shape)
            known = thing.colour in words.colour_names
            colours[n, k] = words.colour_names.index(thing.colour) if known else IGNORED
    return shapes, colours


@torch.inference_mode()
def _normalise(autoencoder: AutoencoderKL, rgb: Tensor) -> None:
    """Set `shift_factor` and `scaling_factor` so that latents have mean 0 and standard deviation 1, as Flux
    expects.
    """
    z = torch.cat([encode(autoencoder, part.float() / 127.5 - 1) for part in rgb.split(16)])
    autoencoder.register_to_config(
        shift_factor=round(float(z.mean()), 4), scaling_factor=round(1 / float(z.std()), 4)
    )


def load_autoencoder(folder: Path) -> AutoencoderKL:
    """The autoencoder saved in `folder`, in fp32, on the CPU, not to be trained."""
    return AutoencoderKL.from_pretrained(folder, local_files_only=True, torch_dtype=torch.float32).eval()


@torch.inference_mode()
def reconstruct(autoencoder: AutoencoderKL, rgb: Tensor) -> Tensor:
    """uint8 pictures (N, 3, S, S) through encoder and decoder and back to uint8."""
    size = 16 if rgb.device.type == "cpu" else 256
    parts = [decode(autoencoder, encode(autoencoder, part.float() / 127.5 - 1)) for part in rgb.split(size)]
    return ((torch.cat(parts).clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)


def squared_errors(autoencoder: AutoencoderKL, rgb: Tensor) -> Tensor:
    """What comes back of uint8 pictures (N, 3, S, S): the mean squared error of each pixel (N, S, S)."""
    return (reconstruct(autoencoder, rgb).float() - rgb.float()).square().mean(1)


def psnr(errors: Tensor) -> float:
    """Peak signal to noise ratio in dB of the pixels with these squared errors.

    Of whole pictures it is the background's: at 32 dB, elephants came back as blots, with 22.5.
    """
    return round(10 * math.log10(255**2 / float(errors.mean())), 3)


def measure_psnr(autoencoder: AutoencoderKL, rgb: Tensor) -> float:
    """Peak signal to noise ratio in dB of what comes back of uint8 pictures (N, 3, S, S)."""
    return psnr(squared_errors(autoencoder, rgb))

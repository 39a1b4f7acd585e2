"""Recipe of an autoencoder's decoder alone: pictures get sharper, and latents stay what a painter learnt.

Whole pictures only, since the decoder's GroupNorm sees another world in a crop. The latents get a little
noise, because a painter's never lie exactly where the encoder would put them.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from diorama.vocabulary import load_vocabulary
from models.embedded.painter import encode
from models.embedded.profiles import DECODER, ProfileName
from models.embedded.training.autoencoder import (
    EDGES,
    NOISE,
    edge_loss,
    load_autoencoder,
    measure_psnr,
    pixel_loss,
    save_autoencoder,
)
from models.embedded.training.loop import Losses, Training, optimisers, schedule, torch_generator
from models.embedded.training.precision import mixed
from models.embedded.training.stream import PictureStream

SEED = 505


def train(
    profile: ProfileName,
    out: Path,
    *,
    start: Path,
    steps: int | None = None,
    resume: bool = True,
    device: str = "cpu",
    vocabulary: str | None = None,
    minutes: float | None = None,
) -> Path:
    """Teach the decoder of the autoencoder in `start` and save the whole in `out/autoencoder`; returns `out`.

    The encoder, `shift_factor` and `scaling_factor` are those of `start` to the bit. It sees the training
    drawings of `vocabulary` (None: the profile's own). `minutes` ends it after so long instead of after so
    many steps.

    Raises:
        ArtError: the vocabulary has cut-outs, and there is no whole sprite atlas.
        ForeignTraining: `out` holds the training of something else.
    """
    recipe = DECODER[profile]
    vocabulary = vocabulary or recipe.vocabulary
    length = steps or recipe.steps
    torch.manual_seed(SEED)
    autoencoder = load_autoencoder(start).to(device)  # pyright: ignore[reportArgumentType]
    training = Training(autoencoder.decoder, optimisers(autoencoder.decoder, recipe.rate), out, decay=0.995)
    if resume:
        training.resume()
    words = load_vocabulary(vocabulary)
    stream = PictureStream(words, SEED, device=device)
    held_out = PictureStream(words, SEED + 1, device=device)

    def loss_at(draw: int) -> Losses:
        batch = stream.batch(draw * recipe.batch, recipe.batch)
        x = batch.rgb.float() / 127.5 - 1
        return losses(autoencoder, x, batch.ids.long(), torch_generator(SEED, draw))

    def look(_step: int) -> Mapping[str, float]:
        learnt = {name: value.clone() for name, value in autoencoder.decoder.state_dict().items()}
        autoencoder.decoder.load_state_dict(training.average.state)
        psnr = measure_psnr(autoencoder, held_out.batch(0, 4 * recipe.batch).rgb)
        autoencoder.decoder.load_state_dict(learnt)
        return {"psnr": psnr}

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
    save_autoencoder(autoencoder, out / "autoencoder", vocabulary)
    return out


def losses(autoencoder: AutoencoderKL, x: Tensor, ids: Tensor, rng: torch.Generator) -> Losses:
    """Reconstruction and edge loss of pictures `x` (N, 3, S, S) in -1..1 with things `ids` (N, S, S)."""
    with torch.no_grad():
        z = encode(autoencoder, x)
    spread = NOISE / float(autoencoder.config["scaling_factor"])
    z = z + spread * torch.randn(z.shape, generator=rng).to(z)
    with mixed(x.device.type):
        y = autoencoder.decoder(z).float()
    return {"pixels": pixel_loss(x, y, ids), "edges": EDGES * edge_loss(x, y)}

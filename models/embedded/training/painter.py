"""Recipe of the painter: its encoders learn to read, then its transformer learns to paint by flow matching.

Noise share t = sigmoid(N(0.9, 1.1)), for a third of them sigmoid(N(-0.2, 1.1)); x_t = (1 - t) x + t e,
target e - x (arXiv 2403.03206 eq. 13). Two helps beside the velocity loss: tokens that may show things weigh
more than empty ones (lone small things vanish otherwise), and a head that is thrown away says, per token of a
middle block, which shape and colour stand there.
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, FluxPipeline
from torch import Tensor, nn

from diorama.vocabulary import load_vocabulary
from diorama.wording import lexicon
from models.embedded.painter import (
    assemble,
    build_pooled_encoder,
    build_text_encoder,
    build_tokenizer,
    build_transformer,
    count_tokens,
    encode_exactly,
    image_ids,
    load_painter,
)
from models.embedded.profiles import PAINTER, TEXT_TOKENS, PainterProfile, ProfileName
from models.embedded.shards import SHARD_BYTES
from models.embedded.training.autoencoder import load_autoencoder
from models.embedded.training.captions import Captions
from models.embedded.training.going_on import Finished, check_sizes, fit_inlets
from models.embedded.training.latents import NONE, TOKENS
from models.embedded.training.loop import (
    IGNORED,
    Losses,
    Training,
    generator,
    mean_cross_entropy,
    normal,
    optimisers,
    schedule,
    torch_generator,
    uniform,
)
from models.embedded.training.painters_world import SEED, open_rows, open_world
from models.embedded.training.precision import mixed
from models.embedded.training.reading import learn_to_read
from models.embedded.training.samples import draw_samples
from models.embedded.training.taught import note_vocabulary
from models.embedded.training.text import TextReader, lean_heads

THING_WEIGHT = 2.0
"""How much more a token weighs where the network itself expects a thing.

Only what the network sees may decide the weight. Weighing by where things really are, as this recipe did for
its first 112,000 pictures, makes the best velocity one that shows more things than there are: E[w v] / E[w]
instead of E[v]. The painter crowded its scenes.
"""
TIME_MEAN, TIME_SPREAD = 0.9, 1.1
"""Of the logit of the noise share. What stands where, and in which colour, is decided above t = 0.9, where a
sampler of 12 steps makes its first three. With a mean of 0.3, three pictures of a hundred were trained there:
after 524,000 pictures lone things were right (.93), and pairs had the right number and random places.
"""
DETAIL_SHARE, DETAIL_MEAN = 0.35, -0.2
"""A share of the pictures is trained at less noise, where solids are done and a giraffe gets its legs: after
486,000 pictures with names, layouts were right and things were still blots.
"""
SHIFT = 1.8
"""Moves the sampler's times towards noise, where small pictures decide their layout."""
STOCHASTIC = True
"""Whether each step of the sampler begins with fresh noise. What a step got wrong can be put right in the
next; a sampler that keeps its noise carries it to the end, and things that ran into each other stay so.
"""
ADAM_ONLY = ("embed", "norm", "proj_out", "reader", "layout", "time_text")


class PainterTraining(nn.Module):
    """Everything that learns, and the two heads that are thrown away."""

    def __init__(self, recipe: PainterProfile, tokens: int) -> None:
        super().__init__()
        words = load_vocabulary(recipe.vocabulary)
        self.transformer = build_transformer(recipe)
        self.text_encoder = build_text_encoder(recipe, tokens)
        lean_heads(self.text_encoder)
        self.pooled_encoder = build_pooled_encoder(recipe, tokens)
        self.reader = TextReader(recipe.text_width, words)
        self.shapes = len(words.shapes)
        self.layout = nn.Linear(32 * recipe.heads, 2 + self.shapes + len(words.colours))
        self.register_buffer("image_ids", image_ids(TOKENS), persistent=False)
        self.register_buffer("text_ids", torch.zeros(TEXT_TOKENS, 3), persistent=False)
        self.apart = False
        """Whether the layout's head learns from the painter and teaches it nothing."""
        self._hidden: Tensor | None = None
        middle = self.transformer.single_transformer_blocks[recipe.single // 2 - (recipe.single > 1)]
        middle.register_forward_hook(self._keep_hidden)

    def _keep_hidden(self, _module: nn.Module, _inputs: object, outputs: tuple[Tensor, Tensor]) -> None:
        self._hidden = outputs[1]

    def freeze_encoders(self) -> None:
        """Let the encoders be as they are while the transformer learns."""
        self.text_encoder.requires_grad_(False)
        self.pooled_encoder.requires_grad_(False)

    def read(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Word vectors (N, T, width) and prompt vectors (N, width) of token ids (N, T), as the pipeline
        computes them.
        """
        return self.text_encoder(ids).last_hidden_state, self.pooled_encoder(ids).pooler_output

    def velocity(self, x: Tensor, t: Tensor, states: Tensor, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """Velocity (N, 64, 64) at packed latents `x` and noise shares `t` (N,), and the layout logits."""
        with mixed(x.device.type):
            out = self.transformer(
                hidden_states=x,
                timestep=t,
                pooled_projections=pooled,
                encoder_hidden_states=states,
                txt_ids=self.text_ids,
                img_ids=self.image_ids,
                return_dict=False,
            )[0]
        assert self._hidden is not None
        hidden = self._hidden.detach() if self.apart else self._hidden
        return out.float(), self.layout(hidden.float())


def train(
    profile: ProfileName,
    out: Path,
    *,
    autoencoder: Path,
    critic: Path | None = None,
    judge: Path | None = None,
    look_every: int | None = None,
    vocabulary: str | None = None,
    steps: int | None = None,
    scenes: int | None = None,
    start: Path | None = None,
    reread: bool = False,
    resume: bool = True,
    compiled: bool = False,
    crew: int = 0,
    minutes: float | None = None,
    device: str = "cpu",
) -> Path:
    """Train the painter and save the pipeline in `out/painter`; returns that folder.

    Args:
        profile: sizes, vocabulary and length.
        out: receives latents/, text/, training.pt, log.jsonl, samples/ and painter/.
        autoencoder: folder of a trained autoencoder.
        critic: folder of a trained critic that measures the samples (None: samples are only drawn).
        judge: folder of a trained judge that measures them too, as `held_out_judge_<family>` in the log; it
            is shown the profile's `judged` first samples of each family, at least one.
        look_every: overrides after how many steps samples are drawn.
        vocabulary: overrides the profile's sub-vocabulary.
        steps: overrides the profile's length.
        scenes: overrides how many pictures are rendered and encoded; more may be added another day.
        start: folder of a painter of the same widths, with as many blocks or fewer, to go on from. Its
            encoders learn the words that are new to them; without any, they stay as they are.
        reread: with `start`, let a fresh text encoder learn to read in place of the painter's own.
        resume: go on from what `out` holds.
        compiled: compile the transformer, which takes a C++ compiler and a minute and makes steps a tenth
            shorter on a CPU.
        crew: how many processes render scenes and draw their captions, on CPUs, while the painter learns from
            those before. Each scene has a fixed set of captions then, and what is drawn depends on how many
            scenes are there by then: only without a crew is a training the same each time.
        minutes: end after so long instead of after so many steps.
        device: "cpu" or "cuda:0".

    Raises:
        ArtError: the vocabulary has cut-outs, and there is no whole sprite atlas.
        ForeignLatents, ForeignTraining: `out` holds the pictures or the training of something else, or
            `start` has other widths or more blocks.
    """
    recipe = recipe_of(profile, vocabulary)
    length = steps or recipe.steps
    if start is not None:
        check_sizes(start, recipe)
    words = load_vocabulary(recipe.vocabulary)
    vae = load_autoencoder(autoencoder)
    stream = open_world(words, "cpu" if crew else device)
    captions = Captions(stream.world, build_tokenizer(lexicon(), lexicon(words)), device)
    rows = open_rows(stream, captions, autoencoder, out / "latents", scenes or recipe.scenes, device, crew)
    torch.manual_seed(SEED)
    network = PainterTraining(recipe, count_tokens(lexicon())).to(device)
    if start is None:
        learn_to_read(network, captions, recipe, out / "text", resume, crew)
    else:
        go_on_from(start, network, captions, recipe, out / "text", reread=reread, resume=resume)
    network.freeze_encoders()
    if compiled:
        network.transformer.compile()
    training = Training(
        network, optimisers(network, recipe.rate, recipe.muon_rate, ADAM_ONLY), out, decay=0.999
    )
    if resume:
        training.resume()

    def loss_at(draw: int) -> Losses:
        rng, noise = generator(SEED, draw), torch_generator(SEED, draw, device=device)
        return losses(network, captions, rows.draw(rng, recipe.batch), rng, noise)

    def look(step: int) -> Mapping[str, float]:
        pipeline = load_painter(save_average(recipe, training.average.state, vae, out / "painter"))
        sheet = out / "samples" / f"{step:07d}.png"
        return draw_samples(
            pipeline,
            recipe.vocabulary,
            critic,
            sheet,
            judge=judge,
            judged=max(1, recipe.judged),
            per_family=min(8, recipe.batch // 4),
            device=device,
        )

    def rate_at(step: int) -> float:
        return schedule(step, length, warmup=200)

    often = look_every or recipe.look_every
    training.run(
        length,
        loss_at,
        rate_at=rate_at,
        minutes=minutes,
        every=min(max(200, often // 5), often, length),
        look=look,
        look_every=often,
    )
    if training.team.leads:
        save_average(recipe, training.average.state, vae, out / "painter")
    return out / "painter"


def recipe_of(profile: ProfileName, vocabulary: str | None) -> PainterProfile:
    """The profile's sizes, for its own sub-vocabulary or another."""
    recipe = PAINTER[profile]
    return replace(recipe, vocabulary=vocabulary or recipe.vocabulary)


def export(profile: ProfileName, out: Path, autoencoder: Path, vocabulary: str | None = None) -> Path:
    """Save the painter as it is at the last checkpoint in `out`, without ending its training; returns the
    folder. `vocabulary` is the training's, where it was not the profile's.

    Raises:
        FileNotFoundError: `out` holds no checkpoint.
    """
    state = torch.load(out / "training.pt", map_location="cpu", weights_only=True)
    vae = load_autoencoder(autoencoder)
    recipe = recipe_of(profile, vocabulary)
    return save_average(recipe, state["average"], vae, out / "painter")


def save_average(
    recipe: PainterProfile, average: Mapping[str, Tensor], vae: AutoencoderKL, folder: Path
) -> Path:
    """Save averaged weights as a painter that says which words it was taught; returns `folder`.

    Done at every look too: an accelerator may be taken back before a training is at its end.
    """
    save_painter(build_pipeline(recipe, average, deepcopy(vae)), folder)
    note_vocabulary(folder, recipe.vocabulary)
    return folder


def build_pipeline(recipe: PainterProfile, average: Mapping[str, Tensor], vae: AutoencoderKL) -> FluxPipeline:
    """The averaged weights as a pipeline on the CPU; its tokenizer knows the recipe's sub-vocabulary only."""
    network = PainterTraining(recipe, count_tokens(lexicon()))
    network.load_state_dict({name: value.cpu() for name, value in average.items()})
    network = network.eval()
    tokenizer = build_tokenizer(lexicon(), lexicon(load_vocabulary(recipe.vocabulary)))
    return assemble(
        network.transformer,
        network.text_encoder,
        network.pooled_encoder,
        tokenizer,
        vae.cpu(),
        SHIFT,
        STOCHASTIC,
    )


def save_painter(pipeline: FluxPipeline, folder: Path) -> Path:
    """Write the pipeline in fp16, large parts in shards."""
    for part in (pipeline.transformer, pipeline.text_encoder, pipeline.text_encoder_2, pipeline.vae):
        part.to(torch.float16)
    encode_exactly(pipeline.vae)
    pipeline.vae.register_to_config(_name_or_path="")  # a path of the machine that trained it
    pipeline.save_pretrained(folder, safe_serialization=True, max_shard_size=SHARD_BYTES)
    return folder


def go_on_from(
    start: Path,
    network: PainterTraining,
    captions: Captions,
    recipe: PainterProfile,
    text: Path,
    *,
    reread: bool,
    resume: bool,
) -> None:
    """Take over what a finished painter has learnt; the heads that were thrown away begin anew.

    The layout's head stays apart from here on. Taught by a head that knows nothing, a good painter's error at
    a share of .85 rose from .435 to .448 in 242 steps at a tenth of the rates.
    """
    network.apart = True
    finished = Finished.load(start)
    finished.copy_transformer(network.transformer)
    finished.copy_encoder(network.pooled_encoder, finished.pooled_encoder, captions.tokenizer)
    if not reread:
        finished.copy_encoder(network.text_encoder, finished.text_encoder, captions.tokenizer)
    if reread or finished.lacks(captions.tokenizer):
        learn_to_read(network, captions, recipe, text, resume)
        fit_inlets(finished, network.transformer, network.text_encoder, network.pooled_encoder, captions)


def losses(
    network: PainterTraining,
    captions: Captions,
    rows: Mapping[str, Tensor],
    rng: np.random.Generator,
    noise: torch.Generator,
) -> Losses:
    """Weighted velocity loss and layout loss on cached latents."""
    x = pack(rows["latents"].float())
    states, pooled = network.read(captions.of(rows, rng, noise))
    late = uniform(noise, len(x)) < DETAIL_SHARE
    mean = torch.where(late, DETAIL_MEAN, TIME_MEAN)
    t = torch.sigmoid(normal(noise, len(x)) * TIME_SPREAD + mean).to(x)
    e = normal(noise, *x.shape).to(x)
    at = t.view(-1, 1, 1)
    velocity, layout = network.velocity((1 - at) * x + at * e, t, states, pooled)
    cover = rows["cover"].flatten(1).float() / 255
    weight = 1 + THING_WEIGHT * layout[..., 0].detach().sigmoid()
    error = (velocity - (e - x)).square().mean(-1)
    presence = F.binary_cross_entropy_with_logits(layout[..., 0], cover)
    shape = _layout_loss(layout[..., 2 : 2 + network.shapes], rows["shape"])
    colour = _layout_loss(layout[..., 2 + network.shapes :], rows["colour"])
    return {
        "velocity": (weight * error).sum() / weight.sum(),
        "layout": 0.5 * (presence + shape + colour),
    }


def _layout_loss(logits: Tensor, wanted: Tensor) -> Tensor:
    """Cross-entropy of the tokens that have a class: a few pictures of natural looks may show no colour."""
    classes = wanted.flatten().long()
    return mean_cross_entropy(logits.flatten(0, 1), classes.masked_fill(classes == NONE, IGNORED))


def pack(latents: Tensor) -> Tensor:
    """Latents (N, 16, 16, 16) to tokens (N, 64, 64), two by two cells each, in FluxPipeline's order."""
    n, c, h, w = latents.shape
    return latents.view(n, c, h // 2, 2, w // 2, 2).permute(0, 2, 4, 1, 3, 5).reshape(n, h * w // 4, c * 4)


def unpack(tokens: Tensor) -> Tensor:
    """Latents (N, 16, 16, 16) of tokens (N, 64, 64); the inverse of `pack`."""
    n = len(tokens)
    grid = tokens.view(n, TOKENS, TOKENS, -1, 2, 2).permute(0, 3, 1, 4, 2, 5)
    return grid.reshape(n, -1, 2 * TOKENS, 2 * TOKENS)

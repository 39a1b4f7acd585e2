"""Going on from a finished painter, in a world with more words than its own perhaps, or with more blocks.

Its words keep their vectors, by word and not by number. Encoders that have to learn more words drift, so the
transformer's two inlets are fitted to the drifted vectors: what it has learnt to paint it still understands.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import FluxPipeline, FluxTransformer2DModel
from diffusers.utils import logging as diffusers_logging
from torch import Tensor, nn
from transformers import CLIPTextModel, PreTrainedTokenizerFast, T5EncoderModel
from transformers.utils import logging as transformers_logging

from diorama.vocabulary import load_vocabulary
from diorama.world import World
from models.embedded.painter import UNKNOWN, load_painter
from models.embedded.profiles import PainterProfile
from models.embedded.training.captions import Captions
from models.embedded.training.loop import ForeignTraining, generator
from models.embedded.training.taught import vocabulary_of

FITTED = 4096
"""Captions that the inlets are fitted on."""
RIDGE = 1e-3
"""A little, because padding repeats a few vectors thousands of times."""
OUTLETS = {
    "transformer_blocks": ("attn.to_out.", "attn.to_add_out.", "ff.net.2.", "ff_context.net.2."),
    "single_transformer_blocks": ("proj_out.",),
}
"""By stack of blocks, the layers through which a block adds to its stream."""
Encoder = T5EncoderModel | CLIPTextModel


@dataclass(frozen=True, slots=True)
class Finished:
    """A painter to go on from, and the name of the vocabulary that it was taught (None: nobody says)."""

    pipeline: FluxPipeline
    vocabulary: str | None

    @classmethod
    def load(cls, folder: Path) -> "Finished":
        """The painter saved in `folder`, on the CPU, progress bars off."""
        diffusers_logging.disable_progress_bar()
        transformers_logging.disable_progress_bar()
        return cls(load_painter(folder), vocabulary_of(folder))

    @property
    def text_encoder(self) -> T5EncoderModel:
        """One vector per word."""
        return self.pipeline.text_encoder_2  # pyright: ignore[reportReturnType]

    @property
    def pooled_encoder(self) -> CLIPTextModel:
        """One vector per prompt."""
        return self.pipeline.text_encoder  # pyright: ignore[reportReturnType]

    @property
    def tokenizer(self) -> PreTrainedTokenizerFast:
        """Reads the words that it knows, and others as unknown."""
        return self.pipeline.tokenizer_2  # pyright: ignore[reportReturnType]

    def copy_transformer(self, transformer: FluxTransformer2DModel) -> None:
        """Give `transformer`, which may have more blocks, what the finished one has learnt.

        More blocks begin by adding nothing (Net2Net's deeper student, arXiv 1511.05641, section 2.3), spread
        between those that were there: the painter paints what it painted.
        """
        state = dict(self.pipeline.transformer.state_dict())
        for stack, outlets in OUTLETS.items():
            theirs = len(getattr(self.pipeline.transformer, stack))
            ours = len(getattr(transformer, stack))
            places = {str((number + 1) * ours // theirs - 1): str(number) for number in range(theirs)}
            for name, fresh in transformer.state_dict().items():
                if not name.startswith(f"{stack}."):
                    continue
                _, number, rest = name.split(".", 2)
                if number in places:
                    state[name] = self.pipeline.transformer.state_dict()[f"{stack}.{places[number]}.{rest}"]
                else:
                    state[name] = torch.zeros_like(fresh) if rest.startswith(outlets) else fresh
        transformer.load_state_dict(state)

    def copy_encoder(self, encoder: Encoder, theirs: Encoder, tokenizer: PreTrainedTokenizerFast) -> None:
        """Give `encoder` what `theirs`, of its sizes, has learnt; new words keep their fresh vectors."""
        words, known = tokenizer.get_vocab(), self.tokenizer.get_vocab()
        if words == known and encoder.config.vocab_size == theirs.config.vocab_size:
            # Vectors that no word has yet stay as they are, too: what is saved again is the same to the byte.
            encoder.load_state_dict(theirs.state_dict())
            return
        rows = torch.tensor([(words[word], known[word]) for word in words if word in known])
        state = encoder.state_dict()
        for name, value in theirs.state_dict().items():
            if value.shape[:1] == (theirs.config.vocab_size,):
                state[name][rows[:, 0]] = value[rows[:, 1]].to(state[name])
            else:
                state[name].copy_(value)

    def lacks(self, tokenizer: PreTrainedTokenizerFast) -> list[str]:
        """The words of `tokenizer` that it does not know."""
        known = self.tokenizer.get_vocab()
        return sorted(word for word in tokenizer.get_vocab() if word not in known)


def check_sizes(start: Path, recipe: PainterProfile) -> None:
    """Refuse a painter that a profile's cannot go on from, before anything is rendered.

    Raises:
        ForeignTraining: it has other widths, or more blocks.
    """
    saved = json.loads((start / "transformer" / "config.json").read_text("utf-8"))
    text = json.loads((start / "text_encoder_2" / "config.json").read_text("utf-8"))
    blocks = {"double": saved["num_layers"], "single": saved["num_single_layers"]}
    widths = {
        "heads": saved["num_attention_heads"],
        "text_width": saved["joint_attention_dim"],
        "text_layers": text["num_layers"],
    }
    theirs = widths | blocks
    ours = {name: getattr(recipe, name) for name in theirs}
    if any(ours[name] != widths[name] for name in widths) or any(
        ours[name] < blocks[name] for name in blocks
    ):
        raise ForeignTraining(
            f"the painter in {start} has other sizes ({theirs}) than the profile's ({ours}): train from the "
            "beginning, without --start"
        )


@torch.no_grad()
def fit_inlets(
    finished: Finished,
    transformer: FluxTransformer2DModel,
    text_encoder: T5EncoderModel,
    pooled_encoder: CLIPTextModel,
    captions: Captions,
) -> None:
    """Fold into the transformer's first layers the linear maps that best turn the new encoders' vectors into
    those that it has learnt with, over captions that both can read.

    Raises:
        ForeignTraining: they can read too few in common.
    """
    prompts = _shared_prompts(finished, captions)
    theirs = Captions(captions.world, finished.tokenizer, "cpu").encode(prompts)
    ours = captions.encode(prompts)
    _fold(
        transformer.context_embedder,
        text_encoder(ours).last_hidden_state,
        finished.text_encoder(theirs).last_hidden_state,
    )
    _fold(
        transformer.time_text_embed.text_embedder.linear_1,
        pooled_encoder(ours).pooler_output,
        finished.pooled_encoder(theirs).pooler_output,
    )


def _shared_prompts(finished: Finished, captions: Captions) -> Sequence[str]:
    world = captions.world
    if finished.vocabulary is not None:
        world = World(load_vocabulary(finished.vocabulary), world.seed, split="train")
    rng = generator(world.seed, 0, 8)
    drawn = Captions(world, finished.tokenizer, "cpu").draw(rng.integers(2**40, size=FITTED).tolist(), rng)
    readers = (captions.tokenizer, finished.tokenizer)
    shared = [
        prompt
        for prompt in drawn
        if not any(reader.convert_tokens_to_ids(UNKNOWN) in reader(prompt).input_ids for reader in readers)
    ]
    if len(shared) < FITTED // 16:
        raise ForeignTraining(
            f"the painter of --start can read {len(shared)} of {FITTED} captions: the two vocabularies share "
            "too few words; train from the beginning, without --start"
        )
    return shared


def _fold(layer: nn.Linear, ours: Tensor, theirs: Tensor) -> None:
    x, y = ours.flatten(0, -2).double(), theirs.flatten(0, -2).to(ours.device).double()
    x = torch.cat([x, torch.ones_like(x[:, :1])], dim=1)
    fit = torch.linalg.solve(x.T @ x + RIDGE * torch.eye(x.shape[1]).to(x), x.T @ y)
    layer.bias += layer.weight @ fit[-1].to(layer.weight)
    layer.weight.copy_(layer.weight @ fit[:-1].T.to(layer.weight))

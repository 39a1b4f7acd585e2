"""The painter: a genuine, small Flux pipeline of diffusers, built from parts trained here.

Knows how the parts fit together and how they are saved. Knows nothing about training, and nothing about the
diorama except the words in its tokenizer.
"""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, PreTrainedTokenizerFast, T5Config, T5EncoderModel

from models.embedded.profiles import TEXT_TOKENS, PainterProfile
from models.step_noise import own_noise

LATENT_CHANNELS = 16
PAD, END, START, UNKNOWN = "<pad>", "</s>", "<s>", "<unk>"


def build_autoencoder(channels: Sequence[int]) -> AutoencoderKL:
    """An untrained f8 autoencoder with 16 latent channels; `channels` are its four levels.

    One norm group: with as many groups as channels GroupNorm forgets how bright a channel is, and with it the
    colours of walls and floors (17 dB after 500 steps, grey backgrounds).
    """
    blocks: dict[str, Any] = {
        "down_block_types": ("DownEncoderBlock2D",) * len(channels),
        "up_block_types": ("UpDecoderBlock2D",) * len(channels),
        "block_out_channels": tuple(channels),
    }
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        **blocks,
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=1,
        sample_size=128,
        mid_block_add_attention=False,
        use_quant_conv=False,
        use_post_quant_conv=False,
        scaling_factor=1.0,
        shift_factor=0.0,
    )


def encode(autoencoder: AutoencoderKL, pixels: Tensor) -> Tensor:
    """Mean latents (N, 16, S/8, S/8), not normalised, of pixels (N, 3, S, S) in -1..1."""
    return autoencoder.encoder(pixels).chunk(2, 1)[0]


def decode(autoencoder: AutoencoderKL, latents: Tensor) -> Tensor:
    """Pixels (N, 3, S, S), about -1..1, of latents that are not normalised."""
    return autoencoder.decoder(latents)


def image_ids(side: int) -> Tensor:
    """The rotary positions (side * side, 3) of Flux's image tokens: 0, row, column."""
    cells = torch.arange(side, dtype=torch.float32)
    rows, columns = torch.meshgrid(cells, cells, indexing="ij")
    return torch.stack([torch.zeros_like(rows), rows, columns], -1).flatten(0, 1)


def count_tokens(lexicon: Sequence[str]) -> int:
    """Rows of an embedding for `lexicon` and the special tokens."""
    return len(lexicon) + 4


def build_tokenizer(lexicon: Sequence[str], known: Collection[str] | None = None) -> PreTrainedTokenizerFast:
    """A word-level tokenizer over `lexicon`, padding every prompt to TEXT_TOKENS and closing it with an end
    token.

    Words that are not `known` (None: all are) keep their numbers for a painter that may learn them later, but
    this tokenizer reads them as unknown: a painter that never saw orange must not be asked for it in silence.
    """
    words = {
        token: index
        for index, token in enumerate([PAD, END, START, UNKNOWN, *lexicon])
        if known is None or index < 4 or token in known
    }
    tokenizer = Tokenizer(WordLevel(words, unk_token=UNKNOWN))
    tokenizer.normalizer = Lowercase()  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.pre_tokenizer = Whitespace()  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.post_processor = TemplateProcessing(single=f"$A {END}", special_tokens=[(END, words[END])])  # pyright: ignore[reportAttributeAccessIssue]
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        bos_token=START,
        unk_token=UNKNOWN,
        model_max_length=TEXT_TOKENS,
    )


def build_transformer(recipe: PainterProfile) -> FluxTransformer2DModel:
    """An untrained Flux transformer; heads are 32 wide, two axes of 12 rotary channels for the grid and 8 for
    text.
    """
    return FluxTransformer2DModel(
        patch_size=1,
        in_channels=4 * LATENT_CHANNELS,
        num_layers=recipe.double,
        num_single_layers=recipe.single,
        attention_head_dim=32,
        num_attention_heads=recipe.heads,
        joint_attention_dim=recipe.text_width,
        pooled_projection_dim=recipe.text_width,
        guidance_embeds=False,
        axes_dims_rope=(8, 12, 12),
    )


def build_text_encoder(recipe: PainterProfile, words: int) -> T5EncoderModel:
    """An untrained T5 encoder: one vector per word of the prompt."""
    return T5EncoderModel(
        T5Config(
            vocab_size=words,
            d_model=recipe.text_width,
            d_kv=32,
            d_ff=4 * recipe.text_width,
            num_layers=recipe.text_layers,
            num_heads=recipe.text_width // 32,
            relative_attention_num_buckets=32,
            relative_attention_max_distance=TEXT_TOKENS,
            dropout_rate=0.0,
            feed_forward_proj="gated-gelu",
            pad_token_id=0,
            eos_token_id=1,
        )
    )


def build_pooled_encoder(recipe: PainterProfile, words: int) -> CLIPTextModel:
    """An untrained CLIP text encoder: one vector per prompt, read at its end token."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=words,
            hidden_size=recipe.text_width,
            intermediate_size=4 * recipe.text_width,
            num_hidden_layers=1,
            num_attention_heads=recipe.text_width // 32,
            max_position_embeddings=TEXT_TOKENS,
            projection_dim=recipe.text_width,
            pad_token_id=0,
            bos_token_id=2,
            eos_token_id=1,
        )
    )


def assemble(
    transformer: FluxTransformer2DModel,
    text_encoder: T5EncoderModel,
    pooled_encoder: CLIPTextModel,
    tokenizer: PreTrainedTokenizerFast,
    autoencoder: AutoencoderKL,
    shift: float = 1.0,
    stochastic: bool = False,
) -> FluxPipeline:
    """The parts as the stock pipeline that diffusers saves and loads. `shift` moves the sampling times
    towards noise; a `stochastic` sampler begins each step with fresh noise.
    """
    pipeline = FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=shift, stochastic_sampling=stochastic),
        vae=autoencoder,
        text_encoder=pooled_encoder,
        tokenizer=tokenizer,  # pyright: ignore[reportArgumentType]
        text_encoder_2=text_encoder,
        tokenizer_2=tokenizer,  # pyright: ignore[reportArgumentType]
        transformer=transformer,
    )
    return own_noise(pipeline)


def load_painter(path: Path | str, device: str = "cpu", **parts: Any) -> FluxPipeline:
    """The painter saved in the folder `path`, in fp32 on a CPU and bf16 elsewhere, progress bars off. `parts`
    take the place of saved ones.

    Raises:
        FileNotFoundError: `path` holds no pipeline.
    """
    folder = Path(path)
    if not (folder / "model_index.json").is_file():
        raise FileNotFoundError(f"{folder} holds no pipeline (no model_index.json); run `maulstick doctor`")
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    pipeline = FluxPipeline.from_pretrained(
        folder, dtype=dtype, use_safetensors=True, local_files_only=True, **parts
    )
    pipeline.set_progress_bar_config(disable=True)
    encode_exactly(pipeline.vae)
    return own_noise(pipeline).to(device)


@torch.no_grad()
def encode_exactly(autoencoder: AutoencoderKL) -> None:
    """Let stock pipelines, which draw their latents around what is encoded, draw the mean. Only means are
    trained; the variances beside them say nothing.
    """
    last: Any = autoencoder.encoder.conv_out
    last.weight[LATENT_CHANNELS:] = 0
    last.bias[LATENT_CHANNELS:] = -30  # diffusers' lower bound of a log variance

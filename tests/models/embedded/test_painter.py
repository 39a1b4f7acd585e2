"""The painter's parts: its tokenizer reads what the diorama writes, and a missing folder is named."""

from pathlib import Path
from random import Random

import pytest
import torch

from diorama.draws import TRAINING_FAMILIES, draw_graph
from diorama.vocabulary import load_vocabulary
from diorama.wording import STYLES, lexicon, say, words
from models.backends import WEIGHTS
from models.embedded.painter import build_tokenizer, encode, load_painter
from models.embedded.profiles import TEXT_TOKENS


def test_tokenizer_knows_every_word_of_every_style() -> None:
    tokenizer = build_tokenizer(lexicon())
    rng, vocabulary = Random(5), load_vocabulary()
    for number in range(300):
        graph = draw_graph(TRAINING_FAMILIES[number % len(TRAINING_FAMILIES)], rng, vocabulary)
        prompt = say(graph, list(STYLES)[number % len(STYLES)], rng)
        tokens = tokenizer.convert_ids_to_tokens(tokenizer(prompt).input_ids)
        assert tokens[:-1] == words(prompt)
        assert tokens[-1] == tokenizer.eos_token


def test_prompts_are_padded_to_one_length() -> None:
    tokenizer = build_tokenizer(lexicon())
    ids = tokenizer(["a cube", ""], padding="max_length", max_length=TEXT_TOKENS).input_ids
    assert [len(row) for row in ids] == [TEXT_TOKENS, TEXT_TOKENS]
    assert ids[1][0] == tokenizer.eos_token_id


def test_a_missing_painter_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="maulstick doctor"):
        load_painter(tmp_path)


def test_stock_pipelines_encode_what_was_trained() -> None:
    autoencoder = load_painter(WEIGHTS / "painter").vae
    picture = torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.no_grad():
        drawn = autoencoder.encode(picture).latent_dist.sample(torch.Generator().manual_seed(2))
        assert torch.allclose(drawn, encode(autoencoder, picture), atol=1e-4)

"""The text encoder's start: with heads that lean to their neighbours it soon knows what belongs to what."""

from random import Random

import torch
import torch.nn.functional as F

from diorama.vocabulary import load_vocabulary
from diorama.wording import lexicon
from models.embedded.painter import build_text_encoder, build_tokenizer, count_tokens
from models.embedded.profiles import PAINTER, TEXT_TOKENS
from models.embedded.training.text import lean_heads

WORDS = load_vocabulary("cpu")
SHAPE_PLACES = (5, 9)
"""Of the shapes in "a photo of a RED CUBE and a BLUE SPHERE"."""


def share_bound(*, leaning: bool, steps: int = 60) -> float:
    """How often the vector at a shape's word tells that shape's colour after so many steps of learning."""
    torch.manual_seed(0)
    encoder = build_text_encoder(PAINTER["cpu"], count_tokens(lexicon()))
    if leaning:
        lean_heads(encoder)
    tokenizer = build_tokenizer(lexicon(), lexicon(WORDS))
    head = torch.nn.Linear(PAINTER["cpu"].text_width, len(WORDS.colours))
    learner = torch.optim.AdamW([*encoder.parameters(), *head.parameters()], lr=1e-3)

    def read(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        rng = Random(seed)
        prompts: list[str] = []
        colours: list[list[int]] = []
        for _ in range(32):
            a, b = rng.sample(WORDS.shape_names, 2)
            said = rng.sample(range(len(WORDS.colours)), 2)
            c, d = (WORDS.colour_names[colour] for colour in said)
            prompts.append(f"a photo of a {c} {a} and a {d} {b}")
            colours.append(said)
        ids = tokenizer(prompts, padding="max_length", max_length=TEXT_TOKENS, return_tensors="pt").input_ids
        return head(encoder(ids).last_hidden_state[:, SHAPE_PLACES]), torch.tensor(colours)

    for step in range(steps):
        logits, wanted = read(step)
        learner.zero_grad()
        F.cross_entropy(logits.flatten(0, 1), wanted.flatten()).backward()
        learner.step()
    with torch.no_grad():
        logits, wanted = read(steps)
    return float((logits.argmax(-1) == wanted).float().mean())


def test_leaning_heads_bind_colours_to_shapes_soon() -> None:
    assert share_bound(leaning=True) > 0.95
    assert share_bound(leaning=False) < 0.75

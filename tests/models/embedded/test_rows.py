"""Latents that other processes make while a training draws from them."""

from pathlib import Path

import numpy as np
import pytest
import torch

from diorama.parsing import parse
from diorama.vocabulary import load_vocabulary
from diorama.wording import lexicon
from models.embedded.painter import build_autoencoder, build_tokenizer
from models.embedded.training.captions import TOLD, Captions
from models.embedded.training.latents import NONE, LatentCache
from models.embedded.training.loop import torch_generator
from models.embedded.training.painters_world import RECOLOURED, open_rows, open_world, weigh_rows
from models.embedded.training.rows import Rows

WORDS = load_vocabulary("tiny")
SCENES = 12


@pytest.fixture(scope="module")
def autoencoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("vae")
    build_autoencoder((4, 4, 8, 8)).save_pretrained(folder)
    return folder


def captions() -> Captions:
    return Captions(open_world(WORDS).world, build_tokenizer(lexicon(), lexicon(WORDS)), "cpu")


@pytest.fixture(scope="module")
def crewed(autoencoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Rows:
    folder = tmp_path_factory.mktemp("crewed")
    return open_rows(open_world(WORDS), captions(), autoencoder, folder, SCENES, "cpu", crew=2)


def test_a_crew_makes_the_same_rows_and_captions_beside_them(
    autoencoder: Path, crewed: Rows, tmp_path: Path
) -> None:
    alone = open_rows(open_world(WORDS), captions(), autoencoder, tmp_path, SCENES, "cpu").all()
    beside = crewed.all()
    assert set(beside) == {*alone, "captions"}
    for name, value in alone.items():
        assert torch.equal(value, beside[name]), name
    assert beside["captions"].shape == (SCENES, TOLD, 40)
    drawn = crewed.draw(np.random.default_rng(0), 5)
    assert {len(value) for value in drawn.values()} == {5}


def test_captions_that_were_drawn_ahead_speak_of_their_pictures(crewed: Rows) -> None:
    told, rows = captions(), crewed.all()
    for index, drawn in zip(rows["index"].tolist(), rows["captions"], strict=True):
        asked = {group.shape for group in told.world.graph(index).groups}
        for ids in drawn:
            prompt = told.tokenizer.decode(ids.long(), skip_special_tokens=True).removesuffix(" .")
            graph = parse(prompt).graph
            assert graph is not None and {group.shape for group in graph.groups} == asked, prompt
    picked = told.pick(rows["captions"], torch_generator(1, 0))
    own = (rows["captions"].long() == picked[:, None]).all(-1).any(-1)
    silent = (picked == told.encode([""])).all(-1)
    assert bool((own | silent).all())


def test_rows_that_nobody_makes_are_not_waited_for(tmp_path: Path) -> None:
    cache = LatentCache(open_world(WORDS), tmp_path, SCENES)
    with pytest.raises(RuntimeError, match="has 0 of 1 shards"):
        Rows(cache, "cpu").draw(np.random.default_rng(0), 2)


def test_rows_are_drawn_as_often_as_they_weigh(crewed: Rows) -> None:
    cache = crewed.cache
    rows = Rows(cache, "cpu", weigh=lambda here: 1 + 2 * (torch.arange(len(here["index"])) == 3))
    drawn = rows.draw(np.random.default_rng(1), 20_000)["index"]
    shares = (drawn[:, None] == rows.all()["index"]).double().mean(0)
    wanted = torch.full((SCENES,), 1 / (SCENES + 2), dtype=torch.float64)
    wanted[3] *= 3
    assert torch.allclose(shares, wanted, atol=0.01)


def test_things_in_other_colours_than_their_own_are_drawn_more_often() -> None:
    words = load_vocabulary("cpu_names")
    shape, colour = words.shape_names.index, words.colour_names.index

    def thing(name: str, own: int) -> list[float]:
        return [shape(name), own, *[0.0] * 7]

    nothing = [-1.0] * 9
    things = [
        [thing("elephant", colour("purple")), thing("sphere", colour("red"))],
        [thing("elephant", NONE), thing("sphere", colour("purple"))],
        [thing("apple", colour("red")), nothing],
        [thing("sphere", colour("red")), thing("apple", colour("green"))],
    ]
    assert weigh_rows(words, {"things": torch.tensor(things)}).tolist() == [RECOLOURED, 1, 1, RECOLOURED]

"""Pictures and captions of one training speak of the same scenes."""

from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file

from diorama.place import Unplaceable
from diorama.vocabulary import load_vocabulary
from models.embedded.painter import build_autoencoder
from models.embedded.training import stream as streams
from models.embedded.training.latents import ForeignLatents, LatentCache
from models.embedded.training.rows import Rows
from models.embedded.training.stream import PictureStream

WORDS = load_vocabulary("tiny")
SCENES = 6


def make_autoencoder(seed: int = 0) -> AutoencoderKL:
    torch.manual_seed(seed)
    return build_autoencoder((8, 8, 16, 16)).eval()


def test_a_cache_is_filled_once_and_belongs_to_its_world(tmp_path: Path) -> None:
    stream = PictureStream(WORDS, 1, {"single_object": 1.0, "counting": 2.0})
    cache = LatentCache(stream, tmp_path, SCENES)
    cache.fill(make_autoencoder())
    rows = Rows(cache, "cpu").all()
    assert rows["latents"].shape == (SCENES, 16, 16, 16) and rows["latents"].dtype is torch.float16
    assert rows["index"].tolist() == list(range(SCENES))
    assert ((rows["cover"] > 20).flatten(1).any(1)).all(), "every picture shows a thing"
    before = cache.path(0).stat().st_mtime_ns
    # The same shares in another order are the same world.
    again = PictureStream(WORDS, 1, {"counting": 2.0, "single_object": 1.0})
    LatentCache(again, tmp_path, SCENES).fill(make_autoencoder())
    assert cache.path(0).stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("seed", "shares", "autoencoder"),
    [(2, 2.0, 0), (1, 0.01, 0), (1, 2.0, 5)],
    ids=["another seed", "other shares", "another autoencoder"],
)
def test_latents_of_other_pictures_are_refused(
    seed: int, shares: float, autoencoder: int, tmp_path: Path
) -> None:
    first = PictureStream(WORDS, 1, {"single_object": 1.0, "counting": 2.0})
    LatentCache(first, tmp_path, SCENES).fill(make_autoencoder())
    other = PictureStream(WORDS, seed, {"single_object": 1.0, "counting": shares})
    with pytest.raises(ForeignLatents, match=r"delete .* or train in another --out"):
        LatentCache(other, tmp_path, SCENES).fill(make_autoencoder(autoencoder))


def test_shards_from_before_the_index_was_kept_are_refused(tmp_path: Path) -> None:
    cache = LatentCache(PictureStream(WORDS, 1), tmp_path, SCENES)
    cache.fill(make_autoencoder())
    rows = load_file(cache.path(0))
    del rows["index"]
    save_file(rows, cache.path(0))
    with pytest.raises(ForeignLatents):
        cache.fill(make_autoencoder())


def test_where_a_scene_cannot_be_placed_the_caption_follows_the_picture(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream = PictureStream(WORDS, 1)
    crowded, real = stream.world.graph(3), streams.complete

    def complete(graph, rng, words, splits, artist):
        if graph == crowded:
            raise Unplaceable(graph, "no room")
        return real(graph, rng, words, splits, artist)

    monkeypatch.setattr(streams, "complete", complete)
    batch = stream.batch(2, 3)
    assert batch.indices == [2, 3 + 2**40, 4]
    assert batch.graphs == [stream.world.graph(index) for index in batch.indices]

"""The recipes on a world with names: a cut-out and a composite beside two solids."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
import torch
from diffusers import AutoencoderKL

from diorama.drawings import drawing_of
from diorama.vocabulary import load_vocabulary
from models.embedded.painter import encode, load_painter
from models.embedded.perception import load_perceiver
from models.embedded.training import autoencoder, painter, perception
from models.embedded.training.loop import ForeignTraining
from models.embedded.training.painters_world import open_world
from models.embedded.training.stream import PictureStream
from models.embedded.training.taught import choose, vocabulary_of

WORDS = load_vocabulary("tiny_names")
pytestmark = pytest.mark.usefixtures("art")


def rows(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text("utf-8").splitlines()]


def same_weights(a: Path, b: Path) -> bool:
    one, other = (torch.load(folder / "training.pt", weights_only=True) for folder in (a, b))
    assert one["step"] == other["step"]
    return all(torch.equal(one["module"][name], other["module"][name]) for name in one["module"])


@pytest.fixture
def stop_after(monkeypatch: pytest.MonkeyPatch) -> Callable[[object, int], None]:
    """`stop_after(recipe, n)`: the recipe is told to stop in its n-th step, once."""

    def arm(recipe: object, step: int) -> None:
        real, calls = recipe.losses, []  # pyright: ignore[reportAttributeAccessIssue]

        def losses(*arguments: object) -> object:
            calls.append(1)
            if len(calls) == step:
                os.kill(os.getpid(), signal.SIGTERM)
            return real(*arguments)

        monkeypatch.setattr(recipe, "losses", losses)

    return arm


@pytest.fixture(scope="module")
def taught(art: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with autoencoder/, critic/ and judge/."""
    folder = tmp_path_factory.mktemp("taught")
    autoencoder.train("tiny", folder / "autoencoder", vocabulary="tiny_names")
    for part in ("critic", "judge"):
        perception.train(part, "tiny", folder / part, steps=6, vocabulary="tiny_names")
    return folder


def test_a_painter_is_taught_cut_outs_that_face_one_way_and_others_see_both() -> None:
    taught, others = open_world(WORDS), PictureStream(WORDS, 1)
    flips = {
        stream: {
            thing.flip for index in range(40) for thing in stream.scene(index)[0].things if thing.drawing
        }
        for stream in (taught, others)
    }
    assert flips[taught] == {False} and flips[others] == {False, True}


def test_the_stream_shows_every_kind_and_the_drawings_of_its_splits() -> None:
    shown: dict[str, set[str]] = {}
    for part, splits in perception.SPLITS.items():
        stream = PictureStream(WORDS, 1, splits=splits)
        things = [thing for index in range(60) for thing in stream.scene(index)[0].things]
        assert {thing.shape for thing in things} == set(WORDS.shape_names)
        apples = [thing for thing in things if thing.shape == "apple"]
        shown[part] = {drawing_of("apple", thing.drawing).split for thing in apples}
    assert shown == {"critic": {"train"}, "judge": {"train", "held_out"}}
    stream = PictureStream(WORDS, 1)
    drawn = [thing for index in range(60) for thing in stream.scene(index)[0].things]
    assert {drawing_of("apple", t.drawing).split for t in drawn if t.shape == "apple"} == {"train"}


@pytest.mark.slow
def test_autoencoder_learns_names_and_goes_on(
    taught: Path, tmp_path: Path, stop_after: Callable[[object, int], None]
) -> None:
    whole = autoencoder.train("tiny", tmp_path / "whole", steps=4, vocabulary="tiny_names")
    assert rows(taught / "autoencoder")[-1]["pixels"] < 0.9 * rows(whole)[0]["pixels"]
    stop_after(autoencoder, 2)
    halves = autoencoder.train("tiny", tmp_path / "halves", steps=4, vocabulary="tiny_names")
    assert not (halves / "autoencoder").exists()
    autoencoder.train("tiny", halves, steps=4, vocabulary="tiny_names")
    assert same_weights(whole, halves)
    assert vocabulary_of(halves / "autoencoder") == "tiny_names"


@pytest.mark.parametrize("part", [pytest.param("critic", marks=pytest.mark.slow), "judge"])
def test_perception_goes_on_with_names(
    part: Literal["critic", "judge"], taught: Path, tmp_path: Path
) -> None:
    perception.train(part, "tiny", tmp_path, steps=6, stop_at=3, vocabulary="tiny_names")
    perception.train(part, "tiny", tmp_path, steps=6, vocabulary="tiny_names")
    assert same_weights(taught / part, tmp_path)
    assert vocabulary_of(tmp_path) == "tiny_names"
    assert load_perceiver(tmp_path).network.config.shapes == WORDS.shape_names
    with pytest.raises(ForeignTraining, match="another --out"):
        perception.train(part, "tiny", tmp_path, vocabulary="tiny")


@pytest.mark.slow
def test_painter_learns_names_and_the_judge_follows_it(
    taught: Path, tmp_path: Path, stop_after: Callable[[object, int], None]
) -> None:
    vae = taught / "autoencoder" / "autoencoder"
    eyes = {"critic": taught / "critic", "judge": taught / "judge"}
    long, short, halves = (tmp_path / name for name in ("long", "short", "halves"))
    folder = painter.train(
        "tiny", long, autoencoder=vae, **eyes, look_every=15, vocabulary="tiny_names", steps=30
    )
    log = rows(long)
    assert [row["step"] for row in log] == [15, 30]
    assert all(0 <= row["held_out_judge_mean"] <= 1 for row in log)
    assert {"held_out_judge_position", "held_out_mean"} <= set(log[0])
    painter.train("tiny", short, autoencoder=vae, vocabulary="tiny_names", steps=3)
    assert log[-1]["velocity"] < rows(short)[0]["velocity"]
    assert not any("judge" in key for key in rows(short)[0])
    stop_after(painter, 2)
    painter.train("tiny", halves, autoencoder=vae, vocabulary="tiny_names", steps=3)
    painter.train("tiny", halves, autoencoder=vae, vocabulary="tiny_names", steps=3)
    assert same_weights(short, halves)
    assert vocabulary_of(folder) == "tiny_names"
    tokenizer = load_painter(folder).tokenizer
    assert tokenizer.unk_token_id not in tokenizer("two red apples left of a blue bench").input_ids
    assert tokenizer.unk_token_id in tokenizer("a red giraffe").input_ids


def test_painter_goes_on_in_a_world_with_more_words(taught: Path, tmp_path: Path) -> None:
    vae = taught / "autoencoder" / "autoencoder"
    first = painter.train("tiny", tmp_path / "first", autoencoder=vae, vocabulary="tiny", steps=20)
    more = painter.train(
        "tiny", tmp_path / "more", autoencoder=vae, vocabulary="tiny_names", steps=1, start=first
    )
    assert rows(tmp_path / "more" / "text")
    both = [load_painter(folder) for folder in (first, more)]
    known, new = both[0].tokenizer("a red cube"), both[1].tokenizer("an apple left of a bench")
    assert both[0].tokenizer.unk_token_id in both[0].tokenizer("an apple left of a bench").input_ids
    assert both[1].tokenizer.unk_token_id not in new.input_ids
    ids = torch.tensor([known.input_ids])
    assert both[1].tokenizer("a red cube").input_ids == known.input_ids
    # What it could read it reads as before, though both encoders have learnt: the inlets make up for that.
    words = [made.transformer.context_embedder(made.text_encoder_2(ids).last_hidden_state) for made in both]
    inlets = [made.transformer.time_text_embed.text_embedder.linear_1 for made in both]
    prompts = [inlet(made.text_encoder(ids).pooler_output) for inlet, made in zip(inlets, both, strict=True)]
    for before, after in (words, prompts):
        assert (before - after).norm() < 0.1 * before.norm()


def test_an_autoencoder_stays_in_the_latents_of_another(taught: Path, tmp_path: Path) -> None:
    mirrored = AutoencoderKL.from_pretrained(
        taught / "autoencoder" / "autoencoder", torch_dtype=torch.float32
    )
    for parameter in mirrored.encoder.conv_out.parameters():
        parameter.data.neg_()  # the same seed would find the same latents without being told
    mirrored.save_pretrained(teacher := tmp_path / "mirrored")
    for name, start in (("near", teacher), ("far", None)):
        autoencoder.train("tiny", tmp_path / name, steps=30, vocabulary="tiny_names", start=start)
    stream = PictureStream(load_vocabulary("tiny"), 5)  # solids alone
    rgb = stream.batch(0, 8).rgb.float() / 127.5 - 1
    with torch.inference_mode():
        wanted, near, far = (
            encode(AutoencoderKL.from_pretrained(folder, torch_dtype=torch.float32), rgb)
            for folder in (teacher, tmp_path / "near" / "autoencoder", tmp_path / "far" / "autoencoder")
        )
    assert (near - wanted).square().mean() < 0.5 * (far - wanted).square().mean()
    assert "keep" in rows(tmp_path / "near")[-1]


def test_weights_that_lack_words_are_not_chosen(taught: Path, tmp_path: Path) -> None:
    solids = perception.train("critic", "tiny", tmp_path / "critic", steps=1, vocabulary="tiny")
    both = (tmp_path / "none", solids, taught / "critic")
    assert choose(both, "tiny") == solids
    assert choose(both, "tiny_names") == taught / "critic"
    assert choose(both, "cpu") is None
    vae = taught / "autoencoder" / "autoencoder"
    # Whichever solids an autoencoder saw, it keeps them all; names have to be its own.
    assert choose([vae], "cpu", names_only=True) == vae
    assert choose([vae], "cpu_names", names_only=True) is None

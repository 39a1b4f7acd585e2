"""A painter tuned by its own pictures: it wishes for what truth asks, and samples as the pipeline does."""

import dataclasses
from pathlib import Path

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from diorama.graph import Group, Relation, SceneGraph
from diorama.truth import relation_margin
from diorama.vocabulary import load_vocabulary
from diorama.wording import lexicon
from diorama.world import World
from models.embedded.painter import build_tokenizer, count_tokens, load_painter
from models.embedded.profiles import PAINTER, TEXT_TOKENS, TUNING
from models.embedded.training import autoencoder, painter
from models.embedded.training import tuning as recipe
from models.embedded.training.captions import Captions
from models.embedded.training.going_on import Finished
from models.embedded.training.grader import Grader
from models.embedded.training.grades import scene_targets, wish_targets
from models.embedded.training.latents import list_things
from models.embedded.training.loop import IGNORED, generator, torch_generator
from models.embedded.training.stream import PictureStream
from models.embedded.training.text import PREDICATES
from models.embedded.training.tuning import Tuned, grades, sample, sampling_times, tune

WORDS = load_vocabulary("solids")

TINY = load_vocabulary("tiny")


@pytest.fixture(scope="module")
def tiny_painter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    vae = autoencoder.train("tiny", tmp_path_factory.mktemp("autoencoder"), steps=5)
    return painter.train("tiny", tmp_path_factory.mktemp("painter"), autoencoder=vae / "autoencoder", steps=5)


def started(folder: Path) -> painter.PainterTraining:
    """A network that has learnt what the painter in `folder` has."""
    network = painter.PainterTraining(PAINTER["tiny"], count_tokens(lexicon()))
    Finished.load(folder).copy_transformer(network.transformer)
    return network.eval()


def test_scenes_show_what_their_graphs_wish_for() -> None:
    batch = PictureStream(WORDS, 1).batch(0, 60)
    shown, wished = scene_targets(list_things(WORDS, batch.seen), WORDS), wish_targets(batch.graphs, WORDS)
    for name in ("count", "colour", "pattern", "size", "relation"):
        said = wished[name] != IGNORED
        assert said.any() and torch.equal(shown[name][said], wished[name][said])


def test_relations_of_scenes_follow_the_rule_of_truth() -> None:
    batch = PictureStream(WORDS, 2).batch(0, 40)
    shown = scene_targets(list_things(WORDS, batch.seen), WORDS)["relation"]
    compared = 0
    for row, things in enumerate(batch.seen):
        for a, first in enumerate(WORDS.shape_names):
            for b, second in enumerate(WORDS.shape_names):
                pairs = [(x, y) for x in things for y in things if x.shape == first != second == y.shape]
                for number, predicate in enumerate(PREDICATES):
                    holds = all(relation_margin(x, predicate, y) > 0 for x, y in pairs)
                    assert shown[row, a, b, number] == (int(holds) if pairs else IGNORED)
                    compared += bool(pairs)
    assert compared > 100


def test_what_is_said_of_one_group_of_a_shape_is_not_wished_of_another() -> None:
    red, blue = Group(shape="cube", count=2, colour="red"), Group(shape="cube", colour="blue")
    plain, ball = Group(shape="cube", size="large"), Group(shape="sphere", colour="blue")
    cube, sphere = (WORDS.shape_names.index(name) for name in ("cube", "sphere"))
    both, mixed, placed = (
        wish_targets([graph], WORDS)
        for graph in (
            SceneGraph(groups=(red, blue)),
            SceneGraph(groups=(red, plain)),
            SceneGraph(groups=(red, ball), relations=(Relation(subject=0, predicate="left of", object=1),)),
        )
    )
    assert both["count"][0, cube] == 3 and both["count"][0, sphere] == 0
    looks = both["colour"][0, cube].tolist()
    assert looks.pop(WORDS.colour_names.index("red")) == 2 and sum(looks) == 1
    assert (mixed["colour"] == IGNORED).all() and (mixed["size"] == IGNORED).all()
    assert placed["relation"][0, cube, sphere].tolist() == [1] + [IGNORED] * 5
    assert (placed["relation"] != IGNORED).sum() == 1


def test_sampling_is_that_of_the_pipeline(tiny_painter: Path) -> None:
    network, pipeline, prompt = started(tiny_painter), load_painter(tiny_painter), "a photo of a red cube"
    keeps = FlowMatchEulerDiscreteScheduler.from_config(pipeline.scheduler.config, stochastic_sampling=False)
    pipeline.scheduler = keeps  # gradients go back through steps that keep their noise
    noise = torch.randn(1, 64, 64, generator=torch.Generator().manual_seed(3))
    made = pipeline(
        prompt=prompt, negative_prompt="", true_cfg_scale=3.0, guidance_scale=1.0, height=128, width=128,
        num_inference_steps=4, max_sequence_length=TEXT_TOKENS, latents=noise, output_type="latent",
    ).images  # fmt: skip
    tokenizer = build_tokenizer(lexicon(), lexicon(TINY))
    told, untold = (
        (pipeline.text_encoder_2(ids).last_hidden_state, pipeline.text_encoder(ids).pooler_output)
        for ids in (
            tokenizer(text, padding="max_length", max_length=TEXT_TOKENS, return_tensors="pt").input_ids
            for text in (prompt, "")
        )
    )
    with torch.no_grad():
        mine = sample(network, noise, told, untold, sampling_times(4), 3.0)
    assert torch.allclose(mine, made, atol=0.05 * float(made.std()))  # products in bf16 where a core has them
    assert torch.equal(
        painter.unpack(painter.pack(torch.arange(4096.0).view(1, 16, 16, 16))).flatten(), torch.arange(4096.0)
    )


def test_a_grade_is_finite_where_nothing_is_wished() -> None:
    wanted = wish_targets([SceneGraph(groups=(Group(shape="cube"),))], WORDS)
    grader = Grader(WORDS).requires_grad_(False)
    graded = grader.grade(grader.read(torch.randn(1, 16, 16, 16), torch.zeros(1)), wanted)
    assert {name: float(graded[name]) for name in ("colour", "size", "relation")} == {
        "colour": 0.0, "size": 0.0, "relation": 0.0,
    }  # fmt: skip
    assert 0 < float(graded["count"]) < 100


def test_tuning_goes_on_to_the_step(tiny_painter: Path, tmp_path: Path) -> None:
    whole = tune("tiny", tmp_path / "whole", start=tiny_painter, steps=4)
    tune("tiny", tmp_path / "parts", start=tiny_painter, steps=2)
    parts = tune("tiny", tmp_path / "parts", start=tiny_painter, steps=4)
    ours, theirs = (load_painter(folder).transformer.state_dict() for folder in (whole, parts))
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())
    before = load_painter(tiny_painter)
    assert not torch.equal(ours["proj_out.weight"], before.transformer.state_dict()["proj_out.weight"])
    read = load_painter(whole).text_encoder_2.state_dict()
    assert all(torch.equal(value, read[name]) for name, value in before.text_encoder_2.state_dict().items())


def test_the_gradient_of_unguided_samples_is_that_of_their_grade(
    tiny_painter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    tuned, grader = Tuned(PAINTER["tiny"]).eval(), Grader(TINY).requires_grad_(False)
    tuned.painter = network = started(tiny_painter)
    rendered = torch.randn(4, 16, 16, 16)
    wishes = Captions(World(TINY, 7), build_tokenizer(lexicon(), lexicon(TINY)), "cpu")
    tuning = dataclasses.replace(TUNING["tiny"], graded=1.0, realism=1.0, guidance=1.0)
    times = sampling_times(3)
    monkeypatch.setattr(recipe, "LOUDEST", 1e9)

    def graded() -> torch.Tensor:
        rng, noise = generator(1, 1), torch_generator(1, 1)
        parts = dict(grades(tuned, grader, wishes, rendered, times, tuning, rng, noise))
        parts.pop("realism")  # the heads' own
        return torch.stack(list(parts.values())).sum()

    before = graded()
    before.backward()
    slope = sum(float(p.grad.square().sum()) for p in network.transformer.parameters() if p.grad is not None)
    with torch.no_grad():
        for parameter in network.transformer.parameters():
            if parameter.grad is not None:
                parameter -= 0.3 / slope * parameter.grad
        fallen = float(before.detach() - graded())
    assert 0.2 < fallen < 0.4  # to first order 0.3

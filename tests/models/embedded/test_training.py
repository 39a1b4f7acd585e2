"""The recipes' `tiny` profiles: losses fall, a stopped training goes on exactly, what is saved loads."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, FluxPipeline

from diorama.vocabulary import load_vocabulary
from models.embedded.painter import build_autoencoder, build_transformer, image_ids, load_painter
from models.embedded.perception import load_perceiver
from models.embedded.profiles import PAINTER, TEXT_TOKENS
from models.embedded.training import autoencoder, decoder, painter, perception
from models.embedded.training.accuracy import score_perceptions
from models.embedded.training.going_on import Finished
from models.embedded.training.loop import IGNORED, ForeignTraining
from models.embedded.training.stream import PictureStream
from models.perception import DetectedThing, Perception
from models.step_noise import own_noise


def losses(out: Path, name: str) -> list[float]:
    return [json.loads(line)[name] for line in (out / "log.jsonl").read_text("utf-8").splitlines()]


@pytest.fixture(scope="session")
def tiny_autoencoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return autoencoder.train("tiny", tmp_path_factory.mktemp("autoencoder"))


@pytest.fixture(scope="session")
def tiny_critic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return perception.train("critic", "tiny", tmp_path_factory.mktemp("critic"), vocabulary="tiny")


def test_autoencoder_learns_and_normalises_its_latents(tiny_autoencoder: Path, tmp_path: Path) -> None:
    autoencoder.train("tiny", tmp_path, steps=2)
    assert losses(tiny_autoencoder, "held_out_psnr")[-1] > losses(tmp_path, "held_out_psnr")[0] + 1
    loaded = AutoencoderKL.from_pretrained(tiny_autoencoder / "autoencoder")
    assert loaded.config["shift_factor"] is not None and loaded.config["scaling_factor"] > 0


def test_an_autoencoder_of_the_same_widths_goes_on_with_its_weights(
    tiny_autoencoder: Path, tmp_path: Path
) -> None:
    start = tiny_autoencoder / "autoencoder"
    autoencoder.train("tiny", tmp_path / "on", start=start, steps=1)
    autoencoder.train("tiny", tmp_path / "anew", steps=1)
    assert losses(tmp_path / "on", "pixels")[0] < 0.9 * losses(tmp_path / "anew", "pixels")[0]
    before = AutoencoderKL.from_pretrained(start).state_dict()
    after = AutoencoderKL.from_pretrained(tmp_path / "on" / "autoencoder").state_dict()
    assert all((after[name] - value).abs().max() < 1e-4 for name, value in before.items())


def test_a_decoder_learns_and_leaves_the_latents_as_they_are(tiny_autoencoder: Path, tmp_path: Path) -> None:
    before = AutoencoderKL.from_pretrained(tiny_autoencoder / "autoencoder")
    decoder.train("tiny", tmp_path, start=tiny_autoencoder / "autoencoder", steps=60)
    rgb = PictureStream(load_vocabulary("tiny"), decoder.SEED + 1).batch(0, 16).rgb
    assert losses(tmp_path, "held_out_psnr")[-1] > autoencoder.measure_psnr(before.eval(), rgb)
    after = AutoencoderKL.from_pretrained(tmp_path / "autoencoder")
    assert all(
        torch.equal(value, after.encoder.state_dict()[k]) for k, value in before.encoder.state_dict().items()
    )
    assert {after.config[k] == before.config[k] for k in ("shift_factor", "scaling_factor")} == {True}


@pytest.mark.parametrize("part", ["critic", "judge"])
def test_perception_learns_and_goes_on_to_the_step(part: str, tmp_path: Path) -> None:
    assert part in ("critic", "judge")
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    perception.train(part, "tiny", whole, steps=6, vocabulary="tiny")
    # A training that is stopped keeps its length, so the schedule is that of the whole.
    stopped = perception.train(part, "tiny", halves, steps=6, stop_at=3, vocabulary="tiny")
    assert not (stopped / "model.safetensors").exists()
    perception.train(part, "tiny", halves, steps=6, vocabulary="tiny")
    a, b = (torch.load(folder / "training.pt", weights_only=True) for folder in (whole, halves))
    assert a["step"] == b["step"] == 6
    assert all(torch.equal(a["module"][name], b["module"][name]) for name in a["module"])
    assert load_perceiver(whole).network.config.shapes == ("sphere", "cube")


def test_perception_goes_on_from_a_trained_network_of_its_kind(tiny_critic: Path, tmp_path: Path) -> None:
    on = perception.train("critic", "tiny", tmp_path / "on", start=tiny_critic, steps=1, vocabulary="tiny")
    fresh = perception.train("critic", "tiny", tmp_path / "fresh", steps=1, vocabulary="tiny")
    before, after, other = (load_perceiver(f).network.state_dict() for f in (tiny_critic, on, fresh))
    kernels = [name for name, value in before.items() if value.ndim == 4]

    def moved(state: dict[str, torch.Tensor]) -> float:
        return sum(float((state[name] - before[name]).norm()) for name in kernels)

    assert 0 < moved(after) < moved(other) / 5
    with pytest.raises(ForeignTraining, match="other sizes or words"):
        perception.train("judge", "tiny", tmp_path / "judge", start=tiny_critic, steps=1, vocabulary="tiny")
    vae = tmp_path / "vae"
    build_autoencoder((4, 4, 4, 4)).save_pretrained(vae)
    with pytest.raises(ForeignTraining, match="no trained critic or judge"):
        perception.train("critic", "tiny", tmp_path / "vaes", start=vae, steps=1, vocabulary="tiny")


def test_a_natural_look_teaches_no_colour_and_is_not_counted() -> None:
    words = load_vocabulary("tiny")
    names = {
        "shapes": words.shape_names,
        "colours": words.colour_names,
        "patterns": words.pattern_names,
        "sizes": words.size_names,
        "settings": words.setting_names,
    }
    config = perception.perception_config("critic", perception.CRITIC["tiny"], names)
    batch = PictureStream(words, 1).batch(0, 4)
    bare = [[dataclasses.replace(thing, colour=None) for thing in things] for things in batch.seen]
    wanted = perception.targets(config, dataclasses.replace(batch, seen=bare), "cpu")
    assert set(wanted["colour"].tolist()) == {IGNORED}
    assert IGNORED not in wanted["shape"]
    network = perception.PerceptionNetwork(config)
    found = perception.losses(config, network, network(batch.rgb.float() / 127.5 - 1), wanted)
    assert found["colour"] == 0
    assert all(bool(value.isfinite()) for value in found.values())
    said = [
        Perception(
            things=tuple(
                DetectedThing(**dataclasses.asdict(thing), attribute_confidence={}) for thing in things
            ),
            setting="studio",
            setting_confidence=1,
        )
        for things in batch.seen
    ]
    figures = score_perceptions(said, bare)
    assert (figures.named["colour"], figures.right["colour"]) == (0, 0)
    assert figures.headline["shape"] == figures.headline["whole_scene"] == 1


def test_the_two_perception_networks_are_different_in_kind() -> None:
    words = {
        "shapes": ("cube",),
        "colours": ("red",),
        "patterns": ("plain",),
        "sizes": ("large",),
        "settings": ("studio",),
    }
    made = [
        perception.PerceptionNetwork(perception.perception_config(part, recipe["tiny"], words))
        for part, recipe in (("critic", perception.CRITIC), ("judge", perception.JUDGE))
    ]
    assert type(made[0].backbone) is not type(made[1].backbone)
    assert perception.SEEDS["critic"] != perception.SEEDS["judge"]


def test_painter_learns_and_stock_diffusers_paints_with_it(
    tiny_autoencoder: Path, tiny_critic: Path, tmp_path: Path
) -> None:
    folder = painter.train(
        "tiny", tmp_path, autoencoder=tiny_autoencoder / "autoencoder", critic=tiny_critic, steps=30
    )
    [row] = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text("utf-8").splitlines()]
    assert 0 <= row["held_out_mean"] <= 1
    first = painter.train("tiny", tmp_path / "short", autoencoder=tiny_autoencoder / "autoencoder", steps=2)
    assert first.is_dir()
    assert row["velocity"] < losses(tmp_path / "short", "velocity")[0]
    config = json.loads((folder / "vae" / "config.json").read_text("utf-8"))
    assert config["_name_or_path"] == "", "no path of the machine that trained it"
    stock = FluxPipeline.from_pretrained(folder)  # the same but for the noise, which it draws from anywhere
    stock.set_progress_bar_config(disable=True)
    assert stock.scheduler.config["stochastic_sampling"]
    ours = load_painter(folder)
    pictures = [
        pipeline(
            "a photo of a red cube",
            height=128,
            width=128,
            num_inference_steps=2,
            guidance_scale=1.0,
            max_sequence_length=painter.TEXT_TOKENS,
            generator=torch.Generator().manual_seed(3),
            output_type="np",
        ).images
        for pipeline in (ours, own_noise(stock.to(torch.float32)))
    ]
    assert pictures[0].shape == (1, 128, 128, 3)
    assert (pictures[0] == pictures[1]).all()


def test_painter_goes_on_from_another(
    tiny_autoencoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vae = tiny_autoencoder / "autoencoder"
    first = painter.train("tiny", tmp_path / "first", autoencoder=vae, steps=30)
    apart: list[bool] = []
    velocity = painter.PainterTraining.velocity

    def watch(network: painter.PainterTraining, *given: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        apart.append(network.apart)
        return velocity(network, *given)

    monkeypatch.setattr(painter.PainterTraining, "velocity", watch)
    painter.train("tiny", tmp_path / "second", autoencoder=vae, steps=2, start=first)
    painter.train("tiny", tmp_path / "fresh", autoencoder=vae, steps=2)
    assert apart == [True, True, False, False], "a head that begins anew teaches a good painter nothing"
    assert not (tmp_path / "second" / "text").exists()
    second, fresh = (losses(tmp_path / name, "velocity")[0] for name in ("second", "fresh"))
    assert second < fresh
    before, after = (load_painter(tmp_path / name / "painter").text_encoder_2 for name in ("first", "second"))
    assert all(torch.equal(a, b) for a, b in zip(before.parameters(), after.parameters(), strict=True))
    exported = painter.export("tiny", tmp_path / "first", vae)
    tokenizer = load_painter(exported).tokenizer
    assert tokenizer.unk_token_id in tokenizer("an orange torus").input_ids
    assert tokenizer.unk_token_id not in tokenizer("a red cube").input_ids


def test_a_painter_with_more_blocks_begins_where_the_other_ended(
    tiny_autoencoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vae = tiny_autoencoder / "autoencoder"
    first = painter.train("tiny", tmp_path / "first", autoencoder=vae, steps=30)
    deeper = dataclasses.replace(PAINTER["tiny"], double=2, single=3)
    monkeypatch.setitem(PAINTER, "tiny", deeper)
    shallow, deep = Finished.load(first), build_transformer(deeper)
    shallow.copy_transformer(deep)
    given = {
        "hidden_states": torch.randn(2, 64, 64),
        "timestep": torch.tensor([0.3, 0.9]),
        "pooled_projections": torch.randn(2, deeper.text_width),
        "encoder_hidden_states": torch.randn(2, 40, deeper.text_width),
        "txt_ids": torch.zeros(40, 3),
        "img_ids": image_ids(8),
        "return_dict": False,
    }
    with torch.inference_mode():
        assert torch.allclose(deep(**given)[0], shallow.pipeline.transformer(**given)[0], atol=1e-6)
    second = painter.train("tiny", tmp_path / "second", autoencoder=vae, steps=2, start=first)
    assert len(load_painter(second).transformer.single_transformer_blocks) == 3
    monkeypatch.setitem(PAINTER, "tiny", dataclasses.replace(deeper, single=2))
    with pytest.raises(ForeignTraining, match="'single': 3"):
        painter.train("tiny", tmp_path / "third", autoencoder=vae, steps=1, start=second)


def test_inlet_is_fitted_to_an_encoder_that_reads_anew(tiny_autoencoder: Path, tmp_path: Path) -> None:
    vae = tiny_autoencoder / "autoencoder"
    first = painter.train("tiny", tmp_path / "first", autoencoder=vae, steps=30)
    other = load_painter(first)
    norm = other.text_encoder_2.encoder.final_layer_norm.weight.data
    norm.copy_(torch.linspace(2.0, -2.0, len(norm)))  # what a linear map can undo, and must
    started = painter.save_painter(other, tmp_path / "other")
    again = painter.train("tiny", tmp_path / "again", autoencoder=vae, steps=1, start=started, reread=True)
    assert (tmp_path / "again" / "text").exists()
    both = [load_painter(folder) for folder in (started, again)]
    ids = both[0].tokenizer("a photo of a red cube", return_tensors="pt").input_ids
    vectors = [made.text_encoder_2(ids).last_hidden_state for made in both]
    inlets = [made.transformer.context_embedder(read) for made, read in zip(both, vectors, strict=True)]
    assert (vectors[0] - vectors[1]).norm() > 0.5 * vectors[0].norm()
    assert (inlets[0] - inlets[1]).norm() < 0.1 * inlets[0].norm()


def test_packing_is_that_of_the_pipeline() -> None:
    latents = torch.randn(2, 16, 16, 16)
    assert torch.equal(painter.pack(latents), FluxPipeline._pack_latents(latents, 2, 16, 16, 16))
    ids = FluxPipeline._prepare_latent_image_ids(1, 8, 8, "cpu", torch.float32)
    assert torch.equal(image_ids(8), ids)


def test_a_head_that_begins_anew_teaches_a_painter_nothing() -> None:
    network = painter.PainterTraining(PAINTER["tiny"], 40)
    x, t, ids = torch.randn(2, 64, 64), torch.tensor([0.4, 0.9]), torch.ones(2, TEXT_TOKENS, dtype=torch.long)
    for network.apart in (True, False):
        network.zero_grad()
        network.velocity(x, t, *network.read(ids))[1].sum().backward()
        taught = [one for one in network.transformer.parameters() if one.grad is not None]
        assert network.layout.weight.grad is not None
        assert bool(taught) is not network.apart

"""The pipeline as Marigold's users call it, on a tiny network."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from models.pixel_perfect_depth.folders import load_pipeline, new_scheduler
from models.pixel_perfect_depth.pipeline import PixelPerfectDepthPipeline
from models.pixel_perfect_depth.semantics import PerceptionSemantics, encode_semantics
from models.pixel_perfect_depth.tiling import blend, tiles
from models.tool import ToolError
from tests.models.pixel_perfect_depth.conftest import tiny_network


def picture(width: int = 48, height: int = 32, seed: int = 0) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3)).astype(np.uint8))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_depth_in_the_size_that_it_was_looked_at_in(pipeline: PixelPerfectDepthPipeline) -> None:
    found = pipeline(picture(), generator=seeded())
    assert found.prediction.shape == (1, 32, 48, 1) and found.uncertainty is None
    again = pipeline(picture(), generator=seeded(), output_type="pt", return_dict=False)[0]
    assert np.array_equal(again[0, 0].numpy(), found.prediction[0, :, :, 0])
    assert not np.array_equal(pipeline(picture(), generator=seeded(1)).prediction, found.prediction)
    small = pipeline(picture(), processing_resolution=24, generator=seeded())
    assert small.prediction.shape == (1, 16, 24, 1)
    odd = pipeline(picture(50, 35), generator=seeded())
    assert odd.prediction.shape == (1, 32, 48, 1)
    matched = pipeline(picture(50, 35), generator=seeded(), match_input_resolution=True)
    assert matched.prediction.shape == (1, 35, 50, 1)
    # Nothing is mixed: every depth there is was painted.
    assert np.isin(matched.prediction, odd.prediction).all()


def test_a_picture_does_not_depend_on_its_batch_mates(pipeline: PixelPerfectDepthPipeline) -> None:
    both = pipeline([picture(seed=1), picture(seed=2)], generator=[seeded(5), seeded(6)]).prediction
    alone = pipeline(picture(seed=2), generator=seeded(6)).prediction
    np.testing.assert_allclose(both[1:], alone, atol=1e-5)


def test_an_ensemble_says_how_sure_it_is(pipeline: PixelPerfectDepthPipeline) -> None:
    noise = torch.randn(3, 1, 32, 48, generator=seeded())
    found = pipeline(picture(), ensemble_size=3, latents=noise)
    assert found.uncertainty.shape == found.prediction.shape and found.uncertainty.mean() > 0
    same = pipeline(picture(), ensemble_size=3, latents=noise[:1].expand(3, -1, -1, -1))
    assert same.uncertainty.max() < 1e-5
    np.testing.assert_allclose(same.prediction, pipeline(picture(), latents=noise[:1]).prediction, atol=1e-5)


def test_progress(pipeline: PixelPerfectDepthPipeline) -> None:
    told: list[tuple[int, int]] = []
    pipeline(
        picture(), num_inference_steps=3, ensemble_size=2,
        callback_on_step_end=lambda _, step, steps: told.append((step, steps)),
    )  # fmt: skip
    assert told == [(number, 6) for number in range(1, 7)]


def test_large_pictures_in_tiles(pipeline: PixelPerfectDepthPipeline) -> None:
    found = pipeline(picture(96, 64), tile_size=40, generator=seeded())
    assert found.prediction.shape == (1, 64, 96, 1) and np.isfinite(found.prediction).all()
    whole = torch.arange(64 * 96, dtype=torch.float32).view(1, 1, 64, 96)
    cut = tiles(64, 96, 40, 8)
    assert len(cut) > 4 and max(tile.height for tile in cut) <= 40
    torch.testing.assert_close(blend([tile.of(whole) for tile in cut], cut, 64, 96), whole)
    with pytest.raises(ValueError, match="tiles of 9 pixels are too small"):
        tiles(64, 96, 9, 8)


def test_saved_and_loaded(folder: Path, pipeline: PixelPerfectDepthPipeline, tmp_path: Path) -> None:
    again = PixelPerfectDepthPipeline.from_folder(folder)
    again.set_progress_bar_config(disable=True)
    wanted = pipeline(picture(), generator=seeded()).prediction
    assert np.array_equal(again(picture(), generator=seeded()).prediction, wanted)
    plain = PixelPerfectDepthPipeline(tiny_network(semantic_dim=0), new_scheduler(), None, 32 * 32)
    plain.save_pretrained(tmp_path / "plain")
    loaded = load_pipeline(tmp_path / "plain")
    loaded.set_progress_bar_config(disable=True)
    assert loaded.semantic_encoder is None
    assert loaded(picture(), generator=seeded()).prediction.shape == (
        1,
        24,
        40,
        1,
    )  # the area it was made for
    with pytest.raises(ToolError, match="no depth pipeline"):
        load_pipeline(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image": []}, "PIL pictures"),
        ({"image": [picture(), picture(32, 32)]}, "one size"),
        ({"image": picture().convert("L")}, "RGB, not L"),
        ({"ensemble_size": 0}, "one sample at least"),
        ({"processing_resolution": -1}, "-1 pixels"),
        ({"resample_method_output": "cubic"}, "nearest, guided, bilinear, not 'cubic'"),
        ({"output_type": "pil"}, "np or pt"),
        ({"generator": [seeded(), seeded()]}, "2 generators for 1"),
        ({"latents": torch.zeros(1, 1, 8, 8)}, "these pictures take"),
        ({"latents": torch.zeros(1, 1, 32, 48), "tile_size": 64}, "tiles have noise"),
        ({"num_inference_steps": 0}, "1 to 1000 steps, not 0"),
    ],
)
def test_what_does_not_suit(
    pipeline: PixelPerfectDepthPipeline, arguments: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        pipeline(**({"image": picture()} | arguments))


def test_foreign_encoders_are_refused() -> None:
    with pytest.raises(ValueError, match="takes semantic tokens of 16 channels and the encoder gives 8"):
        PixelPerfectDepthPipeline(tiny_network(), new_scheduler(), PerceptionSemantics(8, 1))
    with pytest.raises(ValueError, match="a Linear gives no semantic tokens"):
        encode_semantics(torch.nn.Linear(2, 2), torch.zeros(1, 3, 8, 8), 1, 1)


@torch.no_grad()
@pytest.mark.parametrize("registers", [False, True])
def test_vision_models_of_transformers(registers: bool) -> None:
    from transformers import Dinov2Config, Dinov2Model, Dinov2WithRegistersConfig, Dinov2WithRegistersModel

    torch.manual_seed(0)
    sizes = {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 56,
        "patch_size": 14,
    }
    if registers:
        encoder = Dinov2WithRegistersModel(Dinov2WithRegistersConfig(**sizes, num_register_tokens=4)).eval()
    else:
        encoder = Dinov2Model(Dinov2Config(**sizes)).eval()
    pixels = torch.rand(2, 3, 64, 64)
    tokens = encode_semantics(encoder, pixels, 4, 4)
    assert tokens.shape == (2, 16, 16)
    # On its own grid nothing is interpolated, and transformers gives the same.
    from models.pixel_perfect_depth.semantics import dino_pixels

    own = encoder(dino_pixels(pixels, 4, 4)).last_hidden_state[:, -16:]
    torch.testing.assert_close(tokens, own)
    assert encode_semantics(encoder, pixels, 3, 5).shape == (2, 15, 16)


@torch.no_grad()
def test_cells_of_the_critic_are_folded_into_tokens() -> None:
    torch.manual_seed(0)
    fine, folded = PerceptionSemantics(8, 1).eval(), PerceptionSemantics(8, 1, fold=2).eval()
    folded.load_state_dict(fine.state_dict())
    pixels = torch.rand(1, 3, 32, 32)
    cells = encode_semantics(fine, pixels, 4, 4).view(4, 4, 8)
    tokens = encode_semantics(folded, pixels, 2, 2).view(2, 2, 8, 2, 2)
    torch.testing.assert_close(tokens[1, 0, :, 0, 1], cells[2, 1])


def test_a_network_that_regresses_takes_one_pass() -> None:
    network = tiny_network(semantic_dim=0, prediction="sample")
    made = PixelPerfectDepthPipeline(network, new_scheduler(), None, None)
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 48, 3)).astype(np.uint8))
    told: list[tuple[int, int]] = []
    one = made(picture, callback_on_step_end=lambda _, *at: told.append(at)).prediction
    other = made(picture, num_inference_steps=1, generator=torch.Generator().manual_seed(7)).prediction
    assert np.array_equal(one, other) and told == [(1, 1)]
    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None] / 255
    inputs = torch.cat([torch.zeros(1, 1, 32, 48), pixels - 0.5], 1)
    with torch.no_grad():
        plain = network(inputs, 1000).sample + 0.5
    np.testing.assert_allclose(one[0, :, :, 0], plain[0, 0].numpy(), atol=1e-5)
    for how in ({"num_inference_steps": 4}, {"ensemble_size": 2}, {"latents": torch.zeros(1, 1, 32, 48)}):
        with pytest.raises(ValueError, match="in one pass, the same each time"):
            made(picture, **how)
    with pytest.raises(ValueError, match="velocity or sample, not 'noise'"):
        tiny_network(prediction="noise")

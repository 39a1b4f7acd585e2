"""The shipped weights: stock diffusers paints with them, the perception models read, the cards are true."""

import hashlib
import json
from pathlib import Path

import pytest
import torch
from diffusers import FluxPipeline

from models.embedded.perception import load_perceiver
from models.embedded.profiles import TEXT_TOKENS
from models.embedded.training.document import PAGE, page
from models.embedded.training.measure import measure_perception
from models.embedded.training.measure_depth import measure_depth
from models.embedded.training.ship import WEIGHTS
from models.estimate_depth import read_card
from models.pixel_perfect_depth.folders import load_pipeline

PARTS = ("painter", "critic", "judge", "depth")


def test_stock_diffusers_paints_with_the_shipped_painter() -> None:
    pipeline = FluxPipeline.from_pretrained(WEIGHTS / "painter", dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    card = json.loads((WEIGHTS / "painter" / "card.json").read_text("utf-8"))
    asked = [
        (colour, shape) for colour in ("red", "blue") for shape in ("cube", "sphere", "cone", "cylinder")
    ]
    pictures = pipeline(
        [f"a photo of a {colour} {shape}" for colour, shape in asked],
        height=128,
        width=128,
        num_inference_steps=card["steps"],
        true_cfg_scale=card["guidance"],
        negative_prompt=[""] * len(asked),
        max_sequence_length=TEXT_TOKENS,
        generator=[torch.Generator().manual_seed(seed) for seed in range(len(asked))],
        output_type="pil",
    ).images
    assert {picture.size for picture in pictures} == {(128, 128)}
    seen = load_perceiver(WEIGHTS / "critic").perceive(pictures)
    right = [
        [(thing.colour, thing.shape) for thing in picture.things] == [wanted]
        for picture, wanted in zip(seen, asked, strict=True)
    ]
    assert sum(right) >= 5, "lone things of one colour are right in three of four samples, says the card"


@pytest.mark.parametrize("part", ["critic", "judge"])
def test_perception_reads_held_out_renders(part: str) -> None:
    figures = measure_perception(load_perceiver(WEIGHTS / part), "cpu", 150).headline
    assert figures["recall"] >= 0.97 and figures["precision"] >= 0.98
    assert figures["whole_scene"] >= 0.85
    for attribute in ("shape", "colour", "pattern", "size"):
        assert figures[attribute] >= 0.95, attribute


def test_the_depth_network_sees_what_stands_before_what() -> None:
    card = read_card(WEIGHTS / "depth")
    assert card is not None
    critic, pipeline = load_perceiver(WEIGHTS / "critic"), load_pipeline(WEIGHTS / "depth")
    figures = measure_depth(pipeline, card, critic, "cpu", 36).headline  # solids need no sprite atlas
    assert figures["abs_rel"] <= 0.01 and figures["delta1"] >= 0.99
    assert figures["ordered"] >= 0.9 and figures["ordered"] > figures["guessed"]


def test_cards_give_the_hash_of_every_file_and_all_stay_small() -> None:
    total = 0
    for part in PARTS:
        folder = WEIGHTS / part
        card = json.loads((folder / "card.json").read_text("utf-8"))
        files = {str(file.relative_to(folder)): file for file in folder.rglob("*.safetensors")}
        assert card["sha256"] == {
            name: hashlib.sha256(f.read_bytes()).hexdigest() for name, f in files.items()
        }
        assert card["recipe"] and card["score"] > 0
        total += sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    assert total <= 64 * 2**20


def test_critic_and_judge_are_not_the_same_network() -> None:
    critic, judge = (
        json.loads((WEIGHTS / part / "config.json").read_text("utf-8")) for part in ("critic", "judge")
    )
    assert critic["architecture"] != judge["architecture"]


def test_the_page_says_what_the_cards_say() -> None:
    text = Path(PAGE).read_text("utf-8")
    assert page(text) == text

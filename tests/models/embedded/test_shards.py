"""Large weights are written as shards, and everything that reads weights reads those."""

from pathlib import Path

import pytest
import torch
from diffusers import FluxPipeline

from models.embedded import shards
from models.embedded.painter import (
    assemble,
    build_autoencoder,
    build_pooled_encoder,
    build_text_encoder,
    build_tokenizer,
    build_transformer,
    load_painter,
)
from models.embedded.perception import PerceptionConfig, PerceptionNetwork, load_perceiver, save_perceiver
from models.embedded.profiles import PAINTER
from models.embedded.shards import SHARD_BYTES, load_state, save_state, weight_files
from models.embedded.training import painter
from models.weights import check_folder, check_pipeline

LIMIT = 100_000


def test_a_state_comes_back_from_its_shards_and_old_ones_go(tmp_path: Path) -> None:
    state = {f"layer{number}": torch.randn(50, 50) for number in range(9)}
    save_state(state, tmp_path, 25_000)
    files = weight_files(tmp_path)
    assert len(files) == 5 and max(file.stat().st_size for file in files) < 26_000
    loaded = load_state(tmp_path)
    assert loaded.keys() == state.keys()
    assert all(torch.equal(loaded[name], value) for name, value in state.items())
    files[0].unlink()
    with pytest.raises(FileNotFoundError):
        load_state(tmp_path)
    save_state(state, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["model.safetensors"]
    assert SHARD_BYTES < 16 * 2**20


def test_a_perception_network_in_shards_reads_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    words = {"shapes": ("cube", "bench"), "colours": ("red",), "patterns": ("plain",)}
    config = PerceptionConfig(
        architecture="centre", width=32, depth=1, **words, sizes=("large",), settings=("studio",)
    )
    network = PerceptionNetwork(config).eval()
    save_perceiver(network, tmp_path / "whole")
    monkeypatch.setattr(shards.save_state, "__defaults__", (40_000,))
    save_perceiver(network, tmp_path / "shards")
    assert len(weight_files(tmp_path / "shards")) > 1
    assert check_folder(tmp_path / "shards") == check_folder(tmp_path / "whole")
    whole, parts = (load_perceiver(tmp_path / name).network.state_dict() for name in ("whole", "shards"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_stock_diffusers_loads_a_painter_in_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    recipe = PAINTER["tiny"]
    pipeline = assemble(
        build_transformer(recipe),
        build_text_encoder(recipe, 400),
        build_pooled_encoder(recipe, 400),
        build_tokenizer(("a", "red", "cube")),
        build_autoencoder((8, 8, 16, 16)),
    )
    monkeypatch.setattr(painter, "SHARD_BYTES", LIMIT)
    folder = painter.save_painter(pipeline, tmp_path)
    split = {file.parent.name for file in folder.rglob("*.safetensors.index.json")}
    assert {"transformer", "vae"} <= split
    names = ("transformer", "vae", "text_encoder", "text_encoder_2")
    parts = {name: getattr(pipeline, name) for name in names}
    widest = max(tensor.nbytes for part in parts.values() for tensor in part.state_dict().values())
    files = list(folder.rglob("*.safetensors"))
    assert max(file.stat().st_size for file in files) < max(LIMIT, widest) + 16_384, "headers come on top"
    assert check_pipeline(folder) > 0
    for loaded in (FluxPipeline.from_pretrained(folder, dtype=torch.float16), load_painter(folder)):
        for name, part in parts.items():
            state = getattr(loaded, name).state_dict()
            assert all(torch.equal(state[key].half(), value) for key, value in part.state_dict().items())

"""Narrowed denoisers: what is cut out with zero weights changes nothing, and comes back from disk."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from memory.artifacts import Artifacts
from models.generate_image import GenerateImage
from models.obs_diff.narrowing import glu_rows, set_heads, set_linear
from models.obs_diff.saving import Pruning, denoiser_name, load_masks, load_pruned, read_pruning, save_pruned
from models.picture_request import GenerateRequest
from models.tool import ToolContext, ToolError
from tests.models.families import FAMILIES, save_family

PRUNING = Pruning(method="obs", pattern="structured", sparsity=0.5, parent="tiny")

CUTS: dict[str, list[tuple[str, ...]]] = {
    "sd3": [("ffn", "transformer_blocks.0.ff"), ("heads", "transformer_blocks.0.attn")],
    "flux": [
        ("ffn", "transformer_blocks.0.ff"),
        ("ffn", "transformer_blocks.0.ff_context"),
        ("heads", "transformer_blocks.0.attn"),
    ],
    "pixart": [("ffn", "transformer_blocks.0.ff"), ("heads", "transformer_blocks.0.attn1")],
    "sdxl": [
        ("gated", "down_blocks.1.attentions.0.transformer_blocks.0.ff"),
        ("heads", "down_blocks.1.attentions.0.transformer_blocks.0.attn2"),
    ],
}


@pytest.fixture
def pipeline(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    torch.manual_seed(0)
    return FAMILIES[request.param]()


def cut(model: Any, kind: str, name: str) -> None:
    """Take every second neuron, or the last half of the heads, out of a part; they had no say before."""
    with torch.no_grad():
        if kind == "heads":
            attention = model.get_submodule(name)
            heads, width = attention.heads, attention.inner_dim // attention.heads
            kept = torch.arange(heads // 2 * width)
            for last in ("to_out.0", "to_add_out"):
                if getattr(attention, last.split(".")[0], None) is not None:
                    attention.get_submodule(last).weight[:, len(kept) :] = 0
                    keep_inputs(model, f"{name}.{last}", kept)
            for first in ("to_q", "to_k", "to_v", "add_q_proj", "add_k_proj", "add_v_proj"):
                if getattr(attention, first, None) is not None:
                    keep_outputs(model, f"{name}.{first}", kept)
            set_heads(model, name, heads // 2)
            return
        inner = model.get_submodule(f"{name}.net.2").in_features
        kept = torch.arange(0, inner, 2)
        model.get_submodule(f"{name}.net.2").weight[:, 1::2] = 0
        keep_inputs(model, f"{name}.net.2", kept)
        rows = torch.tensor(glu_rows(kept.tolist(), inner)) if kind == "gated" else kept
        keep_outputs(model, f"{name}.net.0.proj", rows)


def keep_inputs(model: Any, name: str, kept: Any) -> None:
    """Leave of a linear layer the input columns `kept`; its outputs stay."""
    old = model.get_submodule(name)
    set_linear(model, name, old.weight[:, kept], old.bias)


def keep_outputs(model: Any, name: str, kept: Any) -> None:
    """Leave of a linear layer the output rows `kept`, and their biases."""
    old = model.get_submodule(name)
    set_linear(model, name, old.weight[kept], None if old.bias is None else old.bias[kept])


def silence(model: Any, kind: str, name: str) -> None:
    """The same parts with zero weights, at full width."""
    with torch.no_grad():
        if kind == "heads":
            attention = model.get_submodule(name)
            width = attention.inner_dim // attention.heads
            for last in ("to_out.0", "to_add_out"):
                if getattr(attention, last.split(".")[0], None) is not None:
                    attention.get_submodule(last).weight[:, attention.heads // 2 * width :] = 0
        else:
            model.get_submodule(f"{name}.net.2").weight[:, 1::2] = 0


def paint(folder: Path, artifacts: Artifacts, **more: Any) -> torch.Tensor:
    painter = GenerateImage().load(str(folder), "cpu")
    asked: dict[str, Any] = {"prompt": "a red cube", "backend": str(folder), "seed": 1, "steps": 2}
    request = GenerateRequest(**asked | {"width": 32, "height": 32})
    context = ToolContext(artifacts, lambda progress: None, lambda: None)
    [result] = GenerateImage().run(painter, [request], context)
    import numpy as np

    return torch.from_numpy(np.asarray(artifacts.load_image(result.picture)).copy())


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("pipeline", CUTS, indirect=True)
def test_a_narrowed_pipeline_paints_what_the_silenced_one_does(
    pipeline: Any, request: pytest.FixtureRequest, tmp_path: Path, artifacts: Artifacts
) -> None:
    family = request.node.callspec.params["pipeline"]
    model = getattr(pipeline, denoiser_name(pipeline))
    for part in CUTS[family]:
        silence(model, *part)
    pipeline.save_pretrained(tmp_path / "silenced")
    values = sum(value.numel() for value in model.parameters())
    for part in CUTS[family]:
        cut(model, *part)
    save_pruned(pipeline, tmp_path / "narrow", PRUNING)
    assert sum(value.numel() for value in model.parameters()) < values

    found = read_pruning(tmp_path / "narrow")
    assert found is not None and found[1].linears and found[1].heads
    loaded = load_pruned(tmp_path / "narrow")
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), loaded.parameters(), strict=True))
    difference = paint(tmp_path / "narrow", artifacts).int() - paint(tmp_path / "silenced", artifacts).int()
    assert difference.abs().max() <= 1, "sums in another order"


def test_masks_are_kept_with_a_bit_for_each_weight(tmp_path: Path) -> None:
    torch.manual_seed(0)
    pipeline = FAMILIES["sd3"]()
    mask = torch.rand(7, 19) > 0.5
    save_pruned(pipeline, tmp_path / "masked", PRUNING, {"a.b": mask})
    assert torch.equal(load_masks(tmp_path / "masked")["a.b"], mask)
    shutil.rmtree(tmp_path / "masked")
    save_pruned(pipeline, tmp_path / "masked", PRUNING)
    assert load_masks(tmp_path / "masked") == {}


def test_what_cannot_be_saved_or_loaded_is_said_in_a_line(tmp_path: Path) -> None:
    folder = save_family("sd3", tmp_path / "there")
    pipeline = FAMILIES["sd3"]()
    with pytest.raises(ToolError, match="is there already: name another folder"):
        save_pruned(pipeline, folder, PRUNING)
    with pytest.raises(ToolError, match=r"holds no pruned pipeline: there is no pruning\.json"):
        load_pruned(folder)
    (folder / "transformer" / "pruning.json").write_text("{}")
    with pytest.raises(ToolError, match=r"pruning\.json is no card of a pruning"):
        read_pruning(folder)
    card = PRUNING.model_dump() | {"heads": {"transformer_blocks.0.attn": 1}}
    card["linears"] = {"transformer_blocks.0.attn.to_q": (8, 32)}
    (folder / "transformer" / "pruning.json").write_text(json.dumps(card))
    with pytest.raises(ToolError, match=r"do not fit the widths in pruning\.json: size mismatch.*to_q"):
        load_pruned(folder)
    with pytest.raises(ToolError, match="would be left with 0 heads: prune less"):
        set_heads(pipeline.transformer, "transformer_blocks.0.attn", 0)

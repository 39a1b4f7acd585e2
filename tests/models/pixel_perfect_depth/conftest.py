"""A tiny depth pipeline with random weights, and a saved one."""

from pathlib import Path

import pytest
import torch

from models.pixel_perfect_depth.folders import new_scheduler
from models.pixel_perfect_depth.modeling import PixelPerfectTransformer2DModel
from models.pixel_perfect_depth.pipeline import PixelPerfectDepthPipeline
from models.pixel_perfect_depth.semantics import PerceptionSemantics


def tiny_network(**sizes: object) -> PixelPerfectTransformer2DModel:
    """With an outlet that is not zero, so that something comes out."""
    torch.manual_seed(0)
    usual: dict[str, object] = {
        "hidden_size": 32, "num_layers": 2, "num_heads": 2, "patch_size": 4, "semantic_dim": 16,
    }  # fmt: skip
    network = PixelPerfectTransformer2DModel(**(usual | sizes))  # pyright: ignore[reportArgumentType]
    with torch.no_grad():
        for name, value in network.named_parameters():
            if "modulation" in name or "norm_out" in name or "proj_out" in name:
                value.normal_(0, 0.05)
    return network.eval()


@pytest.fixture(scope="session")
def pipeline() -> PixelPerfectDepthPipeline:
    torch.manual_seed(0)
    encoder = PerceptionSemantics(16, 1)
    made = PixelPerfectDepthPipeline(tiny_network(), new_scheduler(), encoder, None)
    made.set_progress_bar_config(disable=True)
    return made


@pytest.fixture(scope="session")
def folder(pipeline: PixelPerfectDepthPipeline, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("depth") / "tiny"
    pipeline.save_pretrained(path)
    return path

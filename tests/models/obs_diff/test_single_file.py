"""One file with the original names: diffusers' own readers give the same weights back."""

from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from diffusers.loaders import single_file_utils as readers
from safetensors.torch import load_file

from models.obs_diff.narrowing import set_linear
from models.obs_diff.single_file import export_single_file
from models.tool import ToolError
from tests.models.families import VARIANTS

READERS: dict[str, Any] = {
    "flux": readers.convert_flux_transformer_checkpoint_to_diffusers,
    "sd3": readers.convert_sd3_transformer_checkpoint_to_diffusers,
    "sd35": readers.convert_sd3_transformer_checkpoint_to_diffusers,
}


def denoiser(name: str) -> Any:
    torch.manual_seed(0)
    return VARIANTS[name]().transformer


def split_small(tensor: torch.Tensor, sizes: Any, dim: int = 0) -> Any:
    """The reader of Flux knows one width alone, 3072; these have 32."""
    return tuple(
        tensor.narrow(dim, start * 32, length * 32) for start, length in ((0, 1), (1, 1), (2, 1), (3, 4))
    )


@pytest.mark.parametrize("name", sorted(READERS))
def test_the_readers_of_diffusers_give_the_weights_back(name: str, tmp_path: Path) -> None:
    model = denoiser(name)
    file = tmp_path / "one.safetensors"
    number = export_single_file(model, file, {"maulstick.backend": name})
    read = load_file(file)
    assert len(read) == number and all(key.startswith("model.diffusion_model.") for key in read)
    with patch.object(readers.torch, "split", split_small):
        back = READERS[name](dict(read))
    own = model.state_dict()
    assert back.keys() == own.keys()
    for key, value in own.items():
        assert torch.equal(back[key], value), key


def test_what_cannot_be_exported(tmp_path: Path) -> None:
    file = tmp_path / "one.safetensors"
    with pytest.raises(
        ToolError, match="a Linear cannot be exported as one file; known: FluxTransformer2DModel"
    ):
        export_single_file(torch.nn.Linear(2, 2), file)
    model = denoiser("flux")
    export_single_file(model, file)
    with pytest.raises(ToolError, match="is there already: name another file"):
        export_single_file(model, file)
    layer = model.transformer_blocks[0].ff.net[2]
    set_linear(model, "transformer_blocks.0.ff.net.2", layer.weight[:, :64], layer.bias)
    with pytest.raises(
        ToolError, match="was pruned narrower: export one that was pruned unstructured or N:M"
    ):
        export_single_file(model, tmp_path / "two.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["one.safetensors"]

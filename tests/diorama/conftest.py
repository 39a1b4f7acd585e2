from pathlib import Path

import pytest
import torch

from diorama.atlas import Atlas, load_atlas
from tests.diorama.sprites import write_atlas


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def atlas_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_atlas(tmp_path_factory.mktemp("art") / "sprites.npz")


@pytest.fixture(scope="session")
def atlas(atlas_file: Path) -> Atlas:
    return load_atlas(atlas_file)

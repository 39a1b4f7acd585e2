from pathlib import Path

import pytest

from tests.models.language.tiny_qwen import save_tiny_qwen


@pytest.fixture(scope="session")
def tiny_qwen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_qwen(tmp_path_factory.mktemp("tiny_qwen"))

"""A mind that looks through a critic which is never wrong."""

import pytest

from agents.embedded import EmbeddedMind
from tests.agents.scenes import TruthExecutor


@pytest.fixture
def executor() -> TruthExecutor:
    return TruthExecutor()


@pytest.fixture
def mind(executor: TruthExecutor) -> EmbeddedMind:
    return EmbeddedMind(executor)

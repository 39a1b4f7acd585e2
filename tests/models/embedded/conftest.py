from collections.abc import Iterator

import pytest

from diorama.atlas import load_atlas, the_atlas
from tests.diorama.sprites import write_atlas


@pytest.fixture(scope="module")
def art(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A made-up atlas in the place of the one that `make sprites` writes."""
    path = write_atlas(tmp_path_factory.mktemp("art") / "sprites.npz")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(load_atlas, "__defaults__", (path,))
        the_atlas.cache_clear()
        yield
    the_atlas.cache_clear()

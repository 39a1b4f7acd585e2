"""The executor on Ray: what every executor promises, over processes that really die.

One small Ray serves all tests; each executor makes actors of its own on it.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from memory.artifacts import Artifacts
from models.ray_executor import OBJECT_STORE_BYTES, RayExecutor, import_ray
from models.tool import ToolError
from tests.models.echo import EchoRequest
from tests.models.executor_conformance import TOOLS, ExecutorConformance, MakeExecutor


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two cores and one declared GPU, whatever the machine has."""
    ray = import_ray()
    ray.init(
        address="local",
        num_cpus=2,
        num_gpus=1,
        include_dashboard=False,
        object_store_memory=OBJECT_STORE_BYTES,
        configure_logging=False,
        log_to_driver=False,
        runtime_env={"env_vars": {"PYTHONPATH": ":".join(path for path in sys.path if path)}},
    )
    yield ray
    ray.shutdown()


@pytest.mark.ray
@pytest.mark.timeout(300)
class TestRayExecutor(ExecutorConformance):
    death = "kill"

    @pytest.fixture
    def make_executor(self, artifacts: Artifacts, cluster: Any) -> MakeExecutor:
        def make(**options: Any) -> RayExecutor:
            return RayExecutor(TOOLS, artifacts, **({"devices": ("cpu",), "threads": 1} | options))

        return make

    async def test_says_so_where_it_falls_back_to_the_cpu(
        self, make_executor: MakeExecutor, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The cluster of these tests declares a GPU, so this kind falls back only where there is none."""
        async with make_executor(devices="auto", num_gpus=2.0) as executor:
            result = await executor.submit("echo", EchoRequest(text="where"))
        assert result.model.endswith("on cpu")
        assert any("models run on the CPU" in record.getMessage() for record in caplog.records)

    async def test_two_workers_share_a_card(self, make_executor: MakeExecutor) -> None:
        async with make_executor(devices="auto", num_gpus=0.5) as executor:
            result = await executor.submit("echo", EchoRequest(text="a"))
            assert result.model == "m:10 on cuda:0"

    async def test_what_the_cluster_does_not_have_is_named(self, make_executor: MakeExecutor) -> None:
        async with make_executor(devices=("cuda", "cuda")) as executor:
            with pytest.raises(
                ToolError, match="2 workers need 2 GPUs and 2 cores, and the Ray cluster has 1"
            ):
                await executor.submit("echo", EchoRequest(text="a"))

    async def test_a_worker_that_ray_does_not_bring_back_is_left_out(
        self, make_executor: MakeExecutor, log: Path
    ) -> None:
        async with make_executor(max_restarts=0) as executor:
            with pytest.raises(ToolError, match="echo has no worker: ActorDiedError"):
                await executor.submit("echo", EchoRequest(text="a", kills=1, death="kill", log=log))
            with pytest.raises(ToolError, match="open another executor"):
                await executor.submit("echo", EchoRequest(text="b"))

    async def test_pictures_of_another_machine_are_missed_at_once(self, tmp_path: Path, cluster: Any) -> None:
        async with RayExecutor(TOOLS, ElsewhereOnArrival(tmp_path / "here"), devices=("cpu",)) as executor:
            with pytest.raises(ToolError, match="does not see the pictures of the machine that asks"):
                await executor.submit("echo", EchoRequest(text="a"))


class ElsewhereOnArrival(Artifacts):
    """A store whose path leads to another folder in another process, as on a machine that shares no disk."""

    def __reduce__(self) -> Any:
        return Artifacts, (self.root.with_name("there"),)


def test_an_address_of_ray_client_is_refused(artifacts: Artifacts) -> None:
    with pytest.raises(ValueError, match="'ray://head:10001' is an address of Ray Client"):
        RayExecutor(TOOLS, artifacts, address="ray://head:10001")


async def test_without_ray_the_way_out_is_named(
    artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    async with RayExecutor(TOOLS, artifacts) as executor:
        with pytest.raises(ToolError, match=r"pip install maulstick\[ray\]"):
            await executor.submit("echo", EchoRequest(text="a"))

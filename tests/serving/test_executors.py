"""Where tools run is a setting; what they paint does not depend on it."""

import json

import pytest

from memory.artifacts import Artifacts
from serving.assembly import make_executor
from serving.failures import UserError
from settings import Settings


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ({"ray_address": "auto"}, "executor is 'local', which uses no Ray: set MAULSTICK_EXECUTOR=ray"),
        ({"executor": "ray", "device": "cuda:1"}, "device is 'cuda:1', and Ray chooses the cards itself"),
        ({"executor": "ray", "ray_address": "ray://head:10001"}, "MAULSTICK_RAY_ADDRESS: 'ray://head:10001'"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    chosen: dict[str, str], words: str, artifacts_folder: Artifacts
) -> None:
    with pytest.raises(UserError, match=words):
        make_executor(Settings(home=artifacts_folder.root, **chosen), artifacts_folder)


@pytest.fixture
def artifacts_folder(tmp_path) -> Artifacts:
    return Artifacts(tmp_path / "artifacts")


@pytest.mark.ray
@pytest.mark.timeout(400)
def test_ray_paints_the_same_pictures(maulstick) -> None:
    painted = []
    for executor in ("local", "ray"):
        done = maulstick(
            *("generate", "a photo of a red cube", "--images", "3", "--json"),
            env={"MAULSTICK_EXECUTOR": executor, "MAULSTICK_DEVICE": "cpu"},
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        painted.append([picture["sha256"] for picture in json.loads(done.stdout)["pictures"]])
    assert painted[0] == painted[1] and len(set(painted[0])) == 3


@pytest.mark.ray
@pytest.mark.timeout(400)
def test_a_refinement_runs_on_ray(maulstick) -> None:
    done = maulstick(
        *("refine", "a red cube", "--images", "4", "--json"),
        env={"MAULSTICK_EXECUTOR": "ray", "MAULSTICK_DEVICE": "cpu"},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["pictures"] <= 4

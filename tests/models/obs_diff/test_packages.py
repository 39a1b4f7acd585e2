"""Whole denoisers pruned package by package: against the official driver, killed and gone on, whatever the
cut.
"""

import copy
import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from safetensors.torch import load_file

from models.obs_diff import Order, Shared, find_units, prune_denoiser
from models.obs_diff.packages import cut, hessian_bytes
from models.tool import ToolError

GOLDENS = Path(__file__).parents[2] / "goldens" / "obs_diff"
INDEX: dict[str, Any] = json.loads((GOLDENS / "index.json").read_text("utf-8"))["cases"]
STEPS = 4


class EulerLoop:
    """The goldens' calibration: four samples in two batches, four Euler steps without guidance."""

    batches = 2

    def __init__(self, model: Any, inputs: dict[str, torch.Tensor]) -> None:
        self.model, self.inputs = model, inputs
        self.ran: list[int] = []

    def steps(self) -> int:
        return STEPS

    def run(self, batch: int) -> None:
        self.ran.append(batch)
        rows = slice(2 * batch, 2 * batch + 2)
        x = self.inputs["latents"][rows]
        sigmas = [1 - i / STEPS for i in range(STEPS + 1)]
        with torch.no_grad():
            for sigma, following in pairwise(sigmas):
                x = x + (following - sigma) * self.velocity(x, sigma, rows)

    def velocity(self, x: torch.Tensor, sigma: float, rows: slice = slice(None)) -> torch.Tensor:
        with torch.no_grad():
            return self.model(
                hidden_states=x,
                timestep=torch.full((len(x),), 1000 * sigma),
                encoder_hidden_states=self.inputs["encoder_hidden_states"][rows],
                pooled_projections=self.inputs["pooled_projections"][rows],
                return_dict=False,
            )[0]


@pytest.fixture
def sd3() -> EulerLoop:
    from diffusers import SD3Transformer2DModel

    inputs = load_file(GOLDENS / "e2e_inputs.safetensors")
    model = SD3Transformer2DModel(**INDEX["e2e_inputs"]["config"]).eval()
    weights = {
        key.removeprefix("model."): value.float() for key, value in inputs.items() if key.startswith("model.")
    }
    missing, unexpected = model.load_state_dict(weights, strict=False)
    assert not unexpected and set(missing) <= {"pos_embed.pos_embed"}
    loop = EulerLoop(model, inputs)
    torch.testing.assert_close(loop.velocity(inputs["latents"], 1.0), inputs["dense.velocity_first_step"])
    return loop


def official(name: str, **how: Any) -> tuple[dict[str, torch.Tensor], Order]:
    case = INDEX[name]
    assert case["percdamp"] == 0.01
    order = Order(
        sparsity=case["sparsity"],
        packages=case["num_pruned_groups"],
        trajectory="pruned",
        count_rule="official",
        **how,
    )
    return load_file(GOLDENS / f"{name}.safetensors"), order


def test_unstructured_as_the_official_driver(sd3: EulerLoop) -> None:
    golden, order = official("e2e_unstructured", pattern="unstructured")
    outcome = prune_denoiser(sd3.model, order, sd3)
    assert outcome.packages == 3
    weights = sd3.model.state_dict()
    changed = {key.removeprefix("model."): value for key, value in golden.items() if key.startswith("model.")}
    wrong = sum(int(((weights[key] == 0) != (value == 0)).sum()) for key, value in changed.items())
    assert wrong <= 0.001 * sum(value.numel() for value in changed.values())
    for key, value in changed.items():
        torch.testing.assert_close(weights[key], value, atol=1e-3, rtol=0)
    velocity = sd3.velocity(sd3.inputs["latents"], 1.0)
    torch.testing.assert_close(velocity, golden["velocity_first_step"], atol=5e-3, rtol=0)
    assert set(outcome.masks) == {key.removesuffix(".weight") for key in changed}


def test_structured_as_the_official_driver(sd3: EulerLoop) -> None:
    golden, order = official("e2e_structured", pattern="structured")
    prune_denoiser(sd3.model, order, sd3)
    heads = [block.attn.heads for block in sd3.model.transformer_blocks]
    assert heads == INDEX["e2e_structured"]["heads_after"]
    weights = sd3.model.state_dict()
    for key, value in golden.items():
        if key.startswith("model."):
            torch.testing.assert_close(weights[key.removeprefix("model.")], value, atol=1e-3, rtol=0)
    velocity = sd3.velocity(sd3.inputs["latents"], 1.0)
    torch.testing.assert_close(velocity, golden["velocity_first_step"], atol=5e-3, rtol=0)


def grouping() -> Iterator[tuple[str, int, Any]]:
    for key, packages in json.loads((GOLDENS / "grouping.json").read_text("utf-8")).items():
        pattern, _, groups = key.split("_")
        yield pattern, int(groups.removeprefix("groups")), packages


@pytest.mark.parametrize(("pattern", "groups", "wanted"), list(grouping()))
def test_packages_as_the_official_ones(pattern: str, groups: int, wanted: Any) -> None:
    from diffusers import SD3Transformer2DModel

    structured = pattern == "structured"
    # The published function is asked for all four blocks; the last block of a model stays.
    layers = 5 if structured else 4
    model = SD3Transformer2DModel(
        sample_size=8, num_layers=layers, attention_head_dim=8, num_attention_heads=2, joint_attention_dim=8,
        caption_projection_dim=16, pooled_projection_dim=8,
    )  # fmt: skip
    units = find_units(model, structured=structured)
    packages = cut(model, units, Order(pattern=pattern, packages=groups))
    found = [
        sorted(
            [int(name.split(".")[1]), name.split(".", 2)[2]]
            for unit in package
            for name in unit.layers
            if not (structured and name.endswith("to_add_out"))
        )
        for package in packages
    ]
    assert found == [sorted(package) for package in wanted]


def weights_of(model: Any) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_playing_through_few_blocks_gives_what_whole_runs_give(sd3: EulerLoop, tmp_path: Path) -> None:
    order = Order(packages=9)
    fresh = FreshModels(sd3)
    played = fresh.prune(order, recording=tmp_path / "calls")
    assert same(played, fresh.prune(order, recording=tmp_path / "calls", placement="disk"))
    assert not same(played, fresh.prune(Order(packages=1)))  # there later layers hear no pruned ones
    sd3.model = fresh.dense
    inputs = WholeRuns(sd3)
    whole = fresh.prune(order.model_copy(update={"trajectory": "pruned"}), calibration=inputs)
    for name, value in whole.items():
        torch.testing.assert_close(played[name], value, atol=1e-6, rtol=1e-5)


class WholeRuns:
    """The inputs of the dense model's path fed to the whole model again, as a calibration."""

    batches = 2

    def __init__(self, loop: EulerLoop) -> None:
        self.loop = loop
        self.calls: list[dict[str, Any]] = []

        def keep(module: Any, args: Any, kwargs: dict[str, Any]) -> None:
            self.calls.append(kwargs)

        handle = loop.model.register_forward_pre_hook(keep, with_kwargs=True)
        for batch in range(loop.batches):
            loop.run(batch)
        handle.remove()

    def steps(self) -> int:
        return STEPS

    def run(self, batch: int) -> None:
        with torch.no_grad():
            for kwargs in self.calls[batch * STEPS : (batch + 1) * STEPS]:
                self.loop.model(**kwargs)


def test_memory_cuts_packages(sd3: EulerLoop) -> None:
    units = find_units(sd3.model, structured=False)
    budget = 200_000
    packages = cut(sd3.model, units, Order(memory=budget))
    assert [unit for package in packages for unit in package] == units
    assert len(packages) > 1
    for package, following in pairwise(packages):
        assert hessian_bytes(sd3.model, package, Order()) <= budget
        assert hessian_bytes(sd3.model, [*package, following[0]], Order()) > budget
    with pytest.raises(ToolError, match=r"take 0\.1 MiB, more than the memory of 0\.1 MiB: give it more"):
        cut(sd3.model, units, Order(memory=100_000))


class Killed(Exception):
    pass


@pytest.mark.parametrize("pattern", ["unstructured", "structured"])
def test_what_was_ended_goes_on_at_the_package(sd3: EulerLoop, tmp_path: Path, pattern: str) -> None:
    order = Order(pattern=pattern, sparsity=0.25, packages=3 if pattern == "unstructured" else 2)
    dense = weights_of(sd3.model)
    fresh = FreshModels(sd3)
    whole = fresh.prune(order)
    seen = 0

    def end(done: int, total: int, unit: str) -> None:
        nonlocal seen
        if unit == "layer" and done > total // 2:
            seen = done
            raise Killed

    with pytest.raises(Killed):
        fresh.prune(order, state=tmp_path / "state", recording=tmp_path / "calls", watch=end)
    assert seen
    finished = len(list((tmp_path / "state").glob("package-*.pt")))
    assert 0 < finished < cast(int, order.packages)
    sd3.ran.clear()
    resumed = fresh.prune(order, state=tmp_path / "state", recording=tmp_path / "calls")
    assert not sd3.ran  # the recording was there
    assert same(whole, resumed)
    with pytest.raises(ToolError, match="holds another pruning"):
        fresh.prune(order.model_copy(update={"sparsity": 0.3}), state=tmp_path / "state")
    assert not same(dense, resumed)


class FreshModels:
    """The same dense model anew for each pruning."""

    def __init__(self, loop: EulerLoop) -> None:
        self.loop, self.dense = loop, loop.model

    def prune(self, order: Order, calibration: Any = None, **how: Any) -> dict[str, torch.Tensor]:
        self.loop.model = copy.deepcopy(self.dense)
        prune_denoiser(self.loop.model, order, calibration or self.loop, **how)
        return weights_of(self.loop.model)


def test_sparsities_share_the_first_package(sd3: EulerLoop, tmp_path: Path) -> None:
    fresh, shared = FreshModels(sd3), Shared()
    for sparsity in (0.3, 0.5):
        order = Order(sparsity=sparsity, packages=2)
        together = fresh.prune(order, recording=tmp_path / "calls", shared=shared)
        assert same(together, fresh.prune(order))
    assert sorted(sd3.ran) == [0] * 3 + [1] * 3  # once for both, once for each alone


def test_a_layer_that_never_runs_is_named(sd3: EulerLoop) -> None:
    sd3.model.transformer_blocks[1].ff.forward = torch.zeros_like  # its layers are skipped
    before = weights_of(sd3.model)
    with pytest.raises(ToolError, match=r"transformer_blocks\.1\.ff\.net\.0\.proj got no inputs"):
        prune_denoiser(sd3.model, Order(packages=1), sd3)
    assert same(before, weights_of(sd3.model))


def test_wrong_numbers_in_calibration_are_named(sd3: EulerLoop) -> None:
    sd3.inputs["latents"][0, 0, 0, 0] = torch.nan
    with pytest.raises(ToolError, match=r"transformer_blocks\.0\.attn\.to_q was fed NaN"):
        prune_denoiser(sd3.model, Order(), sd3)

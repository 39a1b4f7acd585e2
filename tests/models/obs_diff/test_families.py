"""Every family by every pattern: pruned as asked, saved, loaded, painted with."""

from pathlib import Path
from typing import Any

import pytest
import torch

from models.backends import resolve
from models.obs_diff import FAMILIES as TABLE
from models.obs_diff import Order, find_units, load_pruned, prune_denoiser, save_pruned
from models.obs_diff.hooks import Hooks
from models.obs_diff.saving import Pruning, denoiser_name, load_masks
from models.painting import Painter, Settled, denoise
from models.pipelines import load_pipeline
from models.tool import ToolError
from tests.models.families import VARIANTS, save_family

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

NAMES = sorted(VARIANTS)
PATTERNS = {"unstructured": 0.5, "2:4": 0.5, "1:4": 0.25, "structured": 0.3}


class Painted:
    """Two prompts a batch, two steps, by whatever pipeline."""

    batches = 2

    def __init__(self, painter: Painter) -> None:
        self.painter = painter
        side = painter.backend.width or 32
        self.settled = Settled(steps=2, guidance=2.0, width=side, height=side)

    def steps(self) -> int:
        return len(set(self.painter.pipeline.scheduler.timesteps.tolist()))

    def run(self, batch: int) -> None:
        denoise(self.painter, ["a red cube", "two cones"], [2 * batch, 2 * batch + 1], self.settled)


@pytest.fixture(scope="module", params=NAMES)
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_family(request.param, tmp_path_factory.mktemp(request.param) / request.param)


def open_painter(folder: Path) -> Painter:
    backend = resolve(str(folder))
    if folder.name.startswith("sana"):
        backend = backend.model_copy(update={"width": 64, "height": 64})
    return Painter(backend, load_pipeline(backend, "cpu"))


def denoiser_of(painter: Painter) -> Any:
    return getattr(painter.pipeline, denoiser_name(painter.pipeline))


@pytest.mark.parametrize("pattern", PATTERNS)
def test_pruned_saved_loaded_and_painted_with(family: Path, tmp_path: Path, pattern: str) -> None:
    painter = open_painter(family)
    denoiser, dense = denoiser_of(painter), denoiser_of(open_painter(family))
    order = Order(pattern=pattern, sparsity=PATTERNS[pattern], packages=3)
    outcome = prune_denoiser(denoiser, order, Painted(painter))
    removed = sum(report.removed for report in outcome.reports)
    of = sum(report.of for report in outcome.reports)
    if order.structured:
        assert denoiser.num_parameters() < dense.num_parameters()
        assert abs(removed / of - order.sparsity) < 0.2  # two heads do not divide by 0.3
        assert not outcome.masks
    else:
        assert removed / of == pytest.approx(order.sparsity, abs=0.001)
        for name, mask in outcome.masks.items():
            assert bool((denoiser.get_submodule(name).weight[mask] == 0).all())
    for report in outcome.reports:
        assert 0 <= report.error <= report.error_before + 1e-9, report
    out = tmp_path / f"{family.name}-pruned"
    told = Pruning(method="obs", pattern=pattern, sparsity=order.sparsity, parent=family.name)
    save_pruned(painter.pipeline, out, told, outcome.masks)
    loaded = load_pruned(out)
    for name, value in denoiser.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name
    assert load_masks(out).keys() == outcome.masks.keys()
    again = open_painter(out)
    settled = Painted(painter).settled
    one, other = denoise(painter, ["a red cube"], [5], settled), denoise(again, ["a red cube"], [5], settled)
    # Weights that were read lie elsewhere in memory, which may show in the last bits.
    torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
    whole = denoise(open_painter(family), ["a red cube"], [5], settled)
    assert one.shape == whole.shape and not torch.equal(one, whole)


def test_the_table_says_the_truth_about_shared_inputs(family: Path) -> None:
    """Each layer has a Hessian of its own here, and those of an inlet must come out the same."""
    painter = open_painter(family)
    denoiser = denoiser_of(painter)
    units = find_units(denoiser, structured=False)
    hooks = Hooks(
        denoiser, [type(unit)(unit.block, tuple((n,) for n in unit.layers)) for unit in units], torch.float32
    )
    with hooks.listening():
        Painted(painter).run(0)
    for unit in units:
        for inlet in unit.inlets:
            first = hooks.hessians[inlet[0]].matrix
            assert bool(first.any())
            for name in inlet[1:]:
                assert torch.equal(first, hooks.hessians[name].matrix), name


def test_layers_outside_the_table_stay(family: Path) -> None:
    painter = open_painter(family)
    denoiser = denoiser_of(painter)
    before = {name: value.clone() for name, value in denoiser.state_dict().items()}
    pruned = {name for unit in find_units(denoiser, structured=False) for name in unit.layers}
    prune_denoiser(denoiser, Order(sparsity=0.5), Painted(painter))
    for name, value in denoiser.state_dict().items():
        layer = name.rpartition(".")[0]
        is_weight = layer in pruned and name.endswith(".weight")
        assert torch.equal(value, before[name]) != is_weight, name


def test_every_entry_of_the_table_has_a_family_in_these_tests(family: Path) -> None:
    assert type(denoiser_of(open_painter(family))).__name__ in {entry.denoiser for entry in TABLE}


def test_an_unknown_family_names_the_known() -> None:
    with pytest.raises(
        ToolError, match=r"a Linear is of no family .* known: flux \(FluxTransformer2DModel\), sd3"
    ):
        find_units(torch.nn.Linear(2, 2), structured=False)


def test_blocks_outside_the_range_stay(tmp_path: Path) -> None:
    painter = open_painter(save_family("flux", tmp_path / "flux"))
    denoiser = denoiser_of(painter)
    units = find_units(denoiser, structured=True, blocks=(1, 2))
    assert {unit.block for unit in units} == {"single_transformer_blocks.0"}
    with pytest.raises(ToolError, match="blocks 1:3 are not among the 2 of this denoiser"):
        find_units(denoiser, structured=True, blocks=(1, 3))


def test_the_last_block_of_sd3_stays_in_structured_pruning(tmp_path: Path) -> None:
    denoiser = denoiser_of(open_painter(save_family("sd3", tmp_path / "sd3")))
    last = len(denoiser.transformer_blocks) - 1
    units = find_units(denoiser, structured=True)
    assert units and all(unit.block != f"transformer_blocks.{last}" for unit in units)


def test_adapters_are_refused(tmp_path: Path) -> None:
    from peft import LoraConfig

    denoiser = denoiser_of(open_painter(save_family("flux", tmp_path / "flux")))
    denoiser.add_adapter(LoraConfig(r=2, target_modules=["to_q"]))
    with pytest.raises(ToolError, match=r"attn\.to_q is a Linear, not a plain linear layer: prune without"):
        find_units(denoiser, structured=False)


def test_m_must_divide_the_inputs(tmp_path: Path) -> None:
    painter = open_painter(save_family("flux", tmp_path / "flux"))
    with pytest.raises(ToolError, match=r"to_q has 32 inputs, which 5 does not divide"):
        prune_denoiser(denoiser_of(painter), Order(pattern="2:5"), Painted(painter))

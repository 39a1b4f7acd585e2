"""Stochastic samplers: a row's noise follows from what the row begins with, and from nothing else."""

import inspect
from types import SimpleNamespace
from typing import Any

import diffusers
import pytest
import torch

from models.step_noise import clean_latents, own_noise

# numpy's complaint about how diffusers' schedulers turn a tensor into an array
pytestmark = pytest.mark.filterwarnings("ignore:.*__array__.*copy.*:DeprecationWarning")

SAMPLERS = {
    "FlowMatchEulerDiscreteScheduler": {"stochastic_sampling": True},
    "FlowMatchLCMScheduler": {},
    "EulerAncestralDiscreteScheduler": {},
}
WANTED = torch.linspace(-1.0, 1.0, 6)
"""What the model of these tests always sees under the noise."""


def sample(name: str, latents: torch.Tensor, **named: Any) -> tuple[torch.Tensor, Any]:
    """The latents after five of six steps, and the scheduler."""
    scheduler = getattr(diffusers, name)(**SAMPLERS[name])
    own_noise(SimpleNamespace(scheduler=scheduler))
    scheduler.set_timesteps(6)
    for time in scheduler.timesteps[:5]:
        sigma = scheduler.sigmas[scheduler.step_index or 0]
        output = latents - WANTED if sigma > 1 else (latents - WANTED) / sigma
        latents = scheduler.step(output, time, latents, **named).prev_sample
    return latents, scheduler


@pytest.mark.parametrize("name", SAMPLERS)
def test_rows_draw_their_own_noise(name: str) -> None:
    begun = torch.randn(3, 6, generator=torch.Generator().manual_seed(0))
    state = torch.get_rng_state()
    together = sample(name, begun)[0]
    assert torch.equal(torch.get_rng_state(), state), "nobody else's numbers are drawn"
    assert torch.equal(together, sample(name, begun)[0])
    for row in range(3):
        assert torch.equal(sample(name, begun[row : row + 1])[0][0], together[row])
    assert not torch.equal(sample(name, begun + 1e-6)[0], together)
    given = [torch.Generator().manual_seed(row) for row in range(3)]
    assert not torch.equal(sample(name, begun, generator=given)[0], together)


def test_a_stochastic_flow_tells_what_it_believes() -> None:
    latents, scheduler = sample("FlowMatchEulerDiscreteScheduler", torch.randn(2, 6))
    assert torch.allclose(clean_latents(scheduler), WANTED.expand(2, 6), atol=1e-5)
    assert not torch.allclose(latents, WANTED.expand(2, 6), atol=1e-3), "the last step is not taken"


def test_pipelines_still_see_which_parameters_a_step_has() -> None:
    plain = diffusers.EulerAncestralDiscreteScheduler()
    wrapped = own_noise(SimpleNamespace(scheduler=diffusers.EulerAncestralDiscreteScheduler())).scheduler
    assert inspect.signature(wrapped.step) == inspect.signature(plain.step)


def test_a_sampler_that_draws_nothing_is_left_alone() -> None:
    scheduler = own_noise(SimpleNamespace(scheduler=diffusers.DDIMScheduler())).scheduler
    assert "step" not in vars(scheduler) and clean_latents(scheduler) is None

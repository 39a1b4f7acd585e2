"""What is minimised: the velocity's error, and in the second stage the gradients' at four scales.

Source: official training code; sums run over the whole batch, as there.
"""

from torch import Tensor

from models.pixel_perfect_depth.schedule import clean_of

STRIDES = (1, 2, 4, 8)
GRADIENT_WEIGHT = 0.2


def velocity_loss(velocity: Tensor, wanted: Tensor, mask: Tensor) -> Tensor:
    """Mean squared error of velocities (N, 1, H, W) over the valid pixels; 0 where there are none."""
    return (mask * (velocity - wanted).square()).sum() / (mask.sum() + 1e-6)


def gradient_loss(clean: Tensor, wanted: Tensor, mask: Tensor) -> Tensor:
    """Mean absolute error of the differences between neighbours, summed over subsamplings by 1, 2, 4 and 8.

    Args:
        clean: predicted clean depths (N, 1, H, W), normalised.
        wanted: the true ones.
        mask: 0 and 1; a difference counts where both pixels are valid.
    """
    total = clean.new_zeros(())
    for stride in STRIDES:
        valid = mask[..., ::stride, ::stride]
        error = valid * (clean[..., ::stride, ::stride] - wanted[..., ::stride, ::stride])
        down = (valid[..., 1:, :] * valid[..., :-1, :] * error.diff(dim=-2).abs()).sum()
        across = (valid[..., 1:] * valid[..., :-1] * error.diff(dim=-1).abs()).sum()
        total = total + (down + across) / valid.sum().clamp(min=1)
    return total


def training_loss(
    velocity: Tensor,
    noisy: Tensor,
    clean: Tensor,
    noise: Tensor,
    timestep: Tensor,
    mask: Tensor,
    *,
    gradients: bool,
) -> dict[str, Tensor]:
    """The losses of a batch by name; `gradients` adds the second stage's.

    Args:
        velocity: the network's (N, 1, H, W) at `noisy`.
        noisy: x_t.
        clean: x0.
        noise: xT.
        timestep: (N,) in 0..1000.
        mask: valid pixels, 0 and 1.
        gradients: whether this is the second stage.
    """
    mask = mask.to(velocity.dtype)
    losses = {"velocity": velocity_loss(velocity, noise - clean, mask)}
    if gradients:
        predicted = clean_of(noisy, velocity, timestep)
        losses["gradients"] = GRADIENT_WEIGHT * gradient_loss(predicted, clean, mask)
    return losses

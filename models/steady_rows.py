"""Linear layers whose rows do not depend on how many rows there are. Knows no pipeline.

Matrix libraries take another kernel for a single row than for several, and on some processors (AMD's with
AVX-512 under MKL 2024 to 2026, whatever MKL_CBWR says) the last bits differ. Where every picture of a batch
has a sequence of tokens this never shows, since a sequence is many rows. It shows in layers that see one
vector per picture: embeddings of time and of pooled text, and the modulation made from them.
"""

from torch import Tensor, nn
from torch.nn.functional import pad


def steady_rows(model: nn.Module, rows: int) -> None:
    """Let every linear layer of `model` take single vectors, [n, features] with n below `rows`, as `rows`
    rows, the missing ones zero. What a layer returns keeps its shape.
    """
    for layer in model.modules():
        if isinstance(layer, nn.Linear):
            _steady(layer, rows)


def _steady(layer: nn.Linear, rows: int) -> None:
    forward = layer.forward

    def steady(input: Tensor) -> Tensor:
        if input.dim() != 2 or len(input) >= rows:
            return forward(input)
        return forward(pad(input, (0, 0, 0, rows - len(input))))[: len(input)]

    layer.forward = steady

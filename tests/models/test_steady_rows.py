import torch
from torch import nn

from models.steady_rows import steady_rows

ROWS = 8


def test_a_vector_gives_the_same_alone_and_among_others() -> None:
    torch.manual_seed(0)
    for features, wanted in ((16, 16), (64, 64), (192, 1152), (384, 1536)):
        model = nn.Sequential(nn.Linear(features, wanted))
        vectors = torch.randn(ROWS, features)
        plain = model(vectors)
        steady_rows(model, ROWS)
        assert torch.equal(model(vectors), plain)
        for first, last in ((0, 1), (7, 8), (2, 5), (0, 7)):
            some = model(vectors[first:last])
            assert torch.equal(some, plain[first:last])


def test_sequences_and_larger_batches_go_through_as_they_are() -> None:
    torch.manual_seed(0)
    model, steady = nn.Linear(16, 4), nn.Linear(16, 4)
    steady.load_state_dict(model.state_dict())
    steady_rows(steady, ROWS)
    for shape in ((2, 3, 16), (ROWS + 1, 16), (16,)):
        inputs = torch.randn(*shape)
        assert torch.equal(steady(inputs), model(inputs))

"""Processes that make things ahead give what one process would have given, in its order."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from models.embedded.training.crew import Crew


@dataclass(frozen=True)
class Squares:
    """Picklable, as what a crew makes has to be."""

    broken: int = -1

    def __call__(self, number: int) -> Tensor:
        if number == self.broken:
            raise ValueError(f"number {number} cannot be made")
        return torch.arange(number) ** 2


@pytest.mark.parametrize("processes", [0, 2])
def test_a_crew_gives_every_number_its_own(processes: int) -> None:
    with Crew(Squares(), processes) as crew:
        for number in (3, 4, 5, 9, 10, 2):  # in order, a leap, and back
            assert torch.equal(crew(number), torch.arange(number) ** 2)


def test_what_fails_in_a_crew_is_raised_where_it_is_asked_for() -> None:
    with Crew(Squares(broken=2), 1) as crew:
        assert len(crew(1)) == 1
        with pytest.raises(ValueError, match="number 2 cannot be made"):
            crew(2)

"""How far things are, measured: the depth tool's answer in the place of the perception model's guess.

A detector guesses a distance from how large a thing is and where it stands; of 510 held-out pairs of things
its guesses had 85 % in the right order. A depth map is asked for only where a question needs it.
"""

from collections.abc import Iterable
from typing import Protocol

from pydantic import BaseModel

from agents.embedded_claims import read_relation
from agents.evidence import Question
from models.artifact import ArtifactRef
from models.depth_request import DepthRequest, DepthResult
from models.perception import Perception
from models.pixel_perfect_depth.regions import within_picture

DEEP = ("in front of", "behind")
"""Relations that only distances decide."""


class Submitting(Protocol):
    """What is needed of an executor (`models.executor.Executor`)."""

    async def submit(self, tool: str, request: BaseModel, /) -> BaseModel:
        """Run one request and return its result."""
        ...


def ask_for_depth(questions: Iterable[Question]) -> bool:
    """Whether one of the questions is about what stands before what."""
    relations = (read_relation(question.target) for question in questions if question.kind == "position")
    return any(relation is not None and relation[1] in DEEP for relation in relations)


async def measure_distances(
    executor: Submitting, model: str, picture: ArtifactRef, perception: Perception
) -> Perception:
    """The same things, with distances from a depth map of the picture.

    Args:
        executor: runs `estimate_depth`.
        model: the depth network's name.
        picture: that `perception` is of.
        perception: whose boxes say where to look. Fewer than two things have no order, and are not measured.
    """
    if len(perception.things) < 2:
        return perception
    boxes = tuple(within_picture(thing.box) for thing in perception.things)
    request = DepthRequest(picture=picture, model=model, regions=boxes)
    result = DepthResult.model_validate(await executor.submit("estimate_depth", request))
    things = tuple(
        thing.model_copy(update={"distance": result.metric(relative)})
        for thing, relative in zip(perception.things, result.regions, strict=True)
    )
    return perception.model_copy(update={"things": things})

"""A studio without weights: a painter whose mistakes depend on wording and seed, and a critic that knows
the truth.

The painter draws real pictures with the diorama's renderer. How well it understands a prompt is a
property of the wording (a hash of it), as with a real painter: some wordings of the same scene work,
others do not. The critic reads the scene back from the picture's sidecar. Mind, executor and memory are
the real ones.
"""

from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image

from agents.embedded import EmbeddedMind
from agents.patterns import load_patterns
from diorama.graph import INVERSE, Group, SceneGraph
from diorama.parsing import parse
from diorama.place import Unplaceable, complete
from diorama.render import render, seen
from diorama.truth import Seen
from diorama.vocabulary import load_vocabulary
from graphs.context import Studio
from graphs.run import Home
from memory.artifacts import Artifacts
from memory.episodes import Episodes
from memory.patterns import PatternPosterior
from memory.seeds import SeedPosterior
from models.artifact import ArtifactRef
from models.critique_image import CritiqueRequest, CritiqueResult
from models.executor import LocalExecutor
from models.perception import DetectedThing, Perception
from models.picture_request import GenerateRequest, GenerateResult
from models.tool import Tool, ToolContext, ToolError
from tests.ledgers import open_ledger

VOCABULARY = load_vocabulary("cpu")
PICTURE_SIZE = 32


def clarity(prompt: str) -> float:
    """How well the painter understands this wording, 0 to 1: fixed for each wording, mediocre for most."""
    return (int(sha256(prompt.encode()).hexdigest()[:8], 16) / 2**32) ** 2


class DioramaPainter(Tool[GenerateRequest, GenerateResult, None]):
    """Draws the scene that a prompt asks for, with more mistakes the less clear its wording is."""

    name = "generate_image"
    summary = "Draw a scene."
    request_type = GenerateRequest
    result_type = GenerateResult

    def model_key(self, request: GenerateRequest) -> str:
        return request.backend

    def memory_bytes(self, model_key: str) -> int:
        return 0

    def load(self, model_key: str, device: str) -> None:
        """Nothing to load: the renderer is the model."""

    def run(
        self, model: None, requests: Sequence[GenerateRequest], context: ToolContext
    ) -> list[GenerateResult]:
        return [self._draw(request, context) for request in requests]

    def _draw(self, request: GenerateRequest, context: ToolContext) -> GenerateResult:
        context.check_cancelled()
        if request.edit_of is not None:
            return GenerateResult(picture=self.edit(request.edit_of, context), seconds=0.0)
        if "toruses" in request.prompt:
            raise ToolError("the painter cannot draw toruses")
        graph = misread(parse(request.prompt).graph, clarity(request.prompt), request.seed)
        try:
            scene = complete(graph, np.random.default_rng(request.seed), VOCABULARY)
        except Unplaceable:  # misread relations may contradict each other; a painter then ignores them
            bare = graph.model_copy(update={"relations": ()})
            scene = complete(bare, np.random.default_rng(request.seed), VOCABULARY)
        rendering = render([scene], size=PICTURE_SIZE)
        pixels = rendering.rgb[0].permute(1, 2, 0).numpy()
        [things] = seen([scene], rendering)
        truth = Perception(things=tuple(map(detect, things)), setting=scene.setting, setting_confidence=0.99)
        provenance = {"perception": truth.model_dump(mode="json")}
        picture = context.artifacts.save_image(
            Image.fromarray(pixels), seed=request.seed, provenance=provenance
        )
        return GenerateResult(picture=picture, seconds=0.0)

    def edit(self, picture: ArtifactRef, context: ToolContext) -> ArtifactRef:
        """It finds nothing to better in what it is to paint anew."""
        return picture


class TruthfulCritic(Tool[CritiqueRequest, CritiqueResult, None]):
    """Knows what every picture shows."""

    name = "critique_image"
    summary = "Tell the truth."
    request_type = CritiqueRequest
    result_type = CritiqueResult

    def model_key(self, request: CritiqueRequest) -> str:
        return request.model

    def memory_bytes(self, model_key: str) -> int:
        return 0

    def load(self, model_key: str, device: str) -> None:
        """Nothing to load: the truth lies beside the picture."""

    def run(
        self, model: None, requests: Sequence[CritiqueRequest], context: ToolContext
    ) -> list[CritiqueResult]:
        artifacts = cast(Artifacts, context.artifacts)
        return [CritiqueResult(perception=self.know(artifacts, request.picture)) for request in requests]

    def know(self, artifacts: Artifacts, picture: ArtifactRef) -> Perception:
        """What the picture shows. One that was touched up shows what it showed before."""
        told: Any = artifacts.sidecar(picture)["provenances"]
        if "perception" in told[0]:
            return Perception.model_validate(told[0]["perception"])
        return self.know(artifacts, ArtifactRef(sha256=told[0]["edit_of"]))


def detect(thing: Seen) -> DetectedThing:
    sure = dict.fromkeys(("shape", "colour", "pattern", "size"), 0.99)
    return DetectedThing(
        shape=thing.shape,
        colour=thing.colour,
        pattern=thing.pattern,
        size=thing.size,
        box=cast(Any, tuple(min(max(edge, 0.0), 1.0) for edge in thing.box)),
        distance=thing.distance,
        confidence=0.99,
        attribute_confidence=sure,
    )


def misread(graph: SceneGraph, understood: float, seed: int) -> SceneGraph:
    """The graph with each of its facts wrong with a probability of (1 - understood) / 2."""
    rng = Random(f"{graph.model_dump_json()}/{understood}/{seed}")

    def slips() -> bool:
        return rng.random() < (1 - understood) / 2

    def misread_group(group: Group) -> Group:
        colours = [name for name in VOCABULARY.colour_names if name != group.colour]
        wrong: dict[str, Any] = {}
        if group.colour and slips():
            wrong["colour"] = rng.choice(colours)
        if slips() and group.count > 1:
            wrong["count"] = group.count - 1
        return group.model_copy(update=wrong)

    relations = tuple(
        relation.model_copy(update={"predicate": INVERSE[relation.predicate]}) if slips() else relation
        for relation in graph.relations
    )
    return graph.model_copy(
        update={"groups": tuple(map(misread_group, graph.groups)), "relations": relations}
    )


def open_studio(
    home: Home,
    painter: DioramaPainter | None = None,
    critic: TruthfulCritic | None = None,
    **changes: Any,
) -> Studio:
    """The studio on a home's folder; the same folder gives the same studio in another process."""
    artifacts = Artifacts(home.root / "artifacts")
    tools: list[Tool[Any, Any, Any]] = [painter or DioramaPainter(), critic or TruthfulCritic()]
    executor = LocalExecutor(tools, artifacts, devices=("cpu",), threads=1)
    parts: dict[str, Any] = {
        "executor": executor,
        "artifacts": artifacts,
        "mind": EmbeddedMind(executor),
        "patterns": tuple(pattern.name for pattern in load_patterns()),
        "episodes": Episodes(home.ledger, home.root / "chroma"),
        "posterior": PatternPosterior(home.ledger),
        "seeds": SeedPosterior(home.ledger),
    }
    return Studio(**{**parts, **changes})


@pytest.fixture
def home(place: str, tmp_path: Path) -> Iterator[Home]:
    with open_ledger(place) as ledger:
        yield Home(tmp_path, ledger)


@pytest.fixture
async def studio(home: Home) -> Any:
    opened = open_studio(home)
    yield opened
    await opened.executor.close()
    assert opened.episodes is not None
    opened.episodes.close()

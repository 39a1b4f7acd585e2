"""Scenes with planted faults, seen by a critic that is never wrong."""

import hashlib
from dataclasses import dataclass, field, replace
from random import Random

import numpy as np
from pydantic import BaseModel

from agents.embedded_reading import read
from diorama.families import FAMILIES, Family, draw_graph
from diorama.graph import SceneGraph
from diorama.place import Unplaceable, complete, project
from diorama.scene import Scene, Thing
from diorama.vocabulary import load_vocabulary
from diorama.wording import say
from models.artifact import ArtifactRef
from models.critique_image import CritiqueRequest, CritiqueResult
from models.perception import DetectedThing, Perception

SURE = {"shape": 0.99, "colour": 0.98, "pattern": 0.97, "size": 0.97}


def perceive(scene: Scene, confidence: float = 0.95, sure: dict[str, float] | None = None) -> Perception:
    """What a flawless critic reports of a scene, with the given confidences."""
    things = tuple(
        DetectedThing(
            shape=seen.shape,
            colour=seen.colour or "white",  # a critic has a word for every natural look
            pattern=seen.pattern,
            size=seen.size,
            box=seen.box,
            distance=seen.distance,
            confidence=confidence,
            attribute_confidence=SURE if sure is None else sure,
        )
        for seen in project(scene)
    )
    return Perception(things=things, setting=scene.setting, setting_confidence=0.98)


@dataclass
class TruthExecutor:
    """Answers `critique_image` from the truth about scenes that were shown to it; `looks` counts requests."""

    seen: dict[str, Perception] = field(default_factory=dict[str, Perception])
    looks: int = 0

    def show(self, perception: Perception) -> ArtifactRef:
        """Give a perception a picture's name."""
        ref = ArtifactRef(sha256=hashlib.sha256(perception.model_dump_json().encode()).hexdigest())
        self.seen[ref.sha256] = perception
        return ref

    async def submit(self, tool: str, request: BaseModel) -> CritiqueResult:
        """The only tool there is."""
        assert tool == "critique_image"
        self.looks += 1
        return CritiqueResult(perception=self.seen[CritiqueRequest.model_validate(request).picture.sha256])


def make_scene(prompt: str, seed: int = 0) -> Scene:
    """A scene that shows exactly what the prompt asks for."""
    return complete(read(prompt).parsed.graph, np.random.default_rng(seed), load_vocabulary())


def change(scene: Scene, index: int, **attributes: str) -> Scene:
    """The scene with one thing's attributes changed."""
    things = list(scene.things)
    things[index] = replace(things[index], **attributes)  # type: ignore[arg-type]
    return replace(scene, things=tuple(things))


def remove(scene: Scene, index: int) -> Scene:
    return replace(scene, things=scene.things[:index] + scene.things[index + 1 :])


def add(scene: Scene, shape: str, colour: str) -> Scene:
    """The scene with one more thing, apart from the others."""
    more = Thing(shape=shape, colour=colour, pattern="plain", size="small", x=0.0, y=0.3, z=2.5, yaw=0.3)
    return replace(scene, things=(*scene.things, more))


def mirror(scene: Scene) -> Scene:
    """Left becomes right."""
    things = tuple(replace(thing, x=2 * scene.camera.x - thing.x) for thing in scene.things)
    return replace(scene, things=things)


def draw_graphs(
    count: int, seed: int, families: tuple[Family, ...] = FAMILIES, words: str = "solids"
) -> list[SceneGraph]:
    """Scene graphs of all families, some with a setting."""
    rng, vocabulary = Random(seed), load_vocabulary(words)
    graphs: list[SceneGraph] = []
    for index in range(count):
        graph = draw_graph(families[index % len(families)], rng, vocabulary, "heldout")
        setting = rng.choice([None, *vocabulary.setting_names]) if graph.setting is None else graph.setting
        graphs.append(graph.model_copy(update={"setting": setting}))
    return graphs


def draw_scenes(count: int, seed: int, style: str = "geneval") -> list[tuple[str, Scene]]:
    """Prompts of all families in one style, each with a scene that shows it; crowded graphs are left out."""
    found: list[tuple[str, Scene]] = []
    for index, graph in enumerate(draw_graphs(2 * count, seed)):
        prompt = say(graph, style, Random(index))
        try:
            found.append((prompt, make_scene(prompt, index)))
        except Unplaceable:
            continue
        if len(found) == count:
            return found
    raise AssertionError(f"only {len(found)} of {2 * count} graphs can be placed")

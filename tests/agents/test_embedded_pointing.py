"""Things pointed out: what was asked for, where it is seen, the farthest first."""

import pytest

from agents.embedded import EmbeddedMind
from agents.embedded_pointing import point_out
from agents.embedded_reading import make_questions
from agents.evidence import Question
from agents.point_out import POINT_OUT, PointOutRequest, Thing
from agents.role import MindError
from tests.agents.scenes import TruthExecutor, draw_scenes, make_scene, perceive

PROMPT = "a photo of two red cubes left of a blue sphere in a garden"


def asked(prompt: str) -> PointOutRequest:
    return PointOutRequest(prompt=prompt, questions=make_questions(prompt))


def test_every_thing_asked_for_is_named_alone_the_farthest_first() -> None:
    seen = perceive(make_scene(PROMPT))
    things = point_out(asked(PROMPT), seen).things
    assert sorted(thing.words for thing in things) == ["a blue sphere", "a red cube", "a red cube"]
    distances = {thing.box: thing.distance for thing in seen.things}
    order = [distances[thing.box] for thing in things]
    assert order == sorted(order, reverse=True) and len(set(thing.box for thing in things)) == 3


def test_what_was_not_asked_for_is_not_pointed_out_and_no_colour_is_made_up() -> None:
    for prompt, scene in draw_scenes(40, seed=31):
        things = point_out(asked(prompt), perceive(scene)).things
        assert len(things) == len(scene.things)
    other = point_out(asked("a photo of a blue sphere"), perceive(make_scene(PROMPT)))
    assert [thing.words for thing in other.things] == ["a blue sphere"]
    [giraffe] = point_out(asked("a photo of a giraffe"), perceive(make_scene("a photo of a giraffe"))).things
    assert giraffe.words == "a giraffe"
    [cube] = point_out(asked("a photo of a cube"), perceive(make_scene("a photo of a red cube"))).things
    assert cube.words == "a red cube", "a solid has a colour even where none was asked for"


async def test_the_mind_plays_it(mind: EmbeddedMind, executor: TruthExecutor) -> None:
    picture = executor.show(perceive(make_scene(PROMPT)))
    assert len((await mind.ask(POINT_OUT, asked(PROMPT), [picture])).things) == 3
    foreign = Question(id="q", sentence_id=0, kind="existence", text="Is it nice?", target="niceness")
    with pytest.raises(MindError, match="its own questions"):
        await mind.ask(POINT_OUT, PointOutRequest(prompt=PROMPT, questions=(foreign,)), [picture])


def test_an_empty_box_is_refused() -> None:
    with pytest.raises(ValueError, match=r"the box \(0.5, 0.1, 0.5, 0.4\) of 'a red cube' is empty"):
        Thing(words="a red cube", box=(0.5, 0.1, 0.5, 0.4))

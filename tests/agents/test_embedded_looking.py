import pytest
from pydantic import BaseModel

from agents.answer import ANSWER, AnswerRequest
from agents.caption import CAPTION, CaptionRequest
from agents.check_caption import CHECK_CAPTION, CheckCaptionRequest
from agents.embedded import EmbeddedMind
from agents.embedded_caption import scan
from agents.embedded_looking import SEEN_CONFIDENCE, answer_questions, presence
from agents.embedded_reading import make_questions, make_sentences, read
from agents.evidence import Answer, Question
from agents.role import MindError
from diorama.place import project
from diorama.scene import Scene
from diorama.truth import mismatches
from models.artifact import ArtifactRef
from models.critique_image import CritiqueResult
from models.perception import Perception
from models.tool import ToolError
from tests.agents.scenes import TruthExecutor, change, draw_scenes, make_scene, mirror, perceive, remove

PROMPT = "a photo of two red cubes left of a blue sphere in a garden"


def ask(prompt: str, perception: Perception) -> dict[str, Answer]:
    answers = answer_questions(make_questions(prompt), perception)
    return {answer.question_id: answer for answer in answers}


def test_a_true_picture_gets_yes_to_all() -> None:
    for prompt, scene in draw_scenes(40, seed=21):
        answers = ask(prompt, perceive(scene))
        assert {answer.verdict for answer in answers.values()} == {"yes"}
        assert min(answer.p_yes for answer in answers.values()) > 0.7


def test_verdicts_are_those_of_the_truth() -> None:
    for prompt, true in draw_scenes(40, seed=22):
        scene = mirror(change(true, 0, colour="black", pattern="dotted"))
        wrong = mismatches(read(prompt).scene, project(scene), scene.setting)
        answers = ask(prompt, perceive(scene))
        denied = {name.split(":")[0] for name, answer in answers.items() if answer.verdict == "no"}
        assert denied == {"existence" if m.kind == "missing" else m.kind for m in wrong}


def test_evidence_says_what_is_seen() -> None:
    scene = change(make_scene(PROMPT), 1, colour="green")
    answers = ask(PROMPT, perceive(scene))
    colour = answers["colour:two red cubes"]
    assert colour.verdict == "no"
    assert colour.evidence == "2 cubes seen: red (0.98), green (0.98)"
    fewer = ask(PROMPT, perceive(remove(make_scene(PROMPT), 0)))["count:two red cubes"]
    assert (fewer.verdict, fewer.evidence) == ("no", "1 cube seen (0.95), 2 wanted")


def test_probabilities_follow_confidence() -> None:
    scene = make_scene(PROMPT)
    sure, unsure = ask(PROMPT, perceive(scene, 0.95)), ask(PROMPT, perceive(scene, 0.5))
    assert sure["count:two red cubes"].p_yes > unsure["count:two red cubes"].p_yes >= 0.5
    assert presence(SEEN_CONFIDENCE) == pytest.approx(0.5)
    faint = ask(PROMPT, perceive(scene, 0.3))
    nothing = ask(PROMPT, perceive(Scene((), "garden", scene.camera, scene.light)))
    assert faint["existence:two red cubes"].verdict == nothing["existence:two red cubes"].verdict == "no"
    assert faint["existence:two red cubes"].p_yes > nothing["existence:two red cubes"].p_yes


def test_a_nearer_miss_is_more_probable() -> None:
    prompt = "a photo of four red cubes"
    scene = make_scene(prompt)
    three, two = remove(scene, 0), remove(remove(scene, 0), 0)
    p = [ask(prompt, perceive(s))["count:four red cubes"].p_yes for s in (scene, three, two)]
    assert p[0] > 0.5 > p[1] > p[2]


def test_a_foreign_question_is_not_guessed_at() -> None:
    foreign = Question(id="q", sentence_id=0, kind="colour", text="Is the dog brown?", target="the dog")
    (answer,) = answer_questions((foreign,), perceive(make_scene(PROMPT)))
    assert (answer.verdict, answer.p_yes) == ("unsure", 0.5)
    mixed = answer_questions((*make_questions(PROMPT), foreign), perceive(make_scene(PROMPT)))
    assert [answer.verdict for answer in mixed[:-1]] == ["yes"] * (len(mixed) - 1)
    assert mixed[-1].verdict == "unsure"


async def test_each_picture_is_looked_at_once(mind: EmbeddedMind, executor: TruthExecutor) -> None:
    picture = executor.show(perceive(make_scene(PROMPT)))
    request = AnswerRequest(questions=make_questions(PROMPT))
    first = await mind.ask(ANSWER, request, [picture])
    await mind.ask(CAPTION, CaptionRequest(), [picture])
    assert await mind.ask(ANSWER, request, [picture]) == first
    assert executor.looks == 1
    assert await EmbeddedMind(executor).ask(ANSWER, request, [picture]) == first


async def test_a_failing_critic_is_a_mind_error() -> None:
    class Broken(TruthExecutor):
        async def submit(self, tool: str, request: BaseModel) -> CritiqueResult:
            raise ToolError("the weights are missing; run `make train`")

    with pytest.raises(MindError, match="make train"):
        await EmbeddedMind(Broken()).ask(CAPTION, CaptionRequest(), [ArtifactRef(sha256="0" * 64)])


async def test_a_role_without_its_picture_is_refused(mind: EmbeddedMind) -> None:
    with pytest.raises(MindError, match="takes 1 picture"):
        await mind.ask(CAPTION, CaptionRequest())


async def test_a_caption_bears_out_a_true_picture(mind: EmbeddedMind, executor: TruthExecutor) -> None:
    for prompt, scene in draw_scenes(40, seed=23):
        picture = executor.show(perceive(scene))
        caption = (await mind.ask(CAPTION, CaptionRequest(), [picture])).text
        check = await mind.ask(
            CHECK_CAPTION, CheckCaptionRequest(sentences=make_sentences(prompt), caption=caption)
        )
        assert not [v for v in check.verdicts if v.verdict in ("contradicts", "not_mentioned")], (
            prompt,
            caption,
            check,
        )


async def test_a_caption_shows_faults(mind: EmbeddedMind, executor: TruthExecutor) -> None:
    prompt = "a photo of a red cube left of a blue sphere in a garden"
    scene = make_scene(prompt)
    sentences = make_sentences(prompt)

    async def check(wrong: Scene) -> dict[str, tuple[str, str]]:
        caption = (await mind.ask(CAPTION, CaptionRequest(), [executor.show(perceive(wrong))])).text
        reply = await mind.ask(CHECK_CAPTION, CheckCaptionRequest(sentences=sentences, caption=caption))
        return {sentences[v.sentence_id].text: (v.verdict, v.reason) for v in reply.verdicts}

    assert (await check(change(scene, 0, colour="green")))["a red cube"][1].startswith(
        "colour: red wanted, green"
    )
    assert (await check(remove(scene, 0)))["a red cube"][0] == "not_mentioned"
    night = Scene(scene.things, "night", scene.camera, scene.light)
    assert (await check(night))["in a garden"] == (
        "contradicts",
        "background: garden wanted, night described",
    )
    assert (await check(mirror(scene)))["a red cube left of a blue sphere"][0] in ("contradicts", "unclear")


def test_names_are_scanned_whole_and_orange_is_a_colour_or_a_thing() -> None:
    mentions, _ = scan(
        "The picture shows a large orange plain cube, an orange on the left, a small orange plain orange and "
        "two hot dogs. A traffic light stands beside a dog that is orange."
    )
    assert [(m.shape, m.count, m.said.get("colour"), m.place) for m in mentions] == [
        ("cube", 1, "orange", None),
        ("orange", 1, None, "left"),
        ("orange", 1, "orange", None),
        ("hot dog", 2, None, None),
        ("traffic light", 1, None, None),
        ("dog", 1, "orange", None),
    ]


def test_captions_of_others_are_scanned() -> None:
    mentions, settings = scan(
        "In a garden we see a cube that is red, 2 small striped balls and a large, blue cone on the left."
    )
    assert settings == {"garden"}
    assert [(m.shape, m.count, m.said.get("colour"), m.place) for m in mentions] == [
        ("cube", 1, "red", None),
        ("sphere", 2, None, None),
        ("cone", 1, "blue", "left"),
    ]

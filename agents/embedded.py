"""The embedded mind: plays every role by grammar and by small perception models, offline.

It plays only prompts that the embedded world's grammar reads. It keeps nothing between requests but what it
saw in pictures, by their hashes, so a resumed run gets the same replies.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal

from pydantic import BaseModel

from agents.answer import AnswerRequest, Answers
from agents.caption import Caption, CaptionRequest
from agents.decompose import DecomposeRequest, Decomposition
from agents.embedded_caption import check_caption, describe
from agents.embedded_explaining import explain
from agents.embedded_judging import integrate
from agents.embedded_looking import Eyes, answer, answer_questions
from agents.embedded_measuring import Submitting, ask_for_depth
from agents.embedded_pointing import point_out
from agents.embedded_rating import rate
from agents.embedded_reading import check_known, decompose, locate, make_questions, merge, question
from agents.embedded_writing import propose, rewrite
from agents.evidence import Rating
from agents.point_out import PointOutRequest, Things
from agents.rate import RateRequest
from agents.role import MindError, ReplyT, RequestT, Role
from diorama.vocabulary import Vocabulary
from models.artifact import ArtifactRef
from models.tool import ToolError

Blind = Callable[[Any], BaseModel]
Sighted = Callable[[Any, ArtifactRef], Awaitable[BaseModel]]


class EmbeddedMind:
    """Plays roles with the embedded world's grammar and with `critique_image`.

    `critic` names the perception model that it looks with; the judge of a benchmark has to be another.
    `depth` names the depth network that it asks what stands before what (None: the perception model guesses).
    `vocabulary` holds the words that the painter knows (None: all of the embedded world's): a prompt with
    others is not begun.
    """

    name = "embedded"

    def __init__(
        self,
        executor: Submitting,
        critic: Literal["critic", "judge"] = "critic",
        vocabulary: Vocabulary | None = None,
        depth: str | None = None,
    ) -> None:
        self._eyes = Eyes(executor, critic, depth)
        self._vocabulary = vocabulary
        self._blind: dict[str, Blind] = {
            "decompose": self._decompose,
            "question": question,
            "check_caption": check_caption,
            "integrate": integrate,
            "locate": locate,
            "merge": merge,
            "propose": propose,
            "explain": explain,
            "rewrite": rewrite,
        }
        self._sighted: dict[str, Sighted] = {
            "caption": self._caption,
            "answer": self._answer,
            "rate": self._rate,
            "point_out": self._point_out,
        }

    async def ask(
        self, role: Role[RequestT, ReplyT], request: RequestT, images: Sequence[ArtifactRef] = ()
    ) -> ReplyT:
        """Play `role`; the same request on the same pictures gives the same reply.

        Raises:
            UnsupportedPrompt: the prompt has words, or sentences, that the grammar does not read.
            MindError: the role is unknown, pictures are missing, or the perception model failed.
        """
        if len(images) != role.pictures:
            raise MindError(f"the role {role.name!r} takes {role.pictures} picture(s), not {len(images)}")
        if role.name in self._blind:
            return role.reply.model_validate(self._blind[role.name](request))
        if role.name not in self._sighted:
            known = ", ".join([*self._blind, *self._sighted])
            raise MindError(
                f"the embedded mind does not play {role.name!r}; it plays: {known}. Try `--mind openai`"
            )
        try:
            return role.reply.model_validate(await self._sighted[role.name](request, images[0]))
        except ToolError as error:
            raise MindError(
                f"the embedded mind could not look at picture {images[0].sha256[:12]}: {error}"
            ) from error

    def _decompose(self, request: DecomposeRequest) -> Decomposition:
        if self._vocabulary is not None:
            check_known(request.prompt, self._vocabulary)
        return decompose(request)

    async def _caption(self, request: CaptionRequest, picture: ArtifactRef) -> Caption:
        return Caption(text=describe(await self._eyes.look(picture)))

    async def _answer(self, request: AnswerRequest, picture: ArtifactRef) -> Answers:
        deep = ask_for_depth(request.questions)
        return answer(request, await self._eyes.look(picture, measured=deep))

    async def _point_out(self, request: PointOutRequest, picture: ArtifactRef) -> Things:
        return point_out(request, await self._eyes.look(picture))

    async def _rate(self, request: RateRequest, picture: ArtifactRef) -> Rating:
        """Rate by the answers given; a request without any is answered here first."""
        if request.answers:
            return rate(request)
        questions = request.questions or make_questions(request.prompt)
        perception = await self._eyes.look(picture, measured=ask_for_depth(questions))
        answers = answer_questions(questions, perception)
        return rate(request.model_copy(update={"questions": questions, "answers": answers}))

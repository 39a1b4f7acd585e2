"""Arms that spend the same pictures without the loop: one sample, the best of N, one rewrite and the best of
N.

They paint on the run's own seeds and choose by the same critic's ratings as the loop does, so that only the
search differs. The first picture of all arms that keep the prompt is the same picture, unless the loop's
memory knows a better seed for it.
"""

import asyncio
from dataclasses import dataclass

from agents.answer import ANSWER, AnswerRequest
from agents.decompose import DECOMPOSE, DecomposeRequest
from agents.evidence import Question, Rating
from agents.question import QUESTION, QuestionRequest
from agents.rate import RATE, RateRequest
from agents.rewrite import REWRITE, RewriteRequest
from graphs.context import Studio
from graphs.faults import find_faults
from graphs.seeds import picture_seed
from models.artifact import ArtifactRef
from models.picture_request import GenerateRequest, GenerateResult


@dataclass(frozen=True, slots=True)
class Chosen:
    """What an arm returns: a picture, its prompt, the critic's rating, and the pictures spent."""

    prompt: str
    picture: ArtifactRef
    rating: Rating
    pictures: int


async def best_of(studio: Studio, backend: str, prompt: str, original: str, seed: int, count: int) -> Chosen:
    """Paint `prompt` with the run's first `count` seeds and return what the critic rates best against
    `original`.

    Ties go to the earlier seed. With a count of 1 this is a single sample.
    """
    mind = studio.mind_for
    sentences = (await mind("decompose").ask(DECOMPOSE, DecomposeRequest(prompt=original))).sentences
    request = QuestionRequest(prompt=original, sentences=sentences)
    questions = (await mind("question").ask(QUESTION, request)).questions
    painted = await asyncio.gather(
        *(
            studio.executor.submit(
                "generate_image",
                GenerateRequest(prompt=prompt, backend=backend, seed=picture_seed(seed, number)),
            )
            for number in range(count)
        )
    )
    pictures = [result.picture for result in painted if isinstance(result, GenerateResult)]
    ratings = await asyncio.gather(*(_rate(studio, original, questions, picture) for picture in pictures))
    best = max(range(count), key=lambda number: (ratings[number].mean, -number))
    return Chosen(prompt, pictures[best], ratings[best], count)


async def rewrite(studio: Studio, prompt: str) -> str:
    """The prompt in a mind's clearer words."""
    return (await studio.mind_for("rewrite").ask(REWRITE, RewriteRequest(prompt=prompt))).prompt


async def _rate(studio: Studio, prompt: str, questions: tuple[Question, ...], picture: ArtifactRef) -> Rating:
    answers = await studio.mind_for("answer").ask(ANSWER, AnswerRequest(questions=questions), [picture])
    faults = find_faults(questions, answers.answers, 0)
    request = RateRequest(prompt=prompt, questions=questions, answers=answers.answers, errors=faults)
    return await studio.mind_for("rate").ask(RATE, request, [picture])

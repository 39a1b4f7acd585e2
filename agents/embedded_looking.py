"""Looks at a picture through the perception model and answers every question about it.

Verdicts follow `diorama.truth`, the one rule by which everything here measures; probabilities say how sure
that is, and how near a miss was. Knows the questions and the picture; never the prompt.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import exp, prod
from typing import Literal

from agents.answer import AnswerRequest, Answers
from agents.embedded_claims import Claim, plural_of, rebuild_claims
from agents.embedded_measuring import Submitting, measure_distances
from agents.evidence import Answer, Question
from diorama.graph import SceneGraph
from diorama.truth import Seen, assign, mismatches, relation_margin
from models.artifact import ArtifactRef
from models.critique_image import CritiqueRequest, CritiqueResult
from models.perception import DetectedThing, Perception

SEEN_CONFIDENCE = 0.4
"""A thing counts as seen from this confidence on; a fainter one is a ghost, which only lends or takes
probability."""

SHARPNESS = 2.0
"""Odds are raised to this power. Assumed, not fitted: detectors trained with focal loss tend to be less sure
than they are right. Fit it, with `SEEN_CONFIDENCE`, on held-out pictures of the shipped critic."""

MARGIN_SCALE = 0.05
"""The relation margin (see `truth.relation_margin`) that multiplies the odds of a relation by e."""

CACHED_PICTURES = 4096

_MOST, _LEAST = 0.999, 0.001


class Eyes:
    """Sees pictures by `critique_image`, each picture once: what was seen is kept under the picture's
    hash. Distances are the perception model's guesses, or measured by `estimate_depth` where that is wanted.
    """

    def __init__(
        self,
        executor: Submitting,
        model: Literal["critic", "judge"] = "critic",
        depth: str | None = None,
    ) -> None:
        """`depth` names the depth network that measures distances (None: they stay guesses)."""
        self._executor = executor
        self._model: Literal["critic", "judge"] = model
        self._depth = depth
        self._seen: OrderedDict[tuple[str, bool], Perception] = OrderedDict()

    async def look(self, picture: ArtifactRef, *, measured: bool = False) -> Perception:
        """What the perception model reports about `picture`; `measured` where distances matter."""
        key = (picture.sha256, measured and self._depth is not None)
        if (known := self._seen.get(key)) is not None:
            self._seen.move_to_end(key)
            return known
        if measured and self._depth is not None:
            perception = await measure_distances(
                self._executor, self._depth, picture, await self.look(picture)
            )
        else:
            request = CritiqueRequest(picture=picture, model=self._model)
            answered = await self._executor.submit("critique_image", request)
            perception = CritiqueResult.model_validate(answered).perception
        self._seen[key] = perception
        if len(self._seen) > CACHED_PICTURES:
            self._seen.popitem(last=False)
        return perception


def answer(request: AnswerRequest, perception: Perception) -> Answers:
    """Answer all questions about one picture.

    A question that is not in this mind's own words is answered "unsure": it is not guessed at.
    """
    return Answers(answers=answer_questions(request.questions, perception))


def answer_questions(questions: Sequence[Question], perception: Perception) -> tuple[Answer, ...]:
    """One answer per question, in order."""
    rebuilt = rebuild_claims(questions)
    claims = {} if rebuilt is None else {claim.id: claim for claim in rebuilt[1]}
    sight = None if rebuilt is None else Sight.of(rebuilt[0], perception)
    answers: list[Answer] = []
    for question in questions:
        known = claims.get(f"{question.kind}:{question.target}")
        if known is None or sight is None:
            text = f"the embedded mind does not understand this question about {question.target!r}"
            answers.append(Answer(question_id=question.id, verdict="unsure", p_yes=0.5, evidence=text))
            continue
        holds, p_yes, text = sight.judge(known)
        verdict = "yes" if holds else "no"
        answers.append(Answer(question_id=question.id, verdict=verdict, p_yes=round(p_yes, 4), evidence=text))
    return tuple(answers)


def presence(confidence: float) -> float:
    """The probability that a thing seen with `confidence` is there: one half at `SEEN_CONFIDENCE`."""
    bounded = min(max(confidence, _LEAST), _MOST)
    odds = bounded / (1 - bounded) / (SEEN_CONFIDENCE / (1 - SEEN_CONFIDENCE))
    return odds**SHARPNESS / (1 + odds**SHARPNESS)


@dataclass(frozen=True, slots=True)
class Sight:
    """What a perception means for one scene graph: who is who, who is too many, and what is wrong."""

    graph: SceneGraph
    perception: Perception
    things: tuple[DetectedThing, ...]
    """The things that count as seen; `members` and `extra` index them."""
    ghosts: tuple[DetectedThing, ...]
    members: tuple[tuple[int, ...], ...]
    extra: tuple[int, ...]
    wrong: frozenset[tuple[str, int | None]]
    """(kind, index of the group, or of the relation for "position") of every mismatch."""

    @classmethod
    def of(cls, graph: SceneGraph, perception: Perception) -> "Sight":
        """Match what is seen with what is asked for, by the rule of `diorama.truth`."""
        things = tuple(thing for thing in perception.things if thing.confidence >= SEEN_CONFIDENCE)
        seen = [Seen.of(thing) for thing in things]
        members, extra = assign(graph, seen)
        found = mismatches(graph, seen, perception.setting)
        return cls(
            graph=graph,
            perception=perception,
            things=things,
            ghosts=tuple(thing for thing in perception.things if thing.confidence < SEEN_CONFIDENCE),
            members=tuple(map(tuple, members)),
            extra=tuple(extra),
            wrong=frozenset((m.kind, m.group if m.relation is None else m.relation) for m in found),
        )

    def judge(self, claim: Claim) -> tuple[bool, float, str]:
        """Whether the claim holds, the probability that it does, and what is seen that says so.

        The probability of a claim that holds is at least one half, of one that does not below it: the mean
        over the things concerned of how sure each is, below 0.45 of that where it fails. So of two failures
        the nearer miss is the more probable.
        """
        judges: dict[str, Callable[[Claim], tuple[bool, float, str]]] = {
            "existence": self._judge_existence,
            "count": self._judge_count,
            "position": self._judge_position,
            "background": self._judge_background,
            "extra": self._judge_extra,
        }
        holds, p_yes, text = judges.get(claim.kind, self._judge_attribute)(claim)
        return holds, min(max(p_yes, 0.5), _MOST) if holds else max(0.45 * p_yes, _LEAST), text

    def _judge_existence(self, claim: Claim) -> tuple[bool, float, str]:
        index, shape = self._group(claim)
        members = [self.things[position] for position in self.members[index]]
        if members:
            return True, max(map(_shape_presence, members)), f"{_number(len(members), shape)} seen"
        return False, max(map(_shape_presence, self._faint(shape)), default=0.0), f"no {shape} seen"

    def _judge_count(self, claim: Claim) -> tuple[bool, float, str]:
        index, shape = self._group(claim)
        members = [self.things[position] for position in self.members[index]]
        wanted, found = self.graph.groups[index].count, len(members)
        sure = [f"{thing.confidence:.2f}" for thing in members]
        text = f"{_number(found, shape)} seen ({', '.join(sure)})" if sure else f"no {shape} seen"
        if found == wanted:
            doubt = prod(1 - _shape_presence(ghost) for ghost in self._faint(shape))
            return True, _mean(map(_shape_presence, members)) * doubt, text
        # One off is a nearer miss than three off, whatever the confidences.
        return False, min(found, wanted) / max(found, wanted), f"{text}, {wanted} wanted"

    def _judge_attribute(self, claim: Claim) -> tuple[bool, float, str]:
        index, shape = self._group(claim)
        members = [self.things[position] for position in self.members[index]]
        if not members:
            return False, 0.0, f"no {shape} to look at"
        wanted = getattr(self.graph.groups[index], claim.kind)
        values = [
            (str(getattr(thing, claim.kind)), thing.attribute_confidence[claim.kind]) for thing in members
        ]
        share = _mean(sure if value == wanted else 1 - sure for value, sure in values)
        told = ", ".join(f"{value} ({sure:.2f})" for value, sure in values)
        return (claim.kind, index) not in self.wrong, share, f"{_number(len(members), shape)} seen: {told}"

    def _judge_position(self, claim: Claim) -> tuple[bool, float, str]:
        if claim.relation is None:
            raise ValueError(f"{claim.id!r} is about no relation")
        relation = self.graph.relations[claim.relation]
        ends = [self.members[relation.subject], self.members[relation.object]]
        shapes = [self.graph.groups[relation.subject].shape, self.graph.groups[relation.object].shape]
        for members, shape in zip(ends, shapes, strict=True):
            if not members:
                return False, 0.0, f"no {shape} to compare with"
        margins = [
            relation_margin(Seen.of(self.things[a]), relation.predicate, Seen.of(self.things[b]))
            for a in ends[0]
            for b in ends[1]
        ]
        holds = ("position", claim.relation) not in self.wrong
        share = _mean(1 / (1 + exp(-max(min(margin / MARGIN_SCALE, 50.0), -50.0))) for margin in margins)
        right = sum(margin > 0 for margin in margins)
        pairs = f" for {right} of {len(margins)} pairs" if len(margins) > 1 else ""
        verb = f"is {'' if right or pairs else 'not '}{relation.predicate}"
        return holds, share, f"the {shapes[0]} {verb} the {shapes[1]}{pairs} (margin {min(margins):.2f})"

    def _judge_background(self, claim: Claim) -> tuple[bool, float, str]:
        seen, sure = self.perception.setting, self.perception.setting_confidence
        holds = seen == self.graph.setting
        return holds, sure if holds else 1 - sure, f"the setting looks like {seen} ({sure:.2f})"

    def _judge_extra(self, claim: Claim) -> tuple[bool, float, str]:
        doubt = prod(1 - presence(ghost.confidence) for ghost in self.ghosts)
        if not self.extra:
            return True, doubt, "nothing else seen"
        surplus = [self.things[position] for position in self.extra]
        told = ", ".join(f"{thing.colour} {thing.shape} ({thing.confidence:.2f})" for thing in surplus)
        return False, prod(1 - presence(thing.confidence) for thing in surplus) * doubt, f"also seen: {told}"

    def _group(self, claim: Claim) -> tuple[int, str]:
        if claim.group is None:
            raise ValueError(f"{claim.id!r} is about no group")
        return claim.group, self.graph.groups[claim.group].shape

    def _faint(self, shape: str) -> list[DetectedThing]:
        return [ghost for ghost in self.ghosts if ghost.shape == shape]


def _shape_presence(thing: DetectedThing) -> float:
    return presence(thing.confidence) * thing.attribute_confidence["shape"]


def _number(count: int, shape: str) -> str:
    return f"{count} {shape if count == 1 else plural_of(shape)}"


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return sum(listed) / len(listed)

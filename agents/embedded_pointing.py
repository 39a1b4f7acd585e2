"""Points the things out that were asked for, by what the perception model sees. Knows no prompt."""

from agents.embedded_claims import rebuild_claims
from agents.embedded_looking import Sight
from agents.point_out import PointOutRequest, Thing, Things
from agents.role import MindError
from diorama.graph import Group
from diorama.vocabulary import load_vocabulary
from diorama.wording import say_group
from models.perception import DetectedThing, Perception
from models.pixel_perfect_depth.regions import within_picture


def point_out(request: PointOutRequest, perception: Perception) -> Things:
    """Every thing that stands for one asked for, the farthest first. Of each is said what was asked, not what
    is seen; of a solid that may have any colour, the colour that it has.

    Raises:
        MindError: the questions are not this mind's own.
    """
    rebuilt = rebuild_claims(request.questions)
    if rebuilt is None:
        raise MindError(
            "the embedded mind points out what its own questions ask for: let it play `question` too"
        )
    sight = Sight.of(rebuilt[0], perception)
    found = [
        (sight.things[position], group)
        for group, members in zip(sight.graph.groups, sight.members, strict=True)
        for position in members
    ]
    found.sort(key=lambda pair: -pair[0].distance)
    return Things(
        things=tuple(Thing(words=_say(group, seen), box=within_picture(seen.box)) for seen, group in found)
    )


def _say(group: Group, seen: DetectedThing) -> str:
    solid = group.shape in load_vocabulary().solids
    colour = group.colour or (seen.colour if solid else None)
    return say_group(Group(shape=group.shape, colour=colour, pattern=group.pattern))

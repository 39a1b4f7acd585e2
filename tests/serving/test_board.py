import io

from rich.console import Console

from agents.evidence import Error, Rating, Span
from graphs.events import (
    Degraded,
    Ended,
    ErrorSeen,
    Painted,
    Painting,
    Rated,
    Recalled,
    Started,
    Stepped,
    TouchedUp,
)
from models.artifact import ArtifactRef
from serving.board import Board
from serving.terminal import describe, draw, watch

PICTURE = ArtifactRef(sha256="0" * 64, seed=1)


def _rating(value: float) -> Rating:
    return Rating(attribute_binding=value, object_relationship=value, background_consistency=value)


def _error(status: str) -> Error:
    return Error(
        id="e1", kind="colour", target="cube", description="the cube is [blue], not red", sentence_ids=(0,),
        severity=0.9, sources=("vqa",), span=Span(start=2, end=5, text="red"), status=status,
    )  # fmt: skip


EVENTS = [
    Started(run_id="r1", prompt="a red [bold]cube", backend="embedded", mind="embedded", seed=0, pictures=8),
    Stepped(node="paint"),
    Painting(done=3, total=20),
    Painted(candidate="original", prompt="a red [bold]cube", picture=PICTURE, spent=1, at=1.0),
    Rated(candidate="original", picture=PICTURE, rating=_rating(2), errors=("blue",), incumbent=True),
    ErrorSeen(error=_error("open")),
    Recalled(lessons=(), round=1),
    Painted(candidate="c1", prompt="a cube that is red", picture=PICTURE, spent=2, at=4.0, round=1),
    Rated(candidate="c1", picture=PICTURE, rating=_rating(5), arm=0, incumbent=True, round=1),
    ErrorSeen(error=_error("fixed"), round=1),
    Degraded(node="caption", reason="no answer"),
    TouchedUp(things=("a red cube",), picture=PICTURE, rating=_rating(4.9), kept=True, at=4.5, round=1),
    Ended(
        status="satisfied", final_prompt="a cube that is red", picture=PICTURE, rating=_rating(5),
        explanation="done", at=5.0, round=1,
    ),
]  # fmt: skip


def test_the_board_follows_the_events():
    board = Board()
    for event in EVENTS:
        board.update(event)
    assert (board.spent, board.round, board.seconds) == (2, 1, 5.0)
    assert [name for name, row in board.rows.items() if row.incumbent] == ["c1"]
    assert board.errors["e1"].status == "fixed"
    assert board.notes == ["caption: no answer"]
    assert board.painting is None


def test_the_drawing_shows_round_errors_candidates_and_budget_and_takes_prompts_literally():
    board = Board()
    for event in EVENTS:
        board.update(event)
    console = Console(file=io.StringIO(), width=120, record=True)
    console.print(draw(board))
    text = console.export_text()
    for word in (
        "round 1",
        "a red [bold]cube",
        "the cube is [blue], not red",
        "5.00",
        "2 of 8",
        "without caption",
    ):
        assert word in text


def test_without_a_terminal_there_are_plain_lines():
    out = io.StringIO()
    with watch(Console(file=out, width=60)) as tell:
        for event in EVENTS:
            tell(event)
    lines = out.getvalue().splitlines()
    assert "\x1b" not in out.getvalue()
    assert any("rated c1 5.00, now leads" in line for line in lines)
    assert any("fixed: colour, the cube is [blue], not red in “red”" in line for line in lines)
    assert "ended: the picture shows what was asked" in lines[-1]


def test_a_terminal_gets_a_live_view():
    out = io.StringIO()
    with watch(Console(file=out, width=100, height=40, force_terminal=True)) as tell:
        for event in EVENTS:
            tell(event)
    assert "a cube that is red" in out.getvalue()
    assert "\x1b" in out.getvalue()


def test_what_became_of_touching_up_is_said_in_one_line():
    done = TouchedUp(things=("a red cube", "a cone"), picture=PICTURE, rating=_rating(4.9), kept=True)
    assert describe(done) == "touched up a red cube, a cone: rated 4.90"
    left_out = done.model_copy(update={"kept": False, "rating": _rating(3)})
    assert (
        describe(left_out) == "touched up a red cube, a cone: left out, since it no longer satisfies (3.00)"
    )
    assert describe(TouchedUp(reason="no thing in it is small")) == "not touched up: no thing in it is small"

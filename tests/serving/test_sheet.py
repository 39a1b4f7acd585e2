"""The sheet of a run: first and best beside each other, a row per round, the winner in gold."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from agents.evidence import Error, Rating
from graphs.request import Budget, RefineRequest
from graphs.state import ORIGINAL, Candidate, RefineState, View
from memory.artifacts import Artifacts
from models.artifact import ArtifactRef
from serving.comparison import SIDE, draw_comparison
from serving.ink import list_faults
from serving.sheet import WIDTH, draw_sheet

GOLD = (0xD9, 0xA5, 0x14)
PROMPT = "a photo of a red cube to the left of two blue spheres in a garden far from a large white cone"


def see(store: Artifacts, number: int, round_number: int, score: float | None, faults: int = 0) -> View:
    colour = (40 * number % 256, 90, 200 - 20 * number)
    picture = store.save_image(Image.new("RGB", (32, 24), colour), seed=number, provenance={})
    rating = score and Rating(
        attribute_binding=score, object_relationship=score, background_consistency=score
    )
    fault = Error(
        id="e",
        kind="colour",
        target="the cube",
        description="the colour of 'the red cube' is wrong: the cube is blue",
        sentence_ids=(0,),
        severity=0.9,
        sources=("vqa",),
    )
    return View(
        number=number,
        seed=number,
        round=round_number,
        picture=picture,
        rating=rating or None,
        faults=(fault,) * faults,
    )


def make_state(store: Artifacts, best: float = 4.8) -> RefineState:
    views = [see(store, 1, 0, 2.1, 4), see(store, 2, 1, 2.4, 1)]
    original = Candidate(id=ORIGINAL, prompt=PROMPT, views=tuple(views))
    others = {
        str(n): Candidate(
            id=str(n),
            prompt=f"{PROMPT}, wording {n}",
            base=ORIGINAL,
            round=1,
            views=(see(store, n, 1, 3.1, 1),),
        )
        for n in range(3, 7)
    }
    winner = Candidate(
        id="7", prompt="a clear wording", base=ORIGINAL, round=2, views=(see(store, 7, 2, best),)
    )
    unseen = Candidate(id="8", prompt="not rated", base=ORIGINAL, round=2, views=(see(store, 8, 2, None),))
    return RefineState(
        run_id="r",
        request=RefineRequest(prompt=PROMPT, budget=Budget(pictures=12)),
        candidates={ORIGINAL: original, **others, "7": winner, "8": unseen},
        status="satisfied",
        explanation="The cube was blue at first; a clearer wording made it red.",
    )


def find_gold(sheet: Image.Image) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of all golden pixels."""
    rows, columns = np.nonzero((np.asarray(sheet) == GOLD).all(axis=-1))
    assert rows.size
    return int(columns.min()), int(rows.min()), int(columns.max()), int(rows.max())


def test_first_and_best_stand_beside_each_other(tmp_path: Path) -> None:
    store = Artifacts(tmp_path)
    head = draw_comparison(make_state(store), store, 1328)
    assert head.mode == "RGB" and head.width == 1328
    left, top, right, bottom = find_gold(head)
    assert top == 0 and left > SIDE and right - left < 1.2 * SIDE and bottom == head.height - 1
    middle = SIDE // 2
    assert head.getpixel((middle, middle)) == (40, 90, 180), "the first picture"
    assert head.getpixel((left + middle, middle)) == (280 - 256, 90, 60), "the picture of the last round"


def test_one_row_per_round_and_one_winner(tmp_path: Path) -> None:
    store = Artifacts(tmp_path)
    state = make_state(store)
    sheet = draw_sheet(state, store)
    assert sheet.mode == "RGB" and sheet.width == WIDTH
    rows = sheet.crop((0, draw_comparison(state, store, WIDTH).height + 100, WIDTH, sheet.height))
    left, top, right, _ = find_gold(rows)
    assert top > rows.height / 2, "the winner was painted in the last round"
    assert left < 50 and right < WIDTH / 5


def test_a_first_picture_that_is_the_best_is_shown_once(tmp_path: Path) -> None:
    store = Artifacts(tmp_path)
    views = (see(store, 1, 0, 4.2), see(store, 2, 1, 2.4, 1))
    original = Candidate(id=ORIGINAL, prompt=PROMPT, views=views)
    state = make_state(store).model_copy(update={"candidates": {ORIGINAL: original}})
    left, _, right, _ = find_gold(draw_comparison(state, store, 1328))
    assert left == 0 and right < 1.2 * SIDE


def test_what_was_touched_up_stands_for_the_best(tmp_path: Path) -> None:
    store = Artifacts(tmp_path)
    state = make_state(store).model_copy(update={"touched": see(store, 9, 2, 4.9)})
    head = draw_comparison(state, store, 1328)
    left, _, right, _ = find_gold(head)
    assert left > SIDE and right - left < 1.2 * SIDE
    touched = (360 - 256, 90, 20)
    assert head.getpixel((left + SIDE // 2, SIDE // 2)) == touched
    # The first picture was the best: it stands beside what it became.
    original = Candidate(id=ORIGINAL, prompt=PROMPT, views=(see(store, 1, 0, 4.9),))
    first = state.model_copy(update={"candidates": {ORIGINAL: original}})
    head = draw_comparison(first, store, 1328)
    left, _, right, _ = find_gold(head)
    assert left > SIDE and head.getpixel((SIDE // 2, SIDE // 2)) == (40, 90, 180)
    assert head.getpixel((left + SIDE // 2, SIDE // 2)) == touched
    assert find_gold(draw_sheet(first, store))[0] > SIDE


def test_tells_how_many_faults_it_has_no_room_for() -> None:
    lines = list_faults([f"fault {n}" for n in range(5)], 3, 12, 200, 2)
    assert lines == ["· fault 0", "· fault 1", "· fault 2", "· and 2 more"]


def test_grows_with_the_run(tmp_path: Path) -> None:
    store = Artifacts(tmp_path)
    state = make_state(store)
    first = state.model_copy(update={"candidates": {ORIGINAL: state.candidates[ORIGINAL]}})
    assert draw_sheet(first, store).height < draw_sheet(state, store).height


def test_the_same_run_gives_the_same_sheet(tmp_path: Path) -> None:
    store = Artifacts(tmp_path)
    state = make_state(store)
    assert draw_sheet(state, store).tobytes() == draw_sheet(state, store).tobytes()


def test_a_run_without_pictures_has_a_sheet(tmp_path: Path) -> None:
    store = Artifacts(tmp_path)
    state = RefineState(
        run_id="r",
        request=RefineRequest(prompt="a giraffe"),
        status="unsupported",
        explanation="Nobody knows giraffes.",
    )
    assert draw_sheet(state, store).width == WIDTH


def test_a_lost_picture_is_named(tmp_path: Path) -> None:
    store = Artifacts(tmp_path)
    lost = View(number=1, seed=1, round=0, picture=ArtifactRef(sha256="0" * 64))
    state = make_state(store).model_copy(
        update={"candidates": {ORIGINAL: Candidate(id=ORIGINAL, prompt="x", views=(lost,))}}
    )
    with pytest.raises(LookupError, match="0000"):
        draw_sheet(state, store)

"""Which weights may take the place of the shipped ones, and what their cards and the page say."""

import json
import shutil
from pathlib import Path

import pytest

from diorama.atlas import load_atlas, the_atlas
from diorama.world import WORLD
from models.embedded.training import perception
from models.embedded.training.document import tables
from models.embedded.training.replacing import LacksWords, NotBetter, replace_shipped
from models.embedded.training.ship import WEIGHTS, main, ship_depth, ship_painter, ship_perception
from models.estimate_depth import DepthCard, read_card
from models.pixel_perfect_depth import training as depth
from models.pixel_perfect_depth.folders import load_pipeline

pytestmark = pytest.mark.usefixtures("art")


@pytest.fixture(scope="module")
def trained(art: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A critic by vocabulary, hardly trained."""
    folder = tmp_path_factory.mktemp("trained")
    return {
        words: perception.train("critic", "tiny", folder / words, steps=2, vocabulary=words)
        for words in ("tiny", "tiny_names")
    }


def ship(source: Path, weights: Path, part: str = "critic") -> dict[str, object]:
    assert part in ("critic", "judge")
    return ship_perception(part, source, {"profile": "tiny"}, autoencoder=None, pictures=4, weights=weights)


def test_more_names_replace_fewer_and_never_the_other_way(
    trained: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ship(trained["tiny"], tmp_path)["vocabulary"] == "tiny"
    with pytest.raises(NotBetter, match="those stay"):
        ship(trained["tiny"], tmp_path)
    capsys.readouterr()
    card = ship(trained["tiny_names"], tmp_path)
    said = capsys.readouterr().err
    assert "4 things (tiny_names)" in said and "2 (tiny)" in said and "words lost: none" in said
    assert card == json.loads(json.dumps(card))
    assert {"classes", "name_confusions"} <= set(card)
    assert json.loads((tmp_path / "critic" / "card.json").read_text("utf-8"))["vocabulary"] == "tiny_names"
    with pytest.raises(NotBetter, match="know 2 things"):
        ship(trained["tiny"], tmp_path)


def test_a_loss_may_be_borne_that_is_named(tmp_path: Path) -> None:
    def offer(score: float, loss: float) -> None:
        card = {"part": "painter", "score": score, "vocabulary": "tiny"}
        replace_shipped(tmp_path / "painter", tmp_path / "new", card, lambda _: None, loss=loss)

    offer(0.5, 0.0)
    for score, loss in ((0.5, 0.0), (0.47, 0.02)):
        with pytest.raises(NotBetter, match=f"score {score}"):
            offer(score, loss)
    offer(0.49, 0.02)
    assert json.loads((tmp_path / "painter" / "card.json").read_text("utf-8"))["score"] == 0.49


def test_shipped_weights_are_measured_again(
    trained: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ship(trained["tiny"], tmp_path)
    card = tmp_path / "critic" / "card.json"
    before = json.loads(card.read_text("utf-8"))
    card.write_text(json.dumps(before | {"measured": {}}), "utf-8")
    ship(tmp_path / "critic", tmp_path)
    assert json.loads(card.read_text("utf-8")) == before
    with pytest.raises(SystemExit) as refused:
        main(["critic", str(tmp_path / "critic")])
    assert refused.value.code == 2 and "say how" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["critic", "--loss", "0.02"], "goes only with the painter, not with the critic"),
        (["painter", "--loss", "-0.02"], "at least 0 and below 1, not -0.02"),
        (["painter", "--loss", "nan"], "at least 0 and below 1, not nan"),
    ],
)
def test_a_loss_is_a_share_and_the_painters(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    part, *options = arguments
    with pytest.raises(SystemExit) as refused:
        main([part, str(tmp_path), *options])
    assert refused.value.code == 2 and said in capsys.readouterr().err


def test_weights_of_an_earlier_world_make_room_whatever_they_score(
    trained: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ship(trained["tiny"], tmp_path)
    card = tmp_path / "critic" / "card.json"
    earlier = json.loads(card.read_text("utf-8")) | {"world": WORLD - 1, "score": 1.0}
    card.write_text(json.dumps(earlier), "utf-8")
    assert ship(tmp_path / "critic", tmp_path)["world"] == WORLD - 1  # measured again, trained no better
    assert ship(trained["tiny"], tmp_path)["world"] == WORLD
    assert "those of an earlier world" in capsys.readouterr().err
    with pytest.raises(NotBetter, match="those stay"):
        ship(trained["tiny"], tmp_path)


def test_critic_and_judge_know_the_words_of_the_painter(trained: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "painter").mkdir()
    (tmp_path / "painter" / "card.json").write_text('{"vocabulary": "tiny_names"}', "utf-8")
    with pytest.raises(LacksWords, match="not bench, apple"):
        ship(trained["tiny"], tmp_path)
    assert not (tmp_path / "critic").exists()
    with pytest.raises(LacksWords, match="not cylinder, cone"):
        options = {"vocabulary": "cpu", "steps": 2, "guidance": 1.0, "weights": tmp_path}
        ship_painter(tmp_path / "new", {}, judge=trained["tiny_names"], **options)


def test_a_depth_network_earns_its_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(WEIGHTS / "critic", tmp_path / "critic")
    source = depth.train("tiny", tmp_path / "new", critic=WEIGHTS / "critic", steps=3)
    card = ship_depth(source, {"steps": 3}, pictures=12, weights=tmp_path)
    assert card == json.loads(json.dumps(card))
    shipped = find_card(tmp_path / "depth")
    assert shipped.scale == card["scale"] and load_pipeline(tmp_path / "depth").semantic_encoder is not None
    measured = card["measured"]
    assert isinstance(measured, dict)
    for pictures in ("all", "depth"):
        row = measured[pictures]
        assert 0 < row["abs_rel"] < 1 and row["pairs"] >= row["pairs_apart"] > 0
    assert measured["depth"]["guessed"] == 1.0, "things on the floor are no riddle to the critic"
    with pytest.raises(NotBetter, match="those stay"):
        ship_depth(source, {"steps": 3}, pictures=12, weights=tmp_path)
    (source / "card.json").unlink()
    assert main(["depth", str(source), "--recipe", "{}"]) == 2
    assert "which vocabulary the weights were taught" in capsys.readouterr().err


def find_card(folder: Path) -> DepthCard:
    card = read_card(folder)
    assert card is not None
    return card


def test_the_page_stays_short_with_names(trained: dict[str, Path], tmp_path: Path) -> None:
    for part in ("critic", "judge"):
        ship(trained["tiny_names"], tmp_path, part)
        card = json.loads((tmp_path / part / "card.json").read_text("utf-8"))
        assert {"count", "position", "colour"} <= set(card["measured"]["held_out_drawings"])
        assert set(card["measured"]["every_pair"]) == set(card["measured"]["renders"])
        card["classes"] = {f"name{number}": [number / 100, 7] for number in range(86)}
        card["name_confusions"] = [["shape", "apple", "bench", 3]]
        (tmp_path / part / "card.json").write_text(json.dumps(card), "utf-8")
    shutil.copytree(WEIGHTS / "painter", tmp_path / "painter", ignore=shutil.ignore_patterns("*.safetensors"))
    text = tables(tmp_path)
    assert "| position |" in text and "| judge | tiny_names, held-out drawings |" in text
    lines = [line for line in text.splitlines() if line.startswith("- judge: apple as bench, 3")]
    assert len(lines) == 1 and lines[0].count(" of 7") == 10
    assert max(len(line) for line in text.splitlines()) < 400


def test_shipping_without_an_atlas_is_one_line(
    trained: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(load_atlas, "__defaults__", (tmp_path / "none.npz",))
    monkeypatch.setattr("models.embedded.training.ship.WEIGHTS", tmp_path)
    the_atlas.cache_clear()
    # The shipped painter's words are the first thing that a critic of other words is refused for.
    monkeypatch.setattr(ship_perception, "__kwdefaults__", {"pictures": 1, "weights": tmp_path})
    assert main(["critic", str(trained["tiny_names"]), "--recipe", "{}", "--pictures", "2"]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1 and "make sprites" in said.err
    assert list(tmp_path.iterdir()) == []
    the_atlas.cache_clear()

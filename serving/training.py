"""The command `train`. Knows which recipe trains which part, and nothing of what is in them."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, get_args

from models.embedded.profiles import ProfileName, vocabulary_for
from models.executor import find_devices
from serving.assembly import choose_devices
from serving.configuration import configure
from serving.failures import UserError
from serving.home import DataFolder, check_writable

Degrade = Callable[[Any], Any]
"""uint8 pictures in, what an autoencoder makes of them out."""

PARTS = ("autoencoder", "decoder", "critic", "judge", "painter", "tuning", "sharpening")
PAINTING = ("painter", "tuning", "sharpening")
"""The parts that train a painter, which can be compiled."""
SHARED = ("autoencoder", "decoder", *PAINTING)
"""The parts that processes can share. Critic and judge are two already, one for each of two cores."""
CREWED = ("critic", "judge", *PAINTING)
"""The parts that other processes can render for."""


@dataclass(frozen=True, slots=True)
class _Order:
    """What was asked for, checked."""

    part: str
    profile: ProfileName
    vocabulary: str
    out: Path
    named: str
    """How `out` is called after its part by default, and the parts that were trained beside it."""
    steps: int | None
    resume: bool
    device: str
    start: Path | None
    crew: int
    minutes: float | None

    def beside(self, part: str) -> Path:
        return self.out.parent / f"{part}-{self.named}"


def train_part(
    part: str,
    profile: str,
    out: Path | None,
    steps: int | None,
    resume: bool,
    start: Path | None = None,
    reread: bool = False,
    compiled: bool = False,
    processes: int = 1,
    vocabulary: str | None = None,
    crew: int = 0,
    minutes: float | None = None,
) -> int:
    """Train one part of the embedded models in `out`, on the profile's vocabulary or on `vocabulary`.

    Raises:
        UserError: the part, the profile or the vocabulary is unknown, `out` holds a training and `resume` is
            not set or holds another one, the sprite atlas is not there or damaged, or another part that is
            needed was not trained on these words.
    """
    settings = configure()
    if part not in PARTS:
        raise UserError(f"no part is called {part!r}: use --part {', '.join(PARTS)}")
    chosen = next((name for name in get_args(ProfileName) if name == profile), None)
    if chosen is None:
        raise UserError(f"no profile is called {profile!r}: use --profile {', '.join(get_args(ProfileName))}")
    named = profile if vocabulary is None else f"{profile}-{vocabulary}"
    folder = out or DataFolder(settings.home).training / f"{part}-{named}"
    check_writable(folder, "--out")
    if (folder / "training.pt").exists() and not resume:
        raise UserError(
            f"{folder} holds a training already: go on with it by --resume, or name another --out"
        )
    _check_start(part, start)
    if reread and (start is None or part != "painter"):
        raise UserError(
            "--reread goes with --part painter and --start: who starts from nothing learns to read anyway"
        )
    if compiled and part not in PAINTING:
        raise UserError(f"--compile goes only with --part {', '.join(PAINTING)}, not {part}")
    if processes > 1 and part not in SHARED:
        raise UserError(f"--processes goes only with --part {', '.join(SHARED)}, not {part}")
    if crew and part not in CREWED:
        raise UserError(f"--crew goes only with --part {', '.join(CREWED)}, not {part}")
    if crew and processes > 1:
        raise UserError("--crew renders for one process that trains: leave --processes out")
    devices = choose_devices(settings.device)
    device = find_devices()[0] if devices == "auto" else devices[0]
    if processes > 1 and device != "cpu":
        raise UserError(f"--processes shares work between the cores of a CPU; the device is {device}")
    words = vocabulary or vocabulary_for(part, chosen)
    _check_art(words)
    order = _Order(part, chosen, words, folder, named, steps, resume, device, start, crew, minutes)
    _train(order, reread, compiled, processes)
    print(f"training kept in {folder}")
    return 0


def _check_start(part: str, start: Path | None) -> None:
    if part == "decoder" and start is None:
        raise UserError(
            "--part decoder sharpens a trained autoencoder: name its folder (a painter's vae) with --start"
        )
    if part in ("tuning", "sharpening") and start is None:
        raise UserError(f"--part {part} goes on from a trained painter: name its folder with --start")
    file = "model_index.json" if part in PAINTING else "config.json"
    if start is not None and not (start / file).is_file():
        raise UserError(
            f"--start takes the folder of a saved painter with --part {', '.join(PAINTING)}, of a saved "
            "autoencoder (a painter's vae, say) with --part autoencoder or decoder, or of a saved critic or "
            "judge with that part, not "
            f"{start} with --part {part}"
        )


def _check_art(vocabulary: str) -> None:
    """Find out before any work starts whether the world of `vocabulary` can be drawn."""
    from diorama.atlas import ArtError, check_art
    from diorama.vocabulary import load_vocabulary

    try:
        check_art(load_vocabulary(vocabulary))
    except (ArtError, ValueError) as error:
        raise UserError(str(error)) from error


def _train(order: _Order, reread: bool, compiled: bool, processes: int) -> None:
    from models.embedded.training.latents import ForeignLatents
    from models.embedded.training.loop import ForeignTraining
    from models.embedded.training.team import train_together

    common: dict[str, Any] = {
        "steps": order.steps,
        "resume": order.resume,
        "device": order.device,
        "vocabulary": order.vocabulary,
        "start": order.start,
        "minutes": order.minutes,
    }
    try:
        match order.part:
            case "autoencoder":
                from models.embedded.training.autoencoder import train
            case "decoder":
                from models.embedded.training.decoder import train
            case "critic" | "judge":
                from models.embedded.training.perception import train

                train = partial(train, order.part)
                common |= {"degrade": _degrade(order), "crew": order.crew}
            case "tuning" | "sharpening":
                if order.part == "tuning":
                    from models.embedded.training.tuning import tune as train
                else:
                    from models.embedded.training.sharpening import sharpen as train

                common |= {"compiled": compiled, "crew": order.crew, **_eyes(order)}
            case _:
                from models.embedded.training.painter import train

                parts = {"autoencoder": _autoencoder(order), **_eyes(order)}
                if parts["autoencoder"] is None or parts["critic"] is None:
                    raise UserError(_say_missing(order, parts))
                common |= {"reread": reread, "compiled": compiled, "crew": order.crew, **parts}
        train_together(processes, partial(train, order.profile, order.out, **common))
    except (ForeignLatents, ForeignTraining) as error:
        raise UserError(str(error)) from error


def _say_missing(order: _Order, parts: dict[str, Path | None]) -> str:
    missing = next(part for part, folder in parts.items() if folder is None)
    return (
        f"no {missing} knows the words of the vocabulary {order.vocabulary!r}: train that part first, with "
        f"--part {missing} --profile {order.profile}, beside {order.out} ({order.beside(missing)})"
    )


def _degrade(order: _Order) -> Degrade | None:
    """The trained or shipped autoencoder, through which a perception model sees a third of its pictures.

    None for `tiny`, and on a machine that has no autoencoder of these names yet.
    """
    if order.profile == "tiny":
        return None
    folder = _autoencoder(order)
    if folder is None:
        print(
            f"no autoencoder knows the names of {order.vocabulary!r} yet: rendered pictures alone",
            file=sys.stderr,
        )
        return None
    from models.embedded.training.measure import load_reconstructions

    return load_reconstructions(folder, order.device)


def _autoencoder(order: _Order) -> Path | None:
    """What was trained beside it, else that of the painter to go on from, else what is shipped, if it was
    taught the names.
    """
    from models.backends import WEIGHTS
    from models.embedded.training.taught import choose

    folders = [order.beside("autoencoder") / "autoencoder", WEIGHTS / "painter" / "vae"]
    if order.start is not None and order.part == "painter":
        folders.insert(1, order.start / "vae")
    return choose(folders, order.vocabulary, names_only=True)


def _eyes(order: _Order) -> dict[str, Path | None]:
    """Critic and judge, trained beside it or shipped, that know all words; `tiny` asks no judge."""
    from models.backends import WEIGHTS
    from models.embedded.training.taught import choose

    parts = ("critic", "judge") if order.profile != "tiny" else ("critic",)
    return {part: choose((order.beside(part), WEIGHTS / part), order.vocabulary) for part in parts}

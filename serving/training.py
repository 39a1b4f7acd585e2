"""The command `train`. Knows which recipe trains which part, and nothing of what is in them."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, get_args

from models.embedded.profiles import ProfileName
from models.executor import find_devices
from serving.assembly import choose_devices
from serving.failures import UserError
from serving.home import DataFolder, check_writable
from settings import load_settings

Degrade = Callable[[Any], Any]
"""uint8 pictures in, what an autoencoder makes of them out."""

PARTS = ("autoencoder", "critic", "judge", "painter")


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
) -> int:
    """Train one part of the embedded models in `out`.

    Raises:
        UserError: the part or the profile is unknown, or `out` holds a training and `resume` is not set.
    """
    settings = load_settings()
    if part not in PARTS:
        raise UserError(f"no part is called {part!r}: use --part {', '.join(PARTS)}")
    chosen = next((name for name in get_args(ProfileName) if name == profile), None)
    if chosen is None:
        raise UserError(f"no profile is called {profile!r}: use --profile {', '.join(get_args(ProfileName))}")
    folder = out or DataFolder(settings.home).training / f"{part}-{profile}"
    check_writable(folder, "--out")
    if (folder / "training.pt").exists() and not resume:
        raise UserError(
            f"{folder} holds a training already: go on with it by --resume, or name another --out"
        )
    if start is not None and (part != "painter" or not (start / "model_index.json").is_file()):
        raise UserError(
            f"--start takes the folder of a saved painter, and only with --part painter, not {start}"
        )
    if reread and start is None:
        raise UserError("--reread goes only with --start: who starts from nothing learns to read anyway")
    if compiled and part != "painter":
        raise UserError(f"--compile goes only with --part painter, not {part}")
    if processes > 1 and part != "painter":
        raise UserError(f"--processes goes only with --part painter, not {part}")
    devices = choose_devices(settings.device)
    device = find_devices()[0] if devices == "auto" else devices[0]
    if processes > 1 and device != "cpu":
        raise UserError(f"--processes shares work between the cores of a CPU; the device is {device}")
    _train(part, chosen, folder, steps, resume, device, start, reread, compiled, processes)
    print(f"trained: {folder}")
    return 0


def _train(
    part: str,
    profile: ProfileName,
    out: Path,
    steps: int | None,
    resume: bool,
    device: str,
    start: Path | None,
    reread: bool,
    compiled: bool,
    processes: int,
) -> None:
    from models.backends import WEIGHTS

    match part:
        case "autoencoder":
            from models.embedded.training.autoencoder import train

            train(profile, out, steps=steps, resume=resume, device=device)
        case "critic" | "judge":
            from models.embedded.training.perception import train

            train(
                part, profile, out, steps=steps, resume=resume, device=device, degrade=_degrade(out, profile)
            )
        case _:
            from models.embedded.training.painter import train
            from models.embedded.training.team import train_together

            autoencoder = _choose(
                out.parent / f"autoencoder-{profile}" / "autoencoder", WEIGHTS / "painter" / "vae"
            )
            critic = _choose(out.parent / f"critic-{profile}", WEIGHTS / "critic")
            recipe = partial(
                train,
                profile,
                out,
                autoencoder=autoencoder,
                critic=critic,
                steps=steps,
                start=start,
                reread=reread,
                resume=resume,
                compiled=compiled,
                device=device,
            )
            train_together(processes, recipe)


def _degrade(out: Path, profile: ProfileName) -> Degrade | None:
    """The trained or shipped autoencoder, through which a perception model sees a third of its pictures.

    None for `tiny`, and on a machine that has no autoencoder yet.
    """
    from models.backends import WEIGHTS

    if profile == "tiny":
        return None
    for folder in (out.parent / f"autoencoder-{profile}" / "autoencoder", WEIGHTS / "painter" / "vae"):
        if (folder / "config.json").is_file():
            from models.embedded.training.measure import load_reconstructions

            return load_reconstructions(folder)
    return None


def _choose(trained: Path, shipped: Path) -> Path:
    """What was trained beside the painter, else what is shipped.

    Raises:
        UserError: neither is there.
    """
    for folder in (trained, shipped):
        if (folder / "config.json").is_file():
            return folder
    raise UserError(f"neither {trained} nor {shipped} holds what the painter needs: train that part first")

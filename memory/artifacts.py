"""The store of pictures: PNG files under their content's hash, each with a JSON sidecar that says where it
comes from.

Knows no run and no model. `root/ab/cd/<sha256>.png` and `.json`; files are written in `root/.incoming` and
renamed, so a file under its real name is whole. The sidecar comes first: where there is a picture, its
provenance is there too.
"""

import hashlib
import io
import itertools
import json
import logging
import os
import re
import socket
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import psutil
from filelock import FileLock
from PIL import Image
from pydantic import JsonValue

from memory.errors import StoreDamaged
from memory.importing import open_foreign_picture
from models.artifact import ArtifactRef

_LOG = logging.getLogger(__name__)
_TEMPORARY = re.compile(r"(?P<host>[^~]+)~(?P<pid>\d+)~\d+~.+")
_HASH = re.compile(r"[0-9a-f]{64}")
_LOSSLESS_MODES = ("RGB", "L", "1")
_DEEP = "I;16"
"""Grey with 16 bits, such as a depth: kept as it is, and read by `load_bytes`."""
_INCOMING = ".incoming"


class Artifacts:
    """The store under `root`, created if it is not there. Any number of processes may share it."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root).resolve()
        self._incoming = self.root / _INCOMING
        self._incoming.mkdir(parents=True, exist_ok=True)
        self._numbers = itertools.count()
        self.sweep()

    def save_image(
        self, image: Image.Image, *, seed: int | None, provenance: Mapping[str, JsonValue]
    ) -> ArtifactRef:
        """Store a picture as PNG, durably. The same pixels give the same reference; another provenance is
        added.

        Raises:
            ValueError: the picture's mode has something that neither RGB nor 16 bits of grey hold
                (transparency).
        """
        content = encode_png(image)
        ref = ArtifactRef(
            sha256=hashlib.sha256(content).hexdigest(), width=image.width, height=image.height, seed=seed
        )
        self._add_provenance(ref, len(content), {**provenance, "seed": seed})
        if not self._is_whole(ref):
            self._write(self.path(ref), content)
        return ref

    def import_image(
        self, source: Path | bytes, *, provenance: Mapping[str, JsonValue] | None = None
    ) -> ArtifactRef:
        """Store a user's PNG, JPEG or WEBP: one frame, at most 16 megapixels, turned upright, on white, its
        metadata left out.

        Raises:
            PictureRefused: the file is no such picture.
        """
        image, origin = open_foreign_picture(source)
        return self.save_image(image, seed=None, provenance={**(provenance or {}), "imported": origin})

    def load_image(self, ref: ArtifactRef) -> Image.Image:
        """The stored picture in RGB.

        Raises:
            LookupError: nothing is stored under `ref`.
            StoreDamaged: what is stored is not what was saved.
        """
        with Image.open(io.BytesIO(self.load_bytes(ref)), formats=("PNG",)) as image:
            return image.convert("RGB")

    def load_bytes(self, ref: ArtifactRef) -> bytes:
        """The stored PNG file, checked against its hash.

        Raises:
            LookupError: nothing is stored under `ref`.
            StoreDamaged: what is stored is not what was saved.
        """
        path = self.path(ref)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            raise LookupError(
                f"no picture {ref.sha256} in {self.root}: it is in another data folder, or was deleted"
            ) from None
        if (found := hashlib.sha256(content).hexdigest()) != ref.sha256:
            fault = f"the picture is damaged ({len(content)} bytes with hash {found[:12]}...)"
            raise StoreDamaged(
                path, fault, "Paint it again from its sidecar: saving the same pixels mends the file"
            )
        return content

    def path(self, ref: ArtifactRef) -> Path:
        """Where the picture lies, whether or not it is there.

        Raises:
            ValueError: the reference would lead out of the store.
        """
        if not _HASH.fullmatch(ref.sha256):
            raise ValueError(f"{ref.sha256!r} is no SHA-256 in hexadecimal, so it names no stored picture")
        path = self.root / ref.sha256[:2] / ref.sha256[2:4] / f"{ref.sha256}.png"
        if not path.resolve().is_relative_to(self.root):
            raise ValueError(f"{path} leads out of the store to {path.resolve()}: remove that link")
        return path

    def sidecar(self, ref: ArtifactRef) -> dict[str, JsonValue]:
        """Where the picture comes from: size, media type, and `provenances`, one mapping for each way it was
        made.

        Raises:
            LookupError: nothing is stored under `ref`.
            StoreDamaged: the sidecar is no JSON.
        """
        path = self.path(ref).with_suffix(".json")
        try:
            return _parse_sidecar(path)
        except FileNotFoundError:
            raise LookupError(f"no sidecar of picture {ref.sha256} in {self.root}") from None

    def sweep(self) -> Sequence[Path]:
        """Remove what processes that are dead left half written. Returns the files removed."""
        orphans = [path for path in self._incoming.iterdir() if _is_orphan(path)]
        for path in orphans:
            path.unlink(missing_ok=True)  # another process may be sweeping too
        if orphans:
            _LOG.info("%s: removed %d half-written files of dead processes", self.root, len(orphans))
        return orphans

    def _is_whole(self, ref: ArtifactRef) -> bool:
        try:
            self.load_bytes(ref)
        except LookupError:
            return False
        except StoreDamaged as damage:
            _LOG.warning("%s: %s; written again from the same pixels", damage.path, damage.fault)
            return False
        return True

    def _add_provenance(self, ref: ArtifactRef, size: int, provenance: Mapping[str, JsonValue]) -> None:
        path = self.path(ref).with_suffix(".json")
        with FileLock(self.root / ".sidecars.lock"):
            sidecar = _read_or_set_aside(path) or {
                "sha256": ref.sha256,
                "media_type": ref.media_type,
                "width": ref.width,
                "height": ref.height,
                "bytes": size,
                "saved": datetime.now(UTC).isoformat(timespec="seconds"),
                "provenances": [],
            }
            provenances = cast(list[JsonValue], sidecar["provenances"])
            entry: JsonValue = json.loads(json.dumps(dict(provenance), allow_nan=False))
            if entry not in provenances:
                provenances.append(entry)
                self._write(path, json.dumps(sidecar, ensure_ascii=False, indent=1).encode())

    def _write(self, path: Path, content: bytes) -> None:
        # Same file system as the final place, so the rename is atomic; one folder, so that a sweep reads one
        # folder.
        temporary = self._incoming / f"{socket.gethostname()}~{os.getpid()}~{next(self._numbers)}~{path.name}"
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        path.parent.mkdir(parents=True, exist_ok=True)
        os.replace(temporary, path)
        _sync_folder(path.parent)


def encode_png(image: Image.Image) -> bytes:
    """PNG bytes in RGB that depend on the pixels alone: fixed compression, no time, no metadata.

    They are equal wherever Pillow carries the same zlib; another zlib may pack the same pixels into other
    bytes.

    Raises:
        ValueError: the picture's mode has something that RGB cannot hold.
    """
    if image.mode == _DEEP:
        return _write_png(Image.frombytes(_DEEP, image.size, image.tobytes()))
    if image.mode not in _LOSSLESS_MODES:
        raise ValueError(
            f"a picture in mode {image.mode!r} does not fit RGB without loss: convert it to RGB first"
        )
    rgb = image.convert("RGB")
    return _write_png(Image.frombytes("RGB", rgb.size, rgb.tobytes()))


def _write_png(bare: Image.Image) -> bytes:
    content = io.BytesIO()
    bare.save(content, "PNG", compress_level=6, optimize=False)
    return content.getvalue()


def _is_orphan(path: Path) -> bool:
    if not (match := _TEMPORARY.fullmatch(path.name)):
        return False
    if match["host"] == socket.gethostname():
        return not psutil.pid_exists(int(match["pid"]))
    # Another container's processes cannot be seen from here; none writes one file for a day.
    try:
        return time.time() - path.stat().st_mtime > 86_400
    except FileNotFoundError:  # swept by somebody else a moment ago
        return False


def _parse_sidecar(path: Path) -> dict[str, JsonValue]:
    content = path.read_bytes()
    try:
        sidecar = json.loads(content)
        if not isinstance(sidecar["provenances"], list):
            raise TypeError("provenances is no list")
    except (ValueError, KeyError, TypeError) as error:
        way_out = (
            "The picture is not touched; delete the sidecar, and saving the picture again makes a new one"
        )
        raise StoreDamaged(path, f"the sidecar is damaged ({error})", way_out) from error
    return sidecar


def _read_or_set_aside(path: Path) -> dict[str, JsonValue] | None:
    try:
        return _parse_sidecar(path)
    except FileNotFoundError:
        return None
    except StoreDamaged as damage:
        aside = path.with_suffix(f".damaged-{datetime.now(UTC):%Y%m%d-%H%M%S-%f}.json")
        os.replace(path, aside)
        _LOG.warning("%s; a new one is begun, the old one is kept as %s", damage, aside.name)
        return None


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":  # Windows cannot open a folder
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

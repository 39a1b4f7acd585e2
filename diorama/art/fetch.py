"""Packages of art, fetched once by npm at their pinned versions and checked against their recorded hashes."""

import hashlib
import shutil
import subprocess
import tarfile
from pathlib import Path

from diorama.atlas import ArtError
from diorama.drawings import Source


def fetch(source: Source, cache: Path) -> Path:
    """The package's archive in `cache`, downloaded if it is not there yet.

    Raises:
        ArtError: npm is missing or finds no registry, or the archive is not the recorded one.
    """
    wanted = cache / f"{source.name}-{source.version}.tgz"
    if not wanted.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        _pack(source, cache).replace(wanted)
    found = hashlib.sha256(wanted.read_bytes()).hexdigest()
    if found != source.sha256:
        wanted.unlink()
        raise ArtError(
            f"{source.package} {source.version} has hash {found[:12]}..., diorama/drawings.toml records "
            f"{source.sha256[:12]}...: thrown away; make sprites again, and if it stays so do not use it"
        )
    return wanted


def _pack(source: Source, cache: Path) -> Path:
    npm = shutil.which("npm")
    if npm is None:
        raise ArtError("npm is not installed, and art is fetched with it: install Node.js, then make sprites")
    spec = f"{source.package}@{source.version}"
    done = subprocess.run(
        [npm, "pack", spec, "--silent", "--ignore-scripts", "--pack-destination", str(cache)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ArtError(
            f"npm could not fetch {spec}: go online, or copy its archive to "
            f"{cache / f'{source.name}-{source.version}.tgz'}; then make sprites"
        )
    return cache / done.stdout.split()[-1]


def read_member(archive: Path, member: str) -> bytes | None:
    """One file of an npm archive, or None if it has no such file.

    Raises:
        ArtError: the archive cannot be read.
    """
    try:
        with tarfile.open(archive) as opened:
            try:
                stream = opened.extractfile(f"package/{member}")
            except KeyError:
                return None
            return stream.read() if stream else None
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ArtError(f"{archive} is damaged ({error}): delete it, then make sprites") from error

"""Fetches the art and writes the sprite atlas.

    python -m diorama.art.build [--out .cache/sprites.npz] [--cache .cache/art]

Needs npm with a registry, and the extra `[sprites]`. Packages stay in the cache, so that a second run is
offline.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from diorama.art.raster import Gallery, cut_out
from diorama.art.sprite import Planes, make_sprite
from diorama.atlas import (
    ATLAS_PATH,
    LONGEST,
    ArtError,
    Atlas,
    Credit,
    Entry,
    Manifest,
    digest,
    save_atlas,
)
from diorama.drawings import Drawing, Drawings, Source, load_drawings
from diorama.vocabulary import load_vocabulary

LIMIT = 20_000_000
"""Bytes that an atlas may have: it travels to the machine that trains."""


def build(drawings: Drawings, out: Path, cache: Path) -> Manifest:
    """Fetch every source, make every sprite, write the atlas to `out`.

    Raises:
        ArtError: art is missing for a class, cannot be fetched, is not what was recorded, or is too much.
    """
    _check_classes(drawings)
    galleries = {source.name: Gallery(source, cache) for source in drawings.sources}
    made = [_make(drawing, galleries[drawing.source]) for drawing in drawings.drawings]
    manifest = Manifest(
        sprites=tuple(entry for entry, _ in made), credits=tuple(map(_credit, drawings.sources))
    )
    atlas = Atlas(manifest, np.stack([planes for _, planes in made]))
    for drawing in drawings.drawings:
        atlas.row(drawing)
    save_atlas(out, atlas.planes, manifest)
    if (size := out.stat().st_size) > LIMIT:
        out.unlink()
        raise ArtError(
            f"the sprite atlas has {size} bytes, {LIMIT} are allowed: list fewer drawings in "
            "diorama/drawings.toml"
        )
    return manifest


def _check_classes(drawings: Drawings) -> None:
    drawn = {drawing.shape for drawing in drawings.drawings if drawing.split == "train"}
    wanted = [shape.name for shape in load_vocabulary().shapes if shape.kind == "cutout"]
    if lacking := [name for name in wanted if name not in drawn]:
        raise ArtError(
            f"no drawing for training of {', '.join(lacking)}: list one in diorama/drawings.toml, or make it "
            "a composite in diorama/vocabulary.toml"
        )


def _make(drawing: Drawing, gallery: Gallery) -> tuple[Entry, Planes]:
    picture = cut_out(gallery.draw(drawing), drawing, LONGEST)
    planes = make_sprite(picture, drawing.main)
    return Entry(name=drawing.name, width=picture.width, height=picture.height, sha256=digest(planes)), planes


def _credit(source: Source) -> Credit:
    return Credit(
        source=source.name,
        package=source.package,
        version=source.version,
        sha256=source.sha256,
        licence=source.licence,
        author=source.author,
        notice=source.notice,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 0, or 2 with one line on standard error."""
    parser = argparse.ArgumentParser(description="Make the sprite atlas.")
    parser.add_argument("--out", type=Path, default=ATLAS_PATH)
    parser.add_argument("--cache", type=Path, default=ATLAS_PATH.parent / "art")
    options = parser.parse_args(arguments)
    try:
        manifest = build(load_drawings(), options.out, options.cache)
    except ArtError as error:
        print(error, file=sys.stderr)
        return 2
    size = options.out.stat().st_size / 1e6
    print(f"{len(manifest.sprites)} drawings in {options.out} ({size:.1f} MB)")
    for credit in manifest.credits:
        print(f"  {credit.package} {credit.version}: {credit.licence}, {credit.author}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

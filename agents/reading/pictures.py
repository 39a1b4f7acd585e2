"""Stored pictures as data URLs, scaled to what a model looks at."""

import base64
from io import BytesIO

from PIL import Image

from models.artifact import ArtifactRef, ArtifactStore


def data_url(artifacts: ArtifactStore, picture: ArtifactRef, side: int) -> str:
    """The picture as a PNG in a data URL, its longer side at most `side` pixels; it is never enlarged.

    Raises:
        LookupError: nothing is stored under `picture`.
    """
    image = artifacts.load_image(picture)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = BytesIO()
    image.save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"

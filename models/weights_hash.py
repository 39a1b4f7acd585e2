"""Which weights these are, whatever they are called: what was learnt or measured with others is not of these.

Imports no torch.
"""

import hashlib
from pathlib import Path


def hash_denoiser(folder: Path) -> str:
    """SHA-256 over a pipeline's or a network's denoiser: its safetensors, in the order of their names."""
    digest = hashlib.sha256()
    component = next((folder / name for name in ("transformer", "unet") if (folder / name).is_dir()), folder)
    for path in sorted(component.glob("*.safetensors")):
        with path.open("rb") as file:
            while chunk := file.read(2**20):
                digest.update(chunk)
    return digest.hexdigest()

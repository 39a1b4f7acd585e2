"""The card of a pruned backend: how to paint for programs (card.json), what was done for readers (README.md).

Imports no torch.
"""

import json
from pathlib import Path
from typing import Any

from models.obs_diff.saving import Pruning
from models.weights_hash import hash_denoiser


def write_card(folder: Path, pruning: Pruning, defaults: dict[str, Any], parent: Path) -> None:
    """Write both cards into a pruned pipeline's folder. `parent` is the folder of what was pruned."""
    (folder / "card.json").write_text(json.dumps(defaults, indent=1), "utf-8")
    (folder / "README.md").write_text(_render(folder, pruning, parent), "utf-8")


def _render(folder: Path, pruning: Pruning, parent: Path) -> str:
    measured, calibration = pruning.measured, pruning.calibration
    layers: Any = measured.get("layers", [])
    rows = [
        f"| {layer['name']} | {layer['removed']} of {layer['of']} | {layer['error_before']:.5f} "
        f"| {layer['error']:.5f} |"
        for layer in layers
    ]
    what = "columns" if pruning.pattern == "structured" else "weights"
    told = "\n".join(f"- {key}: {value}" for key, value in calibration.items())
    return f"""# {pruning.parent}, pruned: {pruning.told}

Made by one-shot pruning (`maulstick prune`, see docs/obs_diff.md). The denoiser has
{measured.get("parameters"):,} parameters; before it had {measured.get("parameters_before"):,}.

- parent: {pruning.parent}, denoiser SHA-256 {hash_denoiser(parent)}
- this denoiser: SHA-256 {hash_denoiser(folder)}
- order: `{json.dumps(pruning.order)}`

## Calibration

{told}

## Layers

Relative squared output error on the calibration inputs: of the same {what} taken out without compensation,
and as it is.

| layer | {what} that went | uncompensated | as it is |
|---|---|---|---|
{chr(10).join(rows)}
"""

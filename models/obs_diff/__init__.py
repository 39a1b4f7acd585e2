"""OBS-Diff: one-shot pruning of diffusion backends (arXiv 2510.06751).

Names are imported when they are first used: looking a backend up reads a pruned one's card, and is to need
no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from models.obs_diff.columns import PrunedColumns, prune_columns, round_sizes
    from models.obs_diff.families import FAMILIES, Family, find_family, find_units
    from models.obs_diff.heads import PrunedHeads, fuse, prune_heads, prune_joint_heads
    from models.obs_diff.hessian import LayerHessian, NeverRan
    from models.obs_diff.order import Order, parse_bytes
    from models.obs_diff.packages import Outcome, Shared, prune_denoiser
    from models.obs_diff.parallel import PrunedParallel, prune_parallel
    from models.obs_diff.replay import Calibration
    from models.obs_diff.saving import load_pruned, save_pruned
    from models.obs_diff.schedules import SCHEDULES, timestep_weights
    from models.obs_diff.unstructured import PrunedWeights, prune_n_m, prune_unstructured

_HOMES = {
    "columns": ("PrunedColumns", "prune_columns", "round_sizes"),
    "families": ("FAMILIES", "Family", "find_family", "find_units"),
    "heads": ("PrunedHeads", "fuse", "prune_heads", "prune_joint_heads"),
    "hessian": ("LayerHessian", "NeverRan"),
    "order": ("Order", "parse_bytes"),
    "packages": ("Outcome", "Shared", "prune_denoiser"),
    "parallel": ("PrunedParallel", "prune_parallel"),
    "replay": ("Calibration",),
    "saving": ("load_pruned", "save_pruned"),
    "schedules": ("SCHEDULES", "timestep_weights"),
    "unstructured": ("PrunedWeights", "prune_n_m", "prune_unstructured"),
}

__all__ = [
    "FAMILIES",
    "SCHEDULES",
    "Calibration",
    "Family",
    "LayerHessian",
    "NeverRan",
    "Order",
    "Outcome",
    "PrunedColumns",
    "PrunedHeads",
    "PrunedParallel",
    "PrunedWeights",
    "Shared",
    "find_family",
    "find_units",
    "fuse",
    "load_pruned",
    "parse_bytes",
    "prune_columns",
    "prune_denoiser",
    "prune_heads",
    "prune_joint_heads",
    "prune_n_m",
    "prune_parallel",
    "prune_unstructured",
    "round_sizes",
    "save_pruned",
    "timestep_weights",
]


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{home}"), name)
    raise AttributeError(f"{__name__} has no {name!r}")

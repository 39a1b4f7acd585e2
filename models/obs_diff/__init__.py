"""OBS-Diff: one-shot pruning of diffusion backends (arXiv 2510.06751)."""

from models.obs_diff.columns import PrunedColumns, prune_columns, round_sizes
from models.obs_diff.heads import PrunedHeads, fuse, prune_heads, prune_joint_heads
from models.obs_diff.hessian import LayerHessian, NeverRan
from models.obs_diff.saving import load_pruned, save_pruned
from models.obs_diff.schedules import SCHEDULES, timestep_weights
from models.obs_diff.unstructured import PrunedWeights, prune_n_m, prune_unstructured

__all__ = [
    "SCHEDULES",
    "LayerHessian",
    "NeverRan",
    "PrunedColumns",
    "PrunedHeads",
    "PrunedWeights",
    "fuse",
    "load_pruned",
    "prune_columns",
    "prune_heads",
    "prune_joint_heads",
    "prune_n_m",
    "prune_unstructured",
    "round_sizes",
    "save_pruned",
    "timestep_weights",
]

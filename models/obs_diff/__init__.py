"""OBS-Diff: one-shot pruning of diffusion backends (arXiv 2510.06751)."""

"""One file per benchmark, their baselines, and the report."""

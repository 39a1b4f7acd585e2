"""Who thinks: one file per role, and the minds that can play it. No torch, no graph."""

"""Tracking: a model's robustness over its checkpoints."""

"""The coalition game on frequency bands and its Shapley values."""

"""The decision: baselines, paired comparison, verdict."""

"""Statistics on arrays: intervals, scores and tests; numpy and scipy only."""

"""Comparisons: a measurement against a baseline or against limits, and the verdict."""

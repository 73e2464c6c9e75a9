"""Execution: the one way in which images reach a network."""

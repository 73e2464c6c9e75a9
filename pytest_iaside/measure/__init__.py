"""Measurements: quantities of every image of a reference sample, and how they are found."""

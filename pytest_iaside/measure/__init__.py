"""Measurements: quantities of every image of a reference sample, and how they are found."""

# Known before anything is loaded: profiles are a class of their own.
from pytest_iaside.measure import profile as profile

"""Classifiers and the backends that run them."""

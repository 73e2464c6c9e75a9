"""Frequency bands of images: the players of the game."""

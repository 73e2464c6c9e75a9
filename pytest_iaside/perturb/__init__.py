"""Perturbations of images, and what they cost a classifier: corruptions, attacks, mPE, mCE."""

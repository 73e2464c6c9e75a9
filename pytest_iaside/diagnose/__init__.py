"""Diagnosis: where in which images, and at which scale, a classifier finds its answer."""

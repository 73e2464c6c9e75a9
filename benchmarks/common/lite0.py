"""EfficientNet-Lite0 with its ImageNet weights, and photographs: those of example_project."""

from __future__ import annotations

import sys
from pathlib import Path

from pytest_iaside import Classifier, ReferenceSample

EXAMPLE = Path(__file__).parents[2] / "example_project"


def lite0() -> Classifier:
    """The classifier, for 224×224."""
    models = _scrapbook("models")
    return Classifier(
        models.load_photo_tagger(), mean=models.PHOTO_MEAN, std=models.PHOTO_STD, name="Lite0"
    )


def photographs(count: int) -> ReferenceSample:
    """The first ``count`` of 24 crops, labelled by the classifier itself when measured."""
    found = _scrapbook("data").photographs()
    return ReferenceSample(found.images[:count], names=found.names[:count])


def _scrapbook(module: str):
    if str(EXAMPLE) not in sys.path:
        sys.path.insert(0, str(EXAMPLE))
    return __import__(f"scrapbook.{module}", fromlist=[module])

"""Where a measurement came from: which model, on which reference sample, with what."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from importlib import metadata

import numpy as np
import torch

from pytest_iaside.images.reference import LabelKind, ReferenceSample
from pytest_iaside.models.classifier import Classifier


@dataclass(frozen=True, kw_only=True)
class ReferenceInfo:
    """Which reference sample was measured."""

    digest: str
    images: int
    channels: int
    height: int
    width: int
    labels: LabelKind

    @classmethod
    def of(cls, sample: ReferenceSample) -> ReferenceInfo:
        channels, height, width = sample.shape
        return cls(
            digest=sample.digest,
            images=len(sample),
            channels=channels,
            height=height,
            width=width,
            labels=sample.label_kind,
        )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of every image."""
        return self.channels, self.height, self.width


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """Which model was measured."""

    name: str
    classes: int
    fingerprint: str | None = None
    fed: str | None = None
    """What pixels are made into before they are filtered and fed; None where that is not known."""
    task: str = "softmax"
    """The kind of its task: softmax, multilabel or score (models/tasks.py)."""
    unit: str = "nats"
    """What ψ and log-likelihoods, or scores, are in."""
    score: str = ""
    """The name of the user's own score, where there is one."""
    score_code: str = ""
    """A digest of its code; empty where that is not known."""

    @classmethod
    def of(cls, classifier: Classifier, classes: int, fingerprint: str | None = None) -> ModelInfo:
        """Of a model with so many ``classes``; its ``fingerprint`` is taken where none is given."""
        task = classifier.task
        return cls(
            name=classifier.name,
            classes=0 if task.scored else classes,
            fingerprint=fingerprint or classifier.fingerprint(),
            fed=classifier.fed,
            task=task.kind,
            unit=task.unit,
            score=task.score_name,
            score_code=task.score_code,
        )


def environment() -> dict[str, str]:
    """Versions and platform, in plain text; shown, never a reason to refuse a comparison."""
    return {
        "pytest-iaside": metadata.version("pytest-iaside"),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "platform": f"{platform.system()} {platform.machine()}",
    }

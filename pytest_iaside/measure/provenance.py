"""What was measured: which model, on which reference sample; kept beside the numbers."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_iaside.images.reference import LabelKind, ReferenceSample


@dataclass(frozen=True, kw_only=True)
class ReferenceFacts:
    """Which reference sample a profile was measured on."""

    digest: str
    images: int
    channels: int
    height: int
    width: int
    labels: LabelKind

    @classmethod
    def of(cls, sample: ReferenceSample) -> ReferenceFacts:
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
class ModelFacts:
    """Which model a profile was measured from; shown, never a reason to refuse."""

    name: str
    classes: int
    fingerprint: str | None = None

"""Records: what reports know of every gate, in plain JSON types.

Records travel from xdist's workers to the process that writes the reports. They may hold NaN and
infinity, which the JSON document shows as null. session.schema.json is generated from these types
(``make schema``), but for what is there for pictures alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal, NotRequired, TypedDict

if TYPE_CHECKING:
    from pytest_iaside.compare.comparison import Comparison
    from pytest_iaside.compare.drivers import ImageChanges
    from pytest_iaside.measure.measurement import Measurement
    from pytest_iaside.measure.profile import SpectralProfile

SHOWN_IMAGES = 12  # images behind a change, of those a record tells

Number = float | None
Numbers = list[Number]
Status = Literal["compared", "created", "updated", "refused"]
Verdict = Literal["pass", "drift", "inconclusive"]
Better = Literal["lower", "higher"]


class LimitRecord(TypedDict):
    """How far a family of quantities may get worse, and what none of them may be worse than."""

    change: Number
    bound: Number


class CheckRecord(TypedDict):
    """compare/check.py's Check."""

    name: str
    where: str
    better: Better
    baseline: Number
    candidate: Number
    change: Number
    low: Number
    high: Number
    limit: Number
    verdict: Verdict
    changed: bool
    sentence: str


class QuantityRecord(TypedDict):
    """compare/comparison.py's QuantityChange."""

    index: int
    name: str
    family: str
    better: Better
    baseline: Number
    candidate: Number
    change: Number
    low: Number
    high: Number
    p_value: Number
    moved: bool


class ImageRecord(TypedDict):
    """One image's part in a change."""

    name: str
    digest: str
    label: int | None
    contribution: Number
    baseline_psi: Numbers
    candidate_psi: Numbers


class ImagesRecord(TypedDict):
    """What single images add to the change of ``quantity``, the most harmful first."""

    quantity: str
    unit: str
    change: Number
    count: int
    images: list[ImageRecord]


class BandBoundsRecord(TypedDict):
    """An interval for every band."""

    low: Numbers
    high: Numbers


class BoundsRecord(TypedDict):
    """An interval."""

    low: Number
    high: Number


class IntervalsRecord(TypedDict):
    """Intervals of what is read off a spectral profile."""

    psi: BandBoundsRecord
    sid: BandBoundsRecord
    signed_src: BoundsRecord
    value: BoundsRecord


class SpectralRecord(TypedDict):
    """What is read off a spectral profile, with intervals at ``level``."""

    level: float
    psi: Numbers
    standard_error: Numbers
    sid: Numbers
    src: Number
    signed_src: Number
    value: Number
    structured: bool
    unstructured_because: str
    intervals: IntervalsRecord
    by_size: Numbers
    band_labels: list[str]
    band_edges: list[float]


class ReferenceRecord(TypedDict):
    """Which reference sample was measured."""

    digest: str
    images: int
    channels: int
    height: int
    width: int
    labels: Literal["dataset", "soft", "predicted"]


class ModelRecord(TypedDict):
    """Which model was measured."""

    name: str
    classes: int
    fingerprint: str | None


class MeasurementRecord(TypedDict):
    """What was measured, of which model, how, and at what cost."""

    kind: str
    images: int
    settings: dict[str, Any]
    reference: ReferenceRecord
    model: ModelRecord
    environment: dict[str, str]
    forward_passes: int
    passes_from_cache: int
    not_cached_because: str
    seconds: Number
    spectral: SpectralRecord | None


class ComparisonRecord(TypedDict):
    """compare/comparison.py's Comparison."""

    kind: str
    verdict: Verdict
    changed: bool
    summary: str
    level: float
    images: int
    limits: dict[str, LimitRecord]
    direction: Literal["worse", "any"]
    checks: list[CheckRecord]
    quantities: list[QuantityRecord]
    notes: list[str]
    image_changes: ImagesRecord | None
    candidate: MeasurementRecord
    baseline: MeasurementRecord


class SnrRecord(TypedDict):
    """The ratio of the images' energy to a perturbation's, by frequency."""

    perturbation: str
    decibel: Numbers


class SpectrumRecord(TypedDict):
    """The energy spectral density of the reference sample (SPEC.md 1.8)."""

    images: int
    frequencies: list[float]
    density: Numbers
    exponent: Number
    natural: bool
    snr: list[SnrRecord]


class ExampleRecord(TypedDict):
    """An image as coalitions show it, base64-encoded PNG by the name of the part."""

    digest: str
    name: str
    pictures: dict[str, str]


class PicturesRecord(TypedDict):
    """Pictures of the images that drive a change, base64-encoded PNG."""

    thumbnails: dict[str, str]
    examples: list[ExampleRecord]
    parts: dict[str, list[int]]
    size: list[int]
    cropped: bool


class GateRecord(TypedDict):
    """One assertion of one test.

    ``measurement`` is what was measured where nothing was compared. ``sections`` are what wings
    tell of the gate, by their name (report/wings.py). ``pictures`` and ``section_pictures`` are
    for the HTML report only.
    """

    test: str
    name: str | None
    kind: str
    status: Status
    failed: bool
    verdict: Verdict | None
    summary: str
    fail_on: Literal["drift", "inconclusive", "any-change"] | None
    baseline: str
    accept: str
    reproduce: str
    seconds: Number
    comparison: ComparisonRecord | None
    measurement: MeasurementRecord | None
    spectrum: SpectrumRecord | None
    sections: dict[str, Any]
    pictures: NotRequired[PicturesRecord | None]
    section_pictures: NotRequired[dict[str, Any]]


class MetaRecord(TypedDict):
    """How a report came about."""

    command: str
    created: str
    version: str


class SessionRecord(TypedDict):
    """The JSON document of a session; gates worst first."""

    format: Literal["iaside-report/3"]
    schema: Literal["urn:pytest-iaside:session:3"]
    meta: MetaRecord
    failed: bool
    counts: dict[str, int]
    gates: list[GateRecord]


def gate_record(
    *,
    test: str,
    kind: str,
    status: Status,
    failed: bool,
    verdict: Verdict | None,
    summary: str,
    name: str | None = None,
    fail_on: Literal["drift", "inconclusive", "any-change"] | None = None,
    baseline: str = "",
    accept: str = "",
    reproduce: str = "",
    seconds: Number = None,
    comparison: ComparisonRecord | None = None,
    measurement: MeasurementRecord | None = None,
    spectrum: SpectrumRecord | None = None,
    sections: Mapping[str, Any] | None = None,
    pictures: PicturesRecord | None = None,
    section_pictures: Mapping[str, Any] | None = None,
) -> GateRecord:
    """The record of a gate; of what is left out, nothing is known."""
    return {
        "test": test,
        "name": name,
        "kind": kind,
        "status": status,
        "failed": failed,
        "verdict": verdict,
        "summary": summary,
        "fail_on": fail_on,
        "baseline": baseline,
        "accept": accept,
        "reproduce": reproduce,
        "seconds": seconds,
        "comparison": comparison,
        "measurement": measurement,
        "spectrum": spectrum,
        "sections": dict(sections or {}),
        "pictures": pictures,
        "section_pictures": dict(section_pictures or {}),
    }


def comparison_record(comparison: Comparison) -> ComparisonRecord:
    """``comparison`` in plain values."""
    changes = comparison.image_changes
    checks: Any = [asdict(check) for check in comparison.checks]
    quantities: Any = [asdict(quantity) for quantity in comparison.quantities]
    limits: Any = {family: asdict(limit) for family, limit in comparison.limits.items()}
    return {
        "kind": comparison.kind,
        "verdict": comparison.verdict,
        "changed": comparison.changed,
        "summary": comparison.summary(),
        "level": comparison.level,
        "images": comparison.images,
        "limits": limits,
        "direction": comparison.direction,
        "checks": checks,
        "quantities": quantities,
        "notes": list(comparison.notes),
        "image_changes": None if changes is None else _images_record(changes),
        "candidate": measurement_record(comparison.candidate, comparison.level),
        "baseline": measurement_record(comparison.baseline, comparison.level),
    }


def measurement_record(measurement: Measurement, level: float = 0.95) -> MeasurementRecord:
    """``measurement`` in plain values, with intervals at ``level``."""
    # Here, where a model has run: the controller of xdist's workers draws reports without torch.
    from pytest_iaside.measure.profile import SpectralProfile

    reference: Any = asdict(measurement.reference)
    model: Any = asdict(measurement.model)
    spectral = None
    if isinstance(measurement, SpectralProfile):
        spectral = _spectral_record(measurement, level)
    return {
        "kind": measurement.kind,
        "images": len(measurement),
        "settings": dict(measurement.settings),
        "reference": reference,
        "model": model,
        "environment": dict(measurement.environment),
        "forward_passes": measurement.forward_passes,
        "passes_from_cache": measurement.passes_from_cache,
        "not_cached_because": measurement.not_cached_because,
        "seconds": measurement.seconds,
        "spectral": spectral,
    }


def _spectral_record(profile: SpectralProfile, level: float) -> SpectralRecord:
    intervals: Any = {
        what: {"low": found.low.tolist(), "high": found.high.tolist()}
        for what in ("psi", "sid", "signed_src", "value")
        for found in [profile.interval(what, level)]
    }
    return {
        "level": level,
        "psi": profile.psi.tolist(),
        "standard_error": profile.standard_error.tolist(),
        "sid": profile.sid.tolist(),
        "src": profile.src,
        "signed_src": profile.signed_src,
        "value": profile.value,
        "structured": profile.structured,
        "unstructured_because": profile.unstructured_because,
        "intervals": intervals,
        "by_size": profile.by_size.mean(axis=0).tolist(),
        "band_labels": list(profile.partition.labels),
        "band_edges": profile.partition.edges.tolist(),
    }


def _images_record(changes: ImageChanges) -> ImagesRecord:
    return {
        "quantity": changes.quantity,
        "unit": changes.unit,
        "change": changes.change,
        "count": len(changes.images),
        "images": [
            {
                "name": image.name,
                "digest": image.digest,
                "label": image.label,
                "contribution": image.contribution,
                "baseline_psi": image.baseline_psi.tolist(),
                "candidate_psi": image.candidate_psi.tolist(),
            }
            for image in changes.images[:SHOWN_IMAGES]
        ],
    }

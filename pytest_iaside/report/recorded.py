"""What is read off measurements and comparisons, as records (record.py)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from datetime import datetime, timezone
from importlib import metadata
from typing import TYPE_CHECKING, Any, TypeVar, cast

from pytest_iaside.report.record import (
    BandLossRecord,
    CheckRecord,
    ComparisonRecord,
    GateRecord,
    ImageRecord,
    ImagesRecord,
    IntervalsRecord,
    LossRecord,
    MeasurementRecord,
    MetaRecord,
    SpectralRecord,
    Status,
    TradeRecord,
    Verdict,
)

if TYPE_CHECKING:
    from pytest_iaside.compare.comparison import Comparison
    from pytest_iaside.compare.losses import LossChange
    from pytest_iaside.measure.measurement import Measurement
    from pytest_iaside.stats.estimate import Estimate

SHOWN_IMAGES = 12  # images behind a change, of those a record tells
OF_ONE_ANSWER = ("accuracy, clean", "probability of the label, clean")
CURVE = 40  # points of a convergence curve

T = TypeVar("T")


def written_by(command: str) -> MetaRecord:
    """What a page or a JSON document says of its own making."""
    return {
        "command": command,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "version": metadata.version("pytest-iaside"),
    }


def gate_record(
    *,
    test: str,
    kind: str,
    status: Status,
    failed: bool,
    verdict: Verdict | None,
    summary: str,
    **others: Any,
) -> GateRecord:
    """The record of a gate, with ``others`` of its fields; of those left out, nothing is known."""
    known = {"test": test, "kind": kind, "status": status, "failed": failed, "verdict": verdict}
    empty = {"baseline": "", "accept": "", "reproduce": "", "sections": {}, "section_pictures": {}}
    if unknown := others.keys() - GateRecord.__annotations__.keys():
        raise TypeError(f"a record of a gate has no {', '.join(sorted(unknown))}")
    nothing = dict.fromkeys(GateRecord.__annotations__)
    return cast(GateRecord, {**nothing, **empty, **known, "summary": summary, **others})


def comparison_record(comparison: Comparison) -> ComparisonRecord:
    """``comparison`` in plain values."""
    from pytest_iaside.compare.likely import likely_causes
    from pytest_iaside.compare.trades import trades

    changes, level = comparison.image_changes, comparison.level
    shown = None
    if changes is not None:
        told = _answered(comparison)
        images = [
            record_of(ImageRecord, image, **told(image.digest))
            for image in changes.images[:SHOWN_IMAGES]
        ]
        shown = record_of(ImagesRecord, changes, count=len(changes.images), images=images)
    both = comparison.on_the_same_images or (comparison.candidate, comparison.baseline)
    return record_of(
        ComparisonRecord,
        comparison,
        summary=comparison.summary(),
        causes=list(likely_causes(comparison)),
        checks=[_check_record(check) for check in comparison.checks],
        image_changes=shown,
        trades=[
            record_of(TradeRecord, each)
            for each in trades(comparison.quantities, comparison.answers)
        ],
        candidate=measurement_record(both[0], level),
        baseline=measurement_record(both[1], level),
    )


def _answered(comparison: Comparison) -> Callable[[str], dict[str, Any]]:
    """What both models answer to an image as it is, by its digest; None where that is not known."""
    both = {"baseline": comparison.baseline, "candidate": comparison.candidate}
    found: dict[str, dict[str, Any]] = {}
    for role, measurement in both.items():
        answers = measurement.answers or measurement
        known = {quantity.name for quantity in answers.quantities}
        if not known.issuperset(OF_ONE_ANSWER) or answers.model.task != "softmax":
            continue
        right, probability = (answers[name] for name in OF_ONE_ANSWER)
        for row, digest in enumerate(answers.digests):
            of_image = found.setdefault(digest, {})
            of_image[f"{role}_right"] = bool(right[row] > 0)
            of_image[f"{role}_probability"] = float(probability[row])
    fields = [f"{role}_{what}" for role in both for what in ("right", "probability")]
    return lambda digest: {name: found.get(digest, {}).get(name) for name in fields}


def loss_record(found: LossChange) -> LossRecord:
    """``found`` in plain values."""
    change = found.change
    return record_of(
        LossRecord,
        found,
        change=change.value,
        low=change.low,
        high=change.high,
        **{role: _band_losses(getattr(found, role)) for role in ("baseline", "candidate", "bands")},
        band_labels=list(found.labels),
        band_edges=list(found.edges),
    )


def _band_losses(some: Sequence[Estimate]) -> BandLossRecord:
    return {
        "values": [each.value for each in some],
        "low": [each.low for each in some],
        "high": [each.high for each in some],
    }


def _check_record(check: Any) -> CheckRecord:
    from pytest_iaside.compare.words import POSSIBLE, possible

    found = record_of(CheckRecord, check)
    if check.name in POSSIBLE:
        cut = possible(check.low, check.high, POSSIBLE[check.name]) or (float("nan"),) * 2
        found["low"], found["high"] = cut
    return found


def measurement_record(measurement: Measurement, level: float = 0.95) -> MeasurementRecord:
    """``measurement`` in plain values, with intervals at ``level``."""
    # Here, where a model has run: the controller of xdist's workers draws reports without torch.
    from pytest_iaside.measure.profile import SpectralProfile

    spectral = isinstance(measurement, SpectralProfile)
    return record_of(
        MeasurementRecord,
        measurement,
        images=len(measurement),
        groups=None if measurement.groups is None else measurement.group_count,
        settings=dict(measurement.settings),
        spectral=_spectral_record(measurement, level) if spectral else None,
    )


def _spectral_record(profile: Any, level: float) -> SpectralRecord:
    return record_of(
        SpectralRecord,
        profile,
        level=level,
        unit=profile.model.unit,
        intervals={
            what: _bounds_record(what, profile.interval(what, level))
            for what in IntervalsRecord.__annotations__
        },
        by_size=profile.distinct(profile.by_size).mean(axis=0).tolist(),
        band_labels=list(profile.partition.labels),
        band_edges=profile.partition.edges.tolist(),
        convergence_at=(at := _some(len(profile) - 1)),
        convergence=profile.convergence()[[each - 1 for each in at]].tolist(),
        error_bounds=[None, None]
        if profile.log_likelihood is None
        else [profile.error_bound(), profile.tight_error_bound()],
    )


def _some(most: int) -> list[int]:
    """Whole numbers from 1 to ``most``, evenly spaced; all of them where they are few."""
    count = min(most, CURVE)
    return [round(1 + (most - 1) * n / max(count - 1, 1)) for n in range(count)]


def _bounds_record(what: str, found: Any) -> dict[str, Any]:
    """The interval of ``what``, cut to what can be; NaN where it says nothing."""
    import numpy as np

    least, most = {"sid": (0.0, 1.0), "signed_src": (-1.0, 1.0)}.get(what, (-np.inf, np.inf))
    low, high = (np.asarray(each, dtype=float) for each in (found.low, found.high))
    nothing = (low <= least) & (high >= most)
    bounds = {"low": np.maximum(low, least), "high": np.minimum(high, most)}
    return {side: _plain(np.where(nothing, np.nan, each)) for side, each in bounds.items()}


def record_of(kind: type[T], source: Any, **more: Any) -> T:
    """A record of ``kind``: its fields are ``more`` and what ``source`` has by the same names."""
    found: Any = {
        name: more[name] if name in more else _plain(getattr(source, name))
        for name in kind.__annotations__
    }
    return cast(T, found)


def _plain(value: Any) -> Any:
    """``value`` of dataclasses, arrays and containers, in types that JSON has."""
    match value:
        case Mapping():
            return {key: _plain(each) for key, each in value.items()}
        case tuple():
            return [_plain(each) for each in value]
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return value.tolist() if hasattr(value, "tolist") else value

"""Which images of a reference sample are measured, and on which labels."""

from __future__ import annotations

from typing import Any, Literal, Protocol

from numpy.typing import NDArray

from pytest_iaside.errors import ReferenceSampleError, SettingsError
from pytest_iaside.images.reference import ReferenceSample


class Labelled(Protocol):
    """What was measured before: images by their digests, and their labels."""

    @property
    def digests(self) -> tuple[str, ...]: ...

    @property
    def labels(self) -> NDArray[Any]: ...


def check_reference(reference: Any) -> None:
    """Raise ReferenceSampleError unless ``reference`` is a ReferenceSample."""
    if not isinstance(reference, ReferenceSample):
        raise ReferenceSampleError(
            f"the reference is a {type(reference).__name__}; expected a ReferenceSample: wrap "
            "images with ReferenceSample(images), or read them with .from_folder"
        )


def first_images(
    reference: ReferenceSample, samples: int | Literal["auto"] | None
) -> ReferenceSample:
    """The first ``samples`` images; all for None and for ``"auto"``, which a gate decides.

    Raises SettingsError when there are not so many.
    """
    if samples is None or samples == "auto":
        return reference
    if not isinstance(samples, int) or isinstance(samples, bool) or samples < 1:
        raise SettingsError(f"samples={samples!r} must be a whole number above 0, 'auto', or None")
    if samples > len(reference):
        raise SettingsError(
            f"samples={samples} images asked for, but the reference sample holds "
            f"{len(reference)}; ask for fewer, or None for all of them"
        )
    return reference.take(range(samples))


def on_labels_of(sample: ReferenceSample, source: Labelled | None) -> ReferenceSample:
    """``sample`` with the labels that ``source`` predicted, if it has none of its own.

    So two models are scored on the same labels. Raises ReferenceSampleError where ``source``
    lacks some of the images.
    """
    if source is None or sample.labels is not None or source.labels.ndim != 1:
        return sample
    return sample.with_labels(classes_in(source, sample))


def classes_in(source: Labelled, sample: ReferenceSample) -> list[int]:
    """The class of each image of ``sample`` in ``source``, whose labels (K,) are classes.

    Raises ReferenceSampleError where ``source`` lacks some of the images.
    """
    known = dict(zip(source.digests, source.labels.tolist(), strict=True))
    missing = [name for name, d in zip(sample.names, sample.digests, strict=True) if d not in known]
    if missing:
        raise ReferenceSampleError(
            f"{missing[0]} and {len(missing) - 1} more images have no label in the measurement "
            "whose predictions were to be used; measure that on the same reference sample"
        )
    return [known[digest] for digest in sample.digests]

"""Of a red gate: the images that drive the change, explained for the report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_iaside.errors import SpectralRobustnessError

if TYPE_CHECKING:
    from pytest_iaside.images.reference import ReferenceSample
    from pytest_iaside.testing.red import RedGate

FEW = 3  # images that are explained where nobody asks for more


def tell_red(red: RedGate) -> tuple[Any, Any]:
    """The record's section "explanation" of a red gate, and its pictures; None each for nothing.

    With ``auto``, as many images as take no more forward passes than the gate stands for.
    """
    try:
        asked = red.asked
        if asked == 0 or red.comparison.image_changes is None:
            return None, None
        return _explained(red, asked)
    except SpectralRobustnessError as error:
        return _nothing(str(error)), None
    except Exception as error:  # Whatever fails here must not cost the gate its verdict.
        return _nothing(f"{type(error).__name__}: {error}"), None


def _explained(red: RedGate, asked: int | None) -> tuple[Any, Any]:
    # Here, where a gate is red: others need not pay for it.
    from pytest_iaside.explain.explanation import cost, explain
    from pytest_iaside.explain.records import explanation_pictures, explanation_record
    from pytest_iaside.testing.red import OPTION

    comparison, sample, other = red.comparison, red.sample, red.other_model()
    assert comparison.image_changes is not None
    number = asked
    if number is None:
        models, room = 1 + (other is not None), comparison.candidate.forward_passes
        one = models * cost(sample, 1)
        number = min(FEW, room // one)
        if number == 0:
            return _nothing(
                f"it would take about {one:,} forward passes for an image, more than the "
                f"{room:,} of the gate; {OPTION}={FEW} does it all the same"
            ), None
    place = {digest: at for at, digest in enumerate(sample.digests)}
    changes = comparison.image_changes.images[:number]
    chosen = sample.take([place[change.digest] for change in changes])
    labels = _labels(red, chosen)
    candidate, baseline = (
        None if model is None else explain(model, chosen, labels, execution=red.execution)
        for model in (red.model, other)
    )
    assert candidate is not None
    record = explanation_record(candidate, baseline, comparison.level)
    return record, explanation_pictures(chosen, candidate, baseline)


def _labels(red: RedGate, chosen: ReferenceSample) -> Any:
    """What both models were scored on: of a distribution, its likeliest class."""
    candidate = red.comparison.candidate
    rows = [candidate.digests.index(digest) for digest in chosen.digests]
    labels = candidate.labels[rows]
    return np.asarray(labels if labels.ndim == 1 else labels.argmax(axis=1), dtype=np.int64)


def _nothing(why: str) -> dict[str, Any]:
    return {
        "why_not": why,
        "level": None,
        "candidate": None,
        "baseline": None,
        "grid": None,
        "forward_passes": 0,
        "no_lens_because": "",
        "levels": [],
        "images": [],
    }

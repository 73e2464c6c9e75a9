"""Of a red gate: the images that drive the change, explained for the report."""

from __future__ import annotations

from typing import Any

import numpy as np

from pytest_iaside.compare.comparison import Comparison
from pytest_iaside.errors import SpectralRobustnessError
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.settings import UNSET, Settings, ini_value, read_text
from pytest_iaside.testing.current_test import RunningTest

OPTION = "--iaside-diagnose"
FEW = 3  # images that are explained where nobody asks for more
EXECUTION = ("device", "backend", "batch_size")


def drill_down(
    model: Any,
    baseline_model: Any,
    sample: ReferenceSample,
    comparison: Comparison,
    test: RunningTest,
    settings: Settings,
) -> dict[str, Any]:
    """The fields ``diagnosis`` and ``diagnosis_pictures`` of the record of a red gate.

    With ``auto``, as many images as take no more forward passes than the gate stands for.
    """
    asked = _asked(test)
    if asked == 0 or comparison.image_changes is None:
        return {}
    try:
        other = baseline_model
        if other is None:
            other = test.fixture("spectral_baseline_classifier")
        return _explained(model, other, sample, comparison, asked, settings)
    except SpectralRobustnessError as error:
        return {"diagnosis": _nothing(str(error))}
    except Exception as error:  # Whatever fails here must not cost the gate its verdict.
        return {"diagnosis": _nothing(f"{type(error).__name__}: {error}")}


def _explained(
    model: Any,
    baseline_model: Any,
    sample: ReferenceSample,
    comparison: Comparison,
    asked: int | None,
    settings: Settings,
) -> dict[str, Any]:
    # Here, where a gate is red: others need not pay for it.
    from pytest_iaside.explain.explanation import cost, explain
    from pytest_iaside.explain.records import diagnosis_facts, diagnosis_pictures

    assert comparison.image_changes is not None
    number = asked
    if number is None:
        models, room = 1 + (baseline_model is not None), comparison.candidate.forward_passes
        one = models * cost(sample, 1)
        number = min(FEW, room // one)
        if number == 0:
            return {
                "diagnosis": _nothing(
                    f"it would take about {one:,} forward passes for an image, more than the "
                    f"{room:,} of the gate; {OPTION}={FEW} does it all the same"
                )
            }
    place = {digest: at for at, digest in enumerate(sample.digests)}
    changes = comparison.image_changes.images[:number]
    chosen = sample.take([place[change.digest] for change in changes])
    labels = _labels(comparison, chosen)
    running = {name: settings.measure[name] for name in EXECUTION if name in settings.measure}
    candidate = explain(model, chosen, labels, **running)
    baseline = (
        None if baseline_model is None else explain(baseline_model, chosen, labels, **running)
    )
    facts = diagnosis_facts(candidate, baseline, settings.level)
    return {
        "diagnosis": {"why_not": "", **facts},
        "diagnosis_pictures": diagnosis_pictures(chosen, candidate, baseline),
    }


def _labels(comparison: Comparison, chosen: ReferenceSample) -> Any:
    """What both models were scored on: of a distribution, its likeliest class."""
    profile = comparison.candidate
    rows = [profile.digests.index(digest) for digest in chosen.digests]
    labels = profile.labels[rows]
    return np.asarray(labels if labels.ndim == 1 else labels.argmax(axis=1), dtype=np.int64)


def _asked(test: RunningTest) -> int | None:
    """How many images are asked for; None where that is for us to choose."""
    text = test.config.getoption("iaside_diagnose")
    value = read_text("diagnose", text, OPTION) if text else ini_value(test.config, "diagnose")
    return None if value in (UNSET, "auto") else int(value)


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

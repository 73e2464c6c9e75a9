"""Gates on what attributions say of a model: its scales, its depth, its smoothness."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Unpack

from pytest_iaside.compare.comparison import Comparison
from pytest_iaside.explain.measurements import (
    measure_lens_smoothness,
    measure_reconstruction_depth,
    measure_scale_reliance,
)
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.measure.measurement import Measurement
from pytest_iaside.testing.kinds import (
    GateKeywords,
    GateKind,
    LimitOption,
    assert_kind,
    own_options,
)


class WaveletKeywords(GateKeywords, total=False):
    """Options of gates on wavelet attributions; ``wcam`` explains them."""

    grid: int
    wavelet_levels: int
    points: int
    wavelet: str


class ScaleKeywords(WaveletKeywords, total=False):
    """Options of ``measure_scale_reliance``."""

    fine: int


class LensKeywords(GateKeywords, total=False):
    """Options of ``measure_lens_smoothness``."""

    scales: Sequence[float]
    noise: float
    max_samples: int


def _settings_of(measure: Callable[..., Measurement]) -> Callable[..., dict[str, Any]]:
    """The settings that a measurement by ``measure`` has, from those options that are given."""

    def settings(**given: Any) -> dict[str, Any]:
        found = {**own_options(measure), **given}
        plain = {name: value for name, value in found.items() if name != "scales"}
        if "scales" in found:
            plain["scales"] = [float(scale) for scale in found["scales"]]
        return plain

    return settings


SCALE_RELIANCE = GateKind(
    kind="scale reliance",
    function="assert_scale_reliance",
    limits=(
        LimitOption(family="fine", change="max_fine_rise", bound="max_fine_share", usual=0.05),
    ),
    measure=measure_scale_reliance,
    settings=_settings_of(measure_scale_reliance),
    predicts_labels=True,
)
RECONSTRUCTION_DEPTH = GateKind(
    kind="reconstruction depth",
    function="assert_reconstruction_depth",
    limits=(LimitOption(family="depth", change="max_depth_rise", bound="max_depth", usual=2.0),),
    measure=measure_reconstruction_depth,
    settings=_settings_of(measure_reconstruction_depth),
    predicts_labels=True,
)
LENS_SMOOTHNESS = GateKind(
    kind="lens smoothness",
    function="assert_lens_smoothness",
    limits=(
        LimitOption(family="arglens", change="max_arglens_drop", bound="min_arglens", usual=0.05),
    ),
    measure=measure_lens_smoothness,
    settings=_settings_of(measure_lens_smoothness),
    predicts_labels=True,
)


def assert_scale_reliance(
    model: Any,
    reference: ReferenceSample | None = None,
    *,
    max_fine_share: float | None = None,
    max_fine_rise: float | None = None,
    baseline: str | Path | Measurement | None = None,
    name: str | None = None,
    **settings: Unpack[ScaleKeywords],
) -> Comparison:
    """Raise AssertionError where ``model`` leans on fine detail more than it may (WCAM).

    The share of the ``fine`` finest wavelet levels in what its answers come from may be
    ``max_fine_share`` at most, for which no baseline is needed; or rise by ``max_fine_rise`` over
    the baseline's, by 0.05 where neither is given. ``settings`` are options of
    ``measure_scale_reliance``; the rest as in ``assert_perturbation_robustness``.
    """
    __tracebackhide__ = True
    return assert_kind(
        SCALE_RELIANCE,
        model,
        reference,
        limits={"max_fine_share": max_fine_share, "max_fine_rise": max_fine_rise},
        keywords=settings,
        baseline=baseline,
        name=name,
    )


def assert_reconstruction_depth(
    model: Any,
    reference: ReferenceSample | None = None,
    *,
    max_depth: float | None = None,
    max_depth_rise: float | None = None,
    baseline: str | Path | Measurement | None = None,
    name: str | None = None,
    **settings: Unpack[WaveletKeywords],
) -> Comparison:
    """Raise AssertionError where ``model`` needs more of an image than it may (WCAM).

    The mean reconstruction depth, in cells, may be ``max_depth`` at most, for which no baseline is
    needed; or rise by ``max_depth_rise`` over the baseline's, by 2 where neither is given.
    ``settings`` are options of ``measure_reconstruction_depth``; the rest as in
    ``assert_perturbation_robustness``.
    """
    __tracebackhide__ = True
    return assert_kind(
        RECONSTRUCTION_DEPTH,
        model,
        reference,
        limits={"max_depth": max_depth, "max_depth_rise": max_depth_rise},
        keywords=settings,
        baseline=baseline,
        name=name,
    )


def assert_lens_smoothness(
    model: Any,
    reference: ReferenceSample | None = None,
    *,
    min_arglens: float | None = None,
    max_arglens_drop: float | None = None,
    baseline: str | Path | Measurement | None = None,
    name: str | None = None,
    **settings: Unpack[LensKeywords],
) -> Comparison:
    """Raise AssertionError where ``model`` is rougher around its images than it may be (ArgLens).

    The mean ArgLens must be ``min_arglens`` at least, for which no baseline is needed; or may fall
    by ``max_arglens_drop`` from the baseline's, by 0.05 where neither is given. ``settings`` are
    options of ``measure_lens_smoothness``; the rest as in ``assert_perturbation_robustness``.
    """
    __tracebackhide__ = True
    return assert_kind(
        LENS_SMOOTHNESS,
        model,
        reference,
        limits={"min_arglens": min_arglens, "max_arglens_drop": max_arglens_drop},
        keywords=settings,
        baseline=baseline,
        name=name,
    )

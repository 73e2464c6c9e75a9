"""Gates on what attributions say of a model: its scales, its depth, its smoothness."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from typing_extensions import Unpack

from pytest_iaside.compare.comparison import Comparison
from pytest_iaside.explain.measurements import (
    measure_lens_smoothness,
    measure_reconstruction_depth,
    measure_scale_reliance,
)
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.measure.measurement import Measurement
from pytest_iaside.settings import AccuracyKeywords
from pytest_iaside.testing.kinds import GateKind, LimitOption, assert_kind, own_options


class WaveletKeywords(AccuracyKeywords, total=False):
    """Options of gates on wavelet attributions; ``wcam`` explains them."""

    grid: int | None
    wavelet_levels: int | None
    points: int
    wavelet: str


class ScaleKeywords(WaveletKeywords, total=False):
    """Options of ``measure_scale_reliance``."""

    fine: int


class LensKeywords(AccuracyKeywords, total=False):
    """Options of ``measure_lens_smoothness``."""

    scales: Sequence[float]
    noise: float
    max_samples: int


def _row(kind: str, measure: Callable[..., Measurement], limit: LimitOption) -> GateKind:
    """The gate ``assert_<kind>`` on what ``measure`` measures; measurements bear its options."""

    def settings(**given: Any) -> dict[str, Any]:
        found = {**own_options(measure), **given}
        if "scales" in found:
            found["scales"] = [float(scale) for scale in found["scales"]]
        return found

    return GateKind(
        kind=kind,
        function=f"assert_{kind.replace(' ', '_')}",
        limits=(limit,),
        measure=measure,
        settings=settings,
        predicts_labels=True,
        fitted=("grid", "wavelet_levels"),
    )


SCALES = _row(
    "scale reliance",
    measure_scale_reliance,
    LimitOption(
        family="fine",
        change="max_fine_rise",
        bound="max_fine_share",
        usual=0.05,
        share="a share of the answer",
    ),
)
DEPTH = _row(
    "reconstruction depth",
    measure_reconstruction_depth,
    LimitOption(family="depth", change="max_depth_rise", bound="max_depth", usual=2.0),
)
LENS = _row(
    "lens smoothness",
    measure_lens_smoothness,
    LimitOption(
        family="arglens",
        change="max_arglens_drop",
        bound="min_arglens",
        usual=0.05,
        share="a part of the ArgLens, which is 1 at most",
    ),
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
    limits = {"max_fine_share": max_fine_share, "max_fine_rise": max_fine_rise}
    return assert_kind(
        SCALES, model, reference, limits=limits, keywords=settings, baseline=baseline, name=name
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
    limits = {"max_depth": max_depth, "max_depth_rise": max_depth_rise}
    return assert_kind(
        DEPTH, model, reference, limits=limits, keywords=settings, baseline=baseline, name=name
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
    limits = {"min_arglens": min_arglens, "max_arglens_drop": max_arglens_drop}
    return assert_kind(
        LENS, model, reference, limits=limits, keywords=settings, baseline=baseline, name=name
    )

"""Gates on what diagnoses read off a model: its scales, its depth, its smoothness."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

from pytest_iaside.compare.held import Limit, ReadingsComparison
from pytest_iaside.explain import measurements as diagnoses
from pytest_iaside.explain.lens import SCALES
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.measure.measurement import Measurement
from pytest_iaside.testing.readings import CommonKeywords, ReadingsGate, limit


def assert_scale_reliance(
    model: Any,
    reference: ReferenceSample | None = None,
    *,
    max_fine_share: float | None = None,
    max_fine_rise: float | None = None,
    fine: int = 1,
    grid: int = diagnoses.COARSE,
    levels: int = 3,
    designs: int = 8,
    wavelet: str = "haar",
    baseline: str | Path | Measurement | None = None,
    name: str | None = None,
    **settings: Unpack[CommonKeywords],
) -> ReadingsComparison:
    """Raise AssertionError where ``model`` leans on fine detail more than it may (WCAM).

    The share of the ``fine`` finest wavelet levels in what its answers come from may be
    ``max_fine_share`` at most, for which no baseline is needed; or rise by ``max_fine_rise`` over
    the baseline's, by 0.05 where neither is given. The rest as in ``measure_scale_reliance`` and
    ``assert_perturbation_robustness``.
    """
    __tracebackhide__ = True
    gate = _DiagnosisGate(
        "assert_scale_reliance",
        "scale reliance",
        name,
        settings,
        ("fine", ("max_fine_rise", max_fine_rise), ("max_fine_share", max_fine_share), 0.05),
        diagnoses.measure_scale_reliance,
        {"grid": grid, "levels": levels, "designs": designs, "wavelet": wavelet, "fine": fine},
        diagnoses.scale_settings,
    )
    return gate.check(model, reference, baseline)


def assert_reconstruction_depth(
    model: Any,
    reference: ReferenceSample | None = None,
    *,
    max_depth: float | None = None,
    max_depth_rise: float | None = None,
    grid: int = diagnoses.COARSE,
    levels: int = 3,
    designs: int = 8,
    wavelet: str = "haar",
    baseline: str | Path | Measurement | None = None,
    name: str | None = None,
    **settings: Unpack[CommonKeywords],
) -> ReadingsComparison:
    """Raise AssertionError where ``model`` needs more of an image than it may (WCAM).

    The mean reconstruction depth, in cells of ``grid`` × ``grid``, may be ``max_depth`` at most,
    for which no baseline is needed; or rise by ``max_depth_rise`` over the baseline's, by 2 where
    neither is given. The rest as in ``measure_reconstruction_depth`` and
    ``assert_perturbation_robustness``.
    """
    __tracebackhide__ = True
    gate = _DiagnosisGate(
        "assert_reconstruction_depth",
        "reconstruction depth",
        name,
        settings,
        ("depth", ("max_depth_rise", max_depth_rise), ("max_depth", max_depth), 2.0),
        diagnoses.measure_reconstruction_depth,
        {"grid": grid, "levels": levels, "designs": designs, "wavelet": wavelet},
        diagnoses.depth_settings,
    )
    return gate.check(model, reference, baseline)


def assert_lens_smoothness(
    model: Any,
    reference: ReferenceSample | None = None,
    *,
    min_arglens: float | None = None,
    max_arglens_drop: float | None = None,
    scales: Sequence[float] = SCALES,
    noise: float = 0.3,
    max_samples: int = 16,
    baseline: str | Path | Measurement | None = None,
    name: str | None = None,
    **settings: Unpack[CommonKeywords],
) -> ReadingsComparison:
    """Raise AssertionError where ``model`` is rougher around its images than it may be (ArgLens).

    The mean ArgLens must be ``min_arglens`` at least, for which no baseline is needed; or may fall
    by ``max_arglens_drop`` from the baseline's, by 0.05 where neither is given. The rest as in
    ``measure_lens_smoothness`` and ``assert_perturbation_robustness``.
    """
    __tracebackhide__ = True
    gate = _DiagnosisGate(
        "assert_lens_smoothness",
        "lens smoothness",
        name,
        settings,
        ("arglens", ("max_arglens_drop", max_arglens_drop), ("min_arglens", min_arglens), 0.05),
        diagnoses.measure_lens_smoothness,
        {"scales": scales, "noise": noise, "max_samples": max_samples},
        diagnoses.lens_settings,
    )
    return gate.check(model, reference, baseline)


Given = tuple[str, float | None]
"""A limit as the caller named it."""


class _DiagnosisGate(ReadingsGate):
    def __init__(
        self,
        function: str,
        kind: str,
        name: str | None,
        keywords: CommonKeywords,
        limits: tuple[str, Given, Given, float],
        measure: Callable[..., Measurement],
        options: Mapping[str, Any],
        described: Callable[..., dict[str, Any]],
    ) -> None:
        self.function, self.kind = function, kind
        super().__init__(name, keywords)
        self._family, self._change, self._bound, self._usual = limits
        self._measuring, self._options, self._describe = measure, options, described

    def limits(self) -> dict[str, Limit]:
        change, bound = limit(*self._change), limit(*self._bound)
        if change is None and bound is None:
            change = self._usual
        self.needs_baseline = change is not None
        return {self._family: Limit(change=change, bound=bound)}

    def _takes_labels_of(self, sample: ReferenceSample) -> bool:
        return True  # What is explained is what was predicted, whatever the labels.

    def described(self, running: Mapping[str, Any]) -> Mapping[str, Any]:
        return self._describe(**self._options, seed=running.get("seed", 0))

    def read(
        self,
        model: Any,
        sample: ReferenceSample,
        labels_from: Measurement | None,
        running: Mapping[str, Any],
    ) -> Measurement:
        return self._measuring(model, sample, **self._options, labels_from=labels_from, **running)

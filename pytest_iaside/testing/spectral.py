"""assert_spectral_robustness: the gate on what a model makes of each frequency band."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext, suppress
from dataclasses import fields
from pathlib import Path
from typing import Any, Unpack

from pytest_iaside.compare.comparison import Comparison, confidence
from pytest_iaside.compare.sequential import compare_sequentially, drawing_order, stopping_rule
from pytest_iaside.compare.spectral import compare, require_same_game
from pytest_iaside.errors import BaselineError
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.measure.game.rules import Rules
from pytest_iaside.measure.profile import SpectralProfile
from pytest_iaside.measure.provenance import ReferenceInfo
from pytest_iaside.measure.spectral import measure
from pytest_iaside.settings import Layer, SettingKeywords, Settings
from pytest_iaside.store import baselines as store
from pytest_iaside.testing.gate import Gate, Status, wrapped

FEW = 3  # images that a failure names; the report shows more


def assert_spectral_robustness(
    model: Any,
    reference: ReferenceSample | None = None,
    *,
    baseline: str | Path | SpectralProfile | None = None,
    baseline_model: Any = None,
    name: str | None = None,
    **settings: Unpack[SettingKeywords],
) -> Comparison:
    """Raise AssertionError where ``model`` drifted from its baseline; return the comparison.

    In a test the baseline is the test's own and ``reference`` defaults to the fixture
    ``spectral_reference``; a test with several assertions tells them apart by ``name``.
    ``baseline`` names another one, a saved profile or its path, which is only read; outside
    pytest it is needed. ``baseline_model``, by default the fixture
    ``spectral_baseline_classifier``, is only looked at beside ``model`` where the gate is red
    (--iaside-diagnose). ``settings`` are those of ``measure``, of ``Thresholds``, ``level``
    and ``fail_on``; they go before the marker's, the command line's and the ini file's.

    Raises SettingsError, ReferenceSampleError, ModelError, or BaselineError where there is no
    baseline, or none that this model can be compared with.
    """
    __tracebackhide__ = True
    return _SpectralGate(name, settings, baseline_model).check(model, reference, baseline)


class _SpectralGate(Gate[SpectralProfile, Comparison]):
    function = "assert_spectral_robustness"

    def __init__(self, name: str | None, keywords: SettingKeywords, baseline_model: Any) -> None:
        super().__init__(name)
        self._keywords = keywords
        self._baseline_model = baseline_model

    def _prepare(self) -> None:
        layers = self.test.layers if self.test else []
        self.settings = Settings.of([Layer(self.function, dict(self._keywords)), *layers])
        self.fail_on = self.settings.fail_on
        names = {field.name for field in fields(Rules)}
        self.rules = Rules(**{k: v for k, v in self.settings.measure.items() if k in names})

    def _load(self, path: Path) -> SpectralProfile:
        return SpectralProfile.load(path)

    def _given(self, baseline: Any) -> SpectralProfile | None:
        if not isinstance(baseline, SpectralProfile):
            return None
        self.shown = f"the given profile of {baseline.model.name}"
        return baseline

    def _making(self, path: Path) -> tuple[str, str]:
        command = f'iaside measure MODEL REFERENCE --output "{self.shown}"'
        return command, f"measure(model, reference).save({str(path)!r}), or with\n    {command}"

    def _require_fit(self, sample: ReferenceSample, old: SpectralProfile) -> None:
        samples = self.settings.measure.get("samples")
        digests = sample.digests if samples == "auto" else sample.digests[:samples]
        require_same_game(self.rules, ReferenceInfo.of(sample), digests, old)
        unlabelled = set(digests) - set(old.digests)
        if sample.labels is None and unlabelled:
            raise BaselineError(
                f"the baseline holds predicted labels for {len(old)} images, {len(unlabelled)} of "
                f"the {len(digests)} to be measured are not among them, so nothing was compared; "
                f"use samples={len(old)}, or make a new baseline"
            )

    def _hold(self, model: Any, sample: ReferenceSample, old: SpectralProfile) -> Comparison:
        thresholds, level = self.settings.thresholds, self.settings.level
        if self.settings.measure.get("samples") != "auto":
            self.measured = self._measure(model, sample, labels_from=old)
            return compare(self.measured, old, thresholds, level=level)
        sample = sample.take(drawing_order(sample.digests, self.settings.measure.get("seed", 0)))
        rule = stopping_rule(old, thresholds, level=level)
        self.measured = self._measure(model, sample, labels_from=old, until=rule)
        exhausted = len(self.measured) == len(sample)
        return compare_sequentially(
            self.measured, old, thresholds, level=level, exhausted=exhausted
        )

    def _compare(self, candidate: SpectralProfile, old: SpectralProfile) -> Comparison:
        return compare(candidate, old, self.settings.thresholds, level=self.settings.level)

    def _measure(
        self,
        model: Any,
        sample: ReferenceSample,
        labels_from: SpectralProfile | None = None,
        until: Callable[[SpectralProfile], int | None] | None = None,
    ) -> SpectralProfile:
        executor = self.test.fixture("spectral_executor") if self.test else None
        with (
            self.test.progress() if self.test else nullcontext() as progress,
            self._holding_to(labels_from, sample),
        ):
            return measure(
                model,
                sample,
                **{"cache": True, **self.settings.measure},
                executor=executor,
                progress=progress,
                labels_from=labels_from,
                until=until,
            )

    def _may_be_stored(self, comparison: Comparison) -> bool:
        # An unstructured one is stored by nobody: the store says why.
        return not comparison.candidate.structured or super()._may_be_stored(comparison)

    def _store(self, path: Path, measured: SpectralProfile, owner: store.Owner) -> None:
        store.store(path, measured, owner)

    def _facts(self, comparison: Comparison, status: Status) -> dict[str, Any]:
        failed = comparison.fails(self.fail_on)
        facts = comparison.as_dict()
        return {
            "comparison": facts,
            "pictures": self._pictures(comparison, facts, failed) if status == "compared" else None,
            "spectrum": self._spectrum(failed),
            **self._diagnosed(comparison, failed and status == "compared"),
        }

    def _diagnosed(self, comparison: Comparison, wanted: bool) -> dict[str, Any]:
        """Where and at which scale the model finds its answers, for a red gate's report."""
        if not wanted or self.test is None or self.sample is None:
            return {}
        from pytest_iaside.explain.drilldown import drill_down

        return drill_down(
            self.model, self._baseline_model, self.sample, comparison, self.test, self.settings
        )

    def _measured_facts(self) -> Any:
        return self.measured.as_dict() if self.measured else None

    def _spectrum(self, failed: bool) -> dict[str, Any] | None:
        """The spectrum of the reference sample; None where nobody is going to read of it."""
        if self.sample is None or not self.exported(failed, "report", "json"):
            return None
        from pytest_iaside.report.spectrum import spectrum_facts

        # Whatever fails here must not cost the gate its verdict.
        with suppress(Exception):
            return spectrum_facts(self.sample)
        return None

    def _pictures(
        self, comparison: Comparison, facts: Mapping[str, Any], failed: bool
    ) -> dict[str, Any] | None:
        """What the report shows of the images behind a change; None where there is no report."""
        wanted = self.exported(failed, "report")
        if self.sample is None or not wanted or not facts["image_changes"]:
            return None
        from pytest_iaside.report.pictures import pictures

        with suppress(Exception):  # As above.
            return pictures(
                self.sample, comparison.candidate.rules, facts["image_changes"]["images"]
            )
        return None

    def _details(self, facts: Mapping[str, Any]) -> list[str]:
        from pytest_iaside.report.numbers import fixed, signed

        lines = ["", "what did not pass, or changed:"]
        for check in facts["checks"]:
            if check["verdict"] != "pass" or check["changed"]:
                word = check["verdict"] if check["verdict"] != "pass" else "changed"
                lines += wrapped(f"{check['name']}: {word}: {check['sentence']}")
        for band in facts["bands"]:
            if band["moved"]:
                interval = f"{signed(band['low'], 2)}…{signed(band['high'], 2)}"
                lines += wrapped(
                    f"band {band['index']} ({band['label']}) {fixed(band['baseline'], 2)} → "
                    f"{fixed(band['candidate'], 2)} nats ({signed(band['change'], 2)}, "
                    f"{confidence(facts['level'])} {interval})"
                )
        if changes := facts["image_changes"]:
            some = "; ".join(
                f"{image['name']} {signed(image['contribution'])}"
                for image in changes["images"][:FEW]
            )
            whole = f"{signed(changes['change'])} {changes['unit']}".strip()
            lines += wrapped(f"images that add most to {changes['quantity']} {whole}: {some}")
        for note in facts["notes"]:
            lines += wrapped(f"note: {note}")
        return lines

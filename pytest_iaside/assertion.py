"""assert_spectral_robustness: measure, compare, record, raise."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext, suppress
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, Unpack

from pytest_iaside.data.reference import ReferenceSample
from pytest_iaside.errors import (
    BaselineError,
    ModelError,
    ReferenceSampleError,
    SettingsError,
    SpectralRobustnessError,
)
from pytest_iaside.game.rules import Rules
from pytest_iaside.gate import baseline as store
from pytest_iaside.gate.compare import compare, require_same_game
from pytest_iaside.gate.sequential import compare_sequentially, drawing_order, stopping_rule
from pytest_iaside.gate.verdict import Comparison, confidence
from pytest_iaside.measure import measure
from pytest_iaside.profile import ReferenceFacts, SpectralProfile
from pytest_iaside.running import RunningTest, running_test
from pytest_iaside.session import Record
from pytest_iaside.settings import Layer, SettingKeywords, Settings

Status = Literal["compared", "created", "updated"]
# 80 columns less the eight that pytest puts before each line of a message.
WIDTH = 72
FEW = 3  # images that a failure names; the report shows more


def assert_spectral_robustness(
    model: Any,
    reference: ReferenceSample | None = None,
    *,
    baseline: str | Path | SpectralProfile | None = None,
    name: str | None = None,
    **settings: Unpack[SettingKeywords],
) -> Comparison:
    """Raise AssertionError where ``model`` drifted from its baseline; return the comparison.

    In a test the baseline is the test's own and ``reference`` defaults to the fixture
    ``spectral_reference``; a test with several assertions tells them apart by ``name``.
    ``baseline`` names another one, a saved profile or its path, which is only read; outside
    pytest it is needed. ``settings`` are those of ``measure``, of ``Thresholds``, ``level``
    and ``fail_on``; they go before the marker's, the command line's and the ini file's.

    Raises SettingsError, ReferenceSampleError, ModelError, or BaselineError where there is no
    baseline, or none that this model can be compared with.
    """
    __tracebackhide__ = True
    gate = _Gate(running_test(), name)
    try:
        comparison = gate.run(model, reference, baseline, settings)
    except SpectralRobustnessError as error:
        gate.record_refusal(error)
        # Where inside this package it was raised tells a reader nothing; what the model itself
        # raised does.
        cause = error.__cause__ if isinstance(error, ModelError) else None
        raise error.with_traceback(None) from cause
    if gate.failure:
        raise AssertionError(gate.failure)
    return comparison


class _Gate:
    """One call of the assertion, and what is known of it so far."""

    def __init__(self, test: RunningTest | None, name: str | None) -> None:
        self.test = test
        self.name = name
        self.began = time.perf_counter()
        self.mode = test.config.getoption("iaside_update") if test else None
        self.path: Path | None = None  # of the test's own baseline
        self.shown = ""  # the baseline as people are told of it
        self.accept = ""  # the command that makes the baseline anew
        self.sample: ReferenceSample | None = None
        self.profile: SpectralProfile | None = None
        self.failure = ""

    def run(
        self,
        model: Any,
        reference: ReferenceSample | None,
        baseline: str | Path | SpectralProfile | None,
        keywords: SettingKeywords,
    ) -> Comparison:
        layers = self.test.layers if self.test else []
        given = Layer("assert_spectral_robustness", dict(keywords))
        settings = Settings.of([given, *layers])
        names = {field.name for field in fields(Rules)}
        rules = Rules(**{k: v for k, v in settings.measure.items() if k in names})
        old = self._own() if baseline is None else self._given(baseline)
        sample = self.sample = self._reference(reference)
        if old is not None:
            comparison = self._compare(model, sample, old, rules, settings)
            if comparison is not None:
                return self._record(comparison, "compared", settings)
        # Measured anew also where that was done above with the labels of the old baseline: the
        # new one is to be what a first one would have been.
        if self.profile is None or sample.labels is None:
            self.profile = self._measure(model, sample, settings)
        profile = self.profile
        comparison = compare(profile, profile, settings.thresholds, level=settings.level)
        assert self.path is not None
        assert self.test is not None
        status: Status = "updated" if self.path.exists() else "created"
        if profile.structured and comparison.fails(settings.fail_on):
            # It does not pass even against itself (min_src): no baseline mends that.
            self.accept = ""
            return self._record(comparison, "compared", settings)
        store.store(self.path, profile, store.Owner(self.test.node_id, self.name))
        return self._record(comparison, status, settings)

    def _own(self) -> SpectralProfile | None:
        """The test's own baseline; None where it is to be written."""
        if self.test is None:
            raise SettingsError(
                "no test is running (or the plugin is switched off), so there is no baseline of "
                "its own to compare with; pass baseline=, a profile or the path of a saved one"
            )
        if self.name is not None and (not isinstance(self.name, str) or not self.name):
            raise SettingsError(f"name={self.name!r} cannot be used; expected text")
        if self.name in self.test.names:
            what = "without a name" if self.name is None else f"named {self.name!r}"
            raise SettingsError(
                f"{self.test.node_id} has two assertions {what}, which would share one baseline; "
                "tell them apart with name="
            )
        self.test.names.add(self.name)
        owner = store.Owner(self.test.node_id, self.name)
        self.path = store.path_for(self.test.item.path, owner)
        self.shown = self.test.relative(self.path)
        self.accept = self.test.command("--iaside-update=changed")
        if not self.path.exists():
            self.accept = self.test.command("--iaside-update=new")
            if self.mode is None:
                raise BaselineError(
                    f"there is no baseline for this test yet ({self.shown}); create it with the "
                    f"command below, look at it, and commit it\n    {self.accept}"
                )
            return None
        try:
            found = store.load(self.path, owner)
        except store.ForeignBaselineError:
            raise
        except BaselineError as error:
            if self.mode in ("changed", "all"):
                return None
            raise self._advised(error) from None
        return None if self.mode == "all" else found

    def _given(self, baseline: str | Path | SpectralProfile) -> SpectralProfile:
        """A baseline that the caller names; it is only read, whatever is to be updated."""
        self.mode = None
        if isinstance(baseline, SpectralProfile):
            self.shown = f"the given profile of {baseline.model.name}"
            return baseline
        path = Path(baseline)
        self.shown = self.test.relative(path.absolute()) if self.test else str(baseline)
        self.accept = f'iaside measure MODEL REFERENCE --output "{self.shown}"'
        if not path.exists():
            raise BaselineError(
                f"there is no baseline at {baseline}; make one with measure(model, "
                f"reference).save({str(baseline)!r}), or with\n    {self.accept}"
            )
        return SpectralProfile.load(path)

    def _reference(self, reference: ReferenceSample | None) -> ReferenceSample:
        found: Any = reference
        if found is None and self.test is not None:
            found = self.test.fixture("spectral_reference")
        if found is None:
            raise SettingsError("no test is running, so reference= is needed: the images to use")
        if not isinstance(found, ReferenceSample):
            raise ReferenceSampleError(
                f"the reference is a {type(found).__name__}; expected a ReferenceSample: wrap "
                "images with ReferenceSample(images), or read them with .from_folder"
            )
        return found

    def _compare(
        self,
        model: Any,
        sample: ReferenceSample,
        old: SpectralProfile,
        rules: Rules,
        settings: Settings,
    ) -> Comparison | None:
        """``model`` against ``old``; None where ``old`` is to be replaced."""
        try:
            # Before the measurement, which takes minutes and would be in vain.
            _require_fit(rules, sample, old, settings.measure.get("samples"))
            comparison = self._hold_against(model, sample, old, settings)
        except BaselineError as error:
            if self.mode == "changed":
                return None
            raise self._advised(error) from None
        holds = comparison.verdict == "pass" and not comparison.fails(settings.fail_on)
        return comparison if holds or self.mode != "changed" else None

    def _hold_against(
        self, model: Any, sample: ReferenceSample, old: SpectralProfile, settings: Settings
    ) -> Comparison:
        thresholds, level = settings.thresholds, settings.level
        if settings.measure.get("samples") != "auto":
            self.profile = self._measure(model, sample, settings, labels_from=old)
            return compare(self.profile, old, thresholds, level=level)
        sample = sample.take(drawing_order(sample.digests, settings.measure.get("seed", 0)))
        rule = stopping_rule(old, thresholds, level=level)
        self.profile = self._measure(model, sample, settings, labels_from=old, until=rule)
        exhausted = len(self.profile) == len(sample)
        return compare_sequentially(self.profile, old, thresholds, level=level, exhausted=exhausted)

    def _measure(
        self,
        model: Any,
        sample: ReferenceSample,
        settings: Settings,
        labels_from: SpectralProfile | None = None,
        until: Callable[[SpectralProfile], int | None] | None = None,
    ) -> SpectralProfile:
        executor = self.test.fixture("spectral_executor") if self.test else None
        with self.test.progress() if self.test else nullcontext() as progress:
            try:
                return measure(
                    model,
                    sample,
                    **{"cache": True, **settings.measure},
                    executor=executor,
                    progress=progress,
                    labels_from=labels_from,
                    until=until,
                )
            except ReferenceSampleError as error:
                if labels_from is None or sample.labels is not None:
                    raise
                raise BaselineError(
                    f"the model cannot be held against the labels that the baseline predicted, so "
                    f"nothing was compared: {error}"
                ) from None

    def _advised(self, error: BaselineError) -> BaselineError:
        advice = f"\nTo make a new baseline:\n    {self.accept}" if self.accept else ""
        return BaselineError(f"{error}{advice}")

    def _record(self, comparison: Comparison, status: Status, settings: Settings) -> Comparison:
        failed = comparison.fails(settings.fail_on)
        facts = comparison.as_dict()
        summary = f"{status} {self.shown}" if status != "compared" else comparison.summary()
        if failed:
            self.failure = "\n".join([comparison.summary(), *self._details(facts)])
        self._add(
            status=status,
            failed=failed,
            verdict=comparison.verdict,
            summary=summary,
            fail_on=settings.fail_on,
            comparison=facts,
            pictures=self._pictures(comparison, facts, failed) if status == "compared" else None,
            spectrum=self._spectrum(failed),
        )
        return comparison

    def _spectrum(self, failed: bool) -> dict[str, Any] | None:
        """The spectrum of the reference sample; None where nobody is going to read of it."""
        exports = ("iaside_report", "iaside_json")
        wanted = failed or any(self.test and self.test.config.getoption(name) for name in exports)
        if self.test is None or self.sample is None or not wanted:
            return None
        from pytest_iaside.report.spectrum import spectrum_facts

        with suppress(Exception):  # As above.
            return spectrum_facts(self.sample)
        return None

    def _pictures(
        self, comparison: Comparison, facts: Mapping[str, Any], failed: bool
    ) -> dict[str, Any] | None:
        """What the report shows of the images behind a change; None where there is no report."""
        wanted = failed or (self.test is not None and self.test.config.getoption("iaside_report"))
        if self.test is None or self.sample is None or not wanted or not facts["image_changes"]:
            return None
        from pytest_iaside.report.pictures import pictures

        # Whatever fails here must not cost the gate its verdict.
        with suppress(Exception):
            return pictures(
                self.sample, comparison.candidate.rules, facts["image_changes"]["images"]
            )
        return None

    def _details(self, facts: Mapping[str, Any]) -> list[str]:
        """What a failure says after its first line."""
        from pytest_iaside.report.numbers import fixed, signed

        lines = ["", "what did not pass, or changed:"]
        for check in facts["checks"]:
            if check["verdict"] != "pass" or check["changed"]:
                word = check["verdict"] if check["verdict"] != "pass" else "changed"
                lines += _wrapped(f"{check['name']}: {word}: {check['sentence']}")
        for band in facts["bands"]:
            if band["moved"]:
                interval = f"{signed(band['low'], 2)}…{signed(band['high'], 2)}"
                lines += _wrapped(
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
            lines += _wrapped(f"images that add most to {changes['quantity']} {whole}: {some}")
        for note in facts["notes"]:
            lines += _wrapped(f"note: {note}")
        lines.append(f"baseline: {self.shown} ({facts['images']} images)")
        if self.test is not None:
            lines.append(f"report: {self.test.report_path}")
        if self.accept:
            lines += ["to accept the change:", f"    {self.accept}"]
        return lines

    def record_refusal(self, error: SpectralRobustnessError) -> None:
        self._add(
            status="refused",
            failed=True,
            verdict=None,
            summary=str(error).partition("\n")[0],
            profile=self.profile.as_dict() if self.profile else None,
        )

    def _add(self, **facts: Any) -> None:
        if self.test is None:
            return
        record: Record = {
            "test": self.test.node_id,
            "name": self.name,
            "baseline": self.shown,
            "accept": self.accept,
            "reproduce": self.test.command(),
            "fail_on": None,
            "comparison": None,
            "profile": None,
            "pictures": None,
            "spectrum": None,
            "seconds": time.perf_counter() - self.began,
            **facts,
        }
        self.test.add(record)


def _require_fit(
    rules: Rules,
    sample: ReferenceSample,
    old: SpectralProfile,
    samples: int | Literal["auto"] | None,
) -> None:
    digests = sample.digests if samples == "auto" else sample.digests[:samples]
    require_same_game(rules, ReferenceFacts.of(sample), digests, old)
    unlabelled = set(digests) - set(old.digests)
    if sample.labels is None and unlabelled:
        raise BaselineError(
            f"the baseline holds predicted labels for {len(old)} images, {len(unlabelled)} of the "
            f"{len(digests)} to be measured are not among them, so nothing was compared; use "
            f"samples={len(old)}, or make a new baseline"
        )


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent="  ",
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
    )

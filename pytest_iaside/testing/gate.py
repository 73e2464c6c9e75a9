"""What every assertion with a baseline has in common: whose it is, updating it, the record."""

from __future__ import annotations

import textwrap
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, Literal, Protocol, TypeVar

from pytest_iaside.compare.comparison import Verdict
from pytest_iaside.errors import (
    BaselineError,
    ModelError,
    ReferenceSampleError,
    SettingsError,
    SpectralRobustnessError,
)
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.store import baselines as store
from pytest_iaside.testing.current_test import RunningTest, running_test
from pytest_iaside.testing.session import new_record
from pytest_iaside.thresholds import FailOn

Status = Literal["compared", "created", "updated"]
# 80 columns less the eight that pytest puts before each line of a message.
WIDTH = 72


class Measured(Protocol):
    """What is measured of a model and kept as a baseline."""

    def save(self, path: str | Path, **header: Any) -> Path: ...


class Compared(Protocol):
    """A candidate held against its baseline."""

    @property
    def verdict(self) -> Verdict: ...

    def fails(self, fail_on: FailOn = "drift") -> bool: ...

    def summary(self) -> str: ...

    def as_dict(self) -> dict[str, Any]: ...


M = TypeVar("M", bound=Measured)
C = TypeVar("C", bound=Compared)


class Gate(ABC, Generic[M, C]):
    """One call of an assertion, and what is known of it so far.

    What it measures and how it compares is for a kind of gate to say.
    """

    function: str
    """The assertion that was called, for messages."""
    kind = ""
    """What is measured; empty for spectral profiles, whose baselines have no other name."""
    fail_on: FailOn = "drift"
    needs_baseline = True
    """Whether anything is held against a baseline; if not, none is stored."""

    def __init__(self, name: str | None) -> None:
        self.test: RunningTest | None = running_test()
        self.given_name = name
        self.name = name if not self.kind else f"{self.kind} {name}" if name else self.kind
        self.began = time.perf_counter()
        self.mode = self.test.config.getoption("iaside_update") if self.test else None
        self.path: Path | None = None  # of the test's own baseline
        self.shown = ""  # the baseline as people are told of it
        self.accept = ""  # the command that makes the baseline anew
        self.model: Any = None
        self.sample: ReferenceSample | None = None
        self.measured: M | None = None
        self.failure = ""

    def check(
        self, model: Any, reference: ReferenceSample | None, baseline: str | Path | M | None
    ) -> C:
        """Measure and compare; raise AssertionError where the gate is red."""
        __tracebackhide__ = True
        self.model = model
        try:
            comparison = self._run(model, reference, baseline)
        except SpectralRobustnessError as error:
            self._record_refusal(error)
            # Where inside this package it was raised tells a reader nothing; what the model itself
            # raised does.
            cause = error.__cause__ if isinstance(error, ModelError) else None
            raise error.with_traceback(None) from cause
        if self.failure:
            raise AssertionError(self.failure)
        return comparison

    @abstractmethod
    def _prepare(self) -> None:
        """Read the settings, before anything else is looked at; raises SettingsError."""

    @abstractmethod
    def _load(self, path: Path) -> M:
        """The baseline at ``path``; raises BaselineError."""

    @abstractmethod
    def _require_fit(self, sample: ReferenceSample, old: M) -> None:
        """Raise BaselineError where ``old`` cannot be compared with what is to be measured.

        Before the measurement, which takes minutes and would be in vain.
        """

    @abstractmethod
    def _measure(self, model: Any, sample: ReferenceSample, labels_from: M | None = None) -> M:
        """Measure ``model``; without labels in ``sample``, on those of ``labels_from``."""

    @abstractmethod
    def _hold(self, model: Any, sample: ReferenceSample, old: M) -> C:
        """Measure ``model``, into ``self.measured``, and compare with ``old``."""

    @abstractmethod
    def _compare(self, candidate: M, old: M) -> C:
        """Compare what was measured before."""

    @abstractmethod
    def _facts(self, comparison: C, status: Status) -> dict[str, Any]:
        """What the record holds of a comparison, for the reports."""

    @abstractmethod
    def _details(self, facts: Mapping[str, Any]) -> list[str]:
        """What a failure says after its first line; ``facts`` are of the comparison."""

    def _given(self, baseline: Any) -> M | None:
        """A baseline that the caller hands over as it is; None where it is a path."""
        return None

    def _may_be_stored(self, comparison: C) -> bool:
        """Whether what passes not even against itself would be stored all the same."""
        return not comparison.fails(self.fail_on)

    def _store(self, path: Path, measured: M, owner: store.Owner) -> None:
        store.put(path, measured, owner)

    @contextmanager
    def _holding_to(self, labels_from: M | None, sample: ReferenceSample) -> Iterator[None]:
        """While ``sample`` is measured on labels that a baseline predicted: the fault is its."""
        try:
            yield
        except ReferenceSampleError as error:
            if labels_from is None or sample.labels is not None:
                raise
            raise BaselineError(
                f"the model cannot be held against the labels that the baseline predicted, so "
                f"nothing was compared: {error}"
            ) from None

    def _takes_labels_of(self, sample: ReferenceSample) -> bool:
        """Whether a measurement against a baseline takes over the labels it predicted."""
        return sample.labels is None

    def _measured_facts(self) -> Any:
        """What a refusal tells of a measurement that was made all the same."""
        return None

    def _run(
        self, model: Any, reference: ReferenceSample | None, baseline: str | Path | M | None
    ) -> C:
        self._prepare()
        if baseline is None and not self.needs_baseline:
            self._claim_name()
            self.measured = self._measure(model, self._taken(reference))
            return self._record(self._compare(self.measured, self.measured), "compared")
        old = self._own() if baseline is None else self._other(baseline)
        sample = self._taken(reference)
        if old is not None:
            comparison = self._against(model, sample, old)
            if comparison is not None:
                return self._record(comparison, "compared")
        # Measured anew also where that was done above with the labels of the old baseline: the
        # new one is to be what a first one would have been.
        if self.measured is None or self._takes_labels_of(sample):
            self.measured = self._measure(model, sample)
        comparison = self._compare(self.measured, self.measured)
        assert self.path is not None
        assert self.test is not None
        status: Status = "updated" if self.path.exists() else "created"
        if not self._may_be_stored(comparison):
            # It does not pass even against itself: no baseline mends that.
            self.accept = ""
            return self._record(comparison, "compared")
        self._store(self.path, self.measured, store.Owner(self.test.node_id, self.name))
        return self._record(comparison, status)

    def _own(self) -> M | None:
        """The test's own baseline; None where it is to be written."""
        if self.test is None:
            raise SettingsError(
                "no test is running (or the plugin is switched off), so there is no baseline of "
                "its own to compare with; pass baseline=, what was measured before or its path"
            )
        self._claim_name()
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
            found = store.owned(self.path, owner, self._load)
        except store.ForeignBaselineError:
            raise
        except BaselineError as error:
            if self.mode in ("changed", "all"):
                return None
            raise self._advised(error) from None
        return None if self.mode == "all" else found

    def _claim_name(self) -> None:
        """Keep others of this test from its name; raises SettingsError where one has it."""
        if self.test is None:
            return
        if self.given_name is not None and (
            not isinstance(self.given_name, str) or not self.given_name
        ):
            raise SettingsError(f"name={self.given_name!r} cannot be used; expected text")
        if self.name in self.test.names:
            what = "without a name" if self.given_name is None else f"named {self.given_name!r}"
            raise SettingsError(
                f"{self.test.node_id} has two assertions {what}, which would share one baseline; "
                "tell them apart with name="
            )
        self.test.names.add(self.name)

    def _other(self, baseline: str | Path | M) -> M:
        """A baseline that the caller names; it is only read, whatever is to be updated."""
        self.mode = None
        found = self._given(baseline)
        if found is not None:
            return found
        if not isinstance(baseline, (str, Path)):
            raise SettingsError(
                f"baseline is a {type(baseline).__name__}; expected the path of a saved one, or "
                "what was measured before"
            )
        path = Path(baseline)
        self.shown = self.test.relative(path.absolute()) if self.test else str(baseline)
        self.accept, advice = self._making(path)
        if not path.exists():
            raise BaselineError(f"there is no baseline at {baseline}; make one with {advice}")
        return self._load(path)

    def _making(self, path: Path) -> tuple[str, str]:
        """The command that makes a baseline that is no test's own, and in words how it is made."""
        return "", f"the same assertion's measurement: comparison.candidate.save({str(path)!r})"

    def _taken(self, reference: ReferenceSample | None) -> ReferenceSample:
        self.sample = self._reference(reference)
        return self.sample

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

    def _against(self, model: Any, sample: ReferenceSample, old: M) -> C | None:
        """``model`` against ``old``; None where ``old`` is to be replaced."""
        try:
            self._require_fit(sample, old)
            comparison = self._hold(model, sample, old)
        except BaselineError as error:
            if self.mode == "changed":
                return None
            raise self._advised(error) from None
        holds = comparison.verdict == "pass" and not comparison.fails(self.fail_on)
        return comparison if holds or self.mode != "changed" else None

    def _advised(self, error: BaselineError) -> BaselineError:
        advice = f"\nTo make a new baseline:\n    {self.accept}" if self.accept else ""
        return BaselineError(f"{error}{advice}")

    def _record(self, comparison: C, status: Status) -> C:
        failed = comparison.fails(self.fail_on)
        facts = self._facts(comparison, status)
        summary = f"{status} {self.shown}" if status != "compared" else comparison.summary()
        if failed:
            compared = facts.get("comparison") or facts["readings"]
            lines = [comparison.summary(), *self._details(compared), *self._ending(compared)]
            self.failure = "\n".join(lines)
        self._add(
            status=status,
            failed=failed,
            verdict=comparison.verdict,
            summary=summary,
            fail_on=self.fail_on,
            **facts,
        )
        return comparison

    def _ending(self, facts: Mapping[str, Any]) -> list[str]:
        measured = f"baseline: {self.shown}" if self.shown else "measured on its own"
        lines = [f"{measured} ({facts['images']} images)"]
        if self.test is not None:
            lines.append(f"report: {self.test.report_path}")
        if self.accept:
            lines += ["to accept the change:", f"    {self.accept}"]
        return lines

    def exported(self, failed: bool, *exports: str) -> bool:
        """Whether somebody is going to read more than the verdict."""
        return self.test is not None and (
            failed or any(self.test.config.getoption(f"iaside_{name}") for name in exports)
        )

    def _record_refusal(self, error: SpectralRobustnessError) -> None:
        self._add(
            status="refused",
            failed=True,
            verdict=None,
            summary=str(error).partition("\n")[0],
            profile=self._measured_facts(),
        )

    def _add(self, **facts: Any) -> None:
        if self.test is None:
            return
        known = {
            "test": self.test.node_id,
            "name": self.name,
            "kind": self.kind or "spectral",
            "baseline": self.shown,
            "accept": self.accept,
            "reproduce": self.test.command(),
            "seconds": time.perf_counter() - self.began,
        }
        self.test.add(new_record(**known, **facts))


def wrapped(text: str) -> list[str]:
    """``text`` in lines that a terminal of 80 columns shows whole."""
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent="  ",
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
    )

"""How much of the game a spectral gate plays: coarse to fine, until it is decided (SPEC.md 13)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from pytest_iaside.compare import coarse
from pytest_iaside.compare.compare import compare
from pytest_iaside.compare.comparison import Comparison
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.images.selection import on_labels_of
from pytest_iaside.measure.game.cached import CachedGame
from pytest_iaside.measure.game.growing import GrowingGame
from pytest_iaside.measure.game.play import Game
from pytest_iaside.measure.game.rows import GameRows
from pytest_iaside.measure.game.rules import Rules
from pytest_iaside.measure.measurement import Measurement
from pytest_iaside.measure.profile import SpectralProfile
from pytest_iaside.measure.spectral import Progress, profile_of
from pytest_iaside.models.classifier import as_classifier
from pytest_iaside.settings import Settings

Look = Literal["answers", "unchanged", "arcs", "everything"]


@dataclass(eq=False)
class CoarseToFine:
    """One gate's candidate, looked at more and more closely until it is decided.

    ``last`` is the look that decided, and ``baseline`` what its candidate is held against.
    """

    settings: Settings
    last: Look = "everything"
    baseline: Measurement | None = None

    def measured(
        self,
        model: Any,
        sample: ReferenceSample,
        baseline: Measurement,
        answers: Measurement,
        options: Mapping[str, Any],
        progress: Callable[[Progress], None] | None,
    ) -> SpectralProfile | None:
        """What decides of ``model``; None where the whole game is to be played, or is kept."""
        self.last, self.baseline = "everything", baseline
        began = time.perf_counter()
        game = _game(model, sample, sample, options, baseline)
        kept = CachedGame.of(game) if options["cache"] else None
        if kept is not None and kept.complete:
            return None
        fingerprint = game.classifier.fingerprint()
        told = _Told(progress, len(sample), began)
        level, thresholds = self.settings.level, self.settings.thresholds
        table = _table_of(baseline, game.rules)
        grown = partial(
            GrowingGame, cached=bool(options["cache"]), again=options["again"], told=told
        )
        if red := coarse.red_by_answers(answers, baseline, thresholds, level):
            if table is None:
                return None
            lost = set(coarse.driving(red))
            some = [at for at, digest in enumerate(sample.digests) if digest in lost]
            growing = grown(_game(model, sample.take(some), sample, options, baseline))
            self.last, self.baseline = "answers", coarse.along_arcs(table)
            return _profile(growing, growing.along_arcs(), fingerprint, began)
        if table is None or set(sample.digests) - set(table.digests):
            return None
        growing = grown(game)
        if coarse.same_answers(answers, baseline) and not (growing.kept and growing.kept.complete):
            ends = growing.ends()
            if coarse.tables_agree(growing, table):
                self.last = "unchanged"
                return _as_before(growing, ends, table, fingerprint, began)
        candidate = _profile(growing, growing.along_arcs(), fingerprint, began)
        arcs = coarse.along_arcs(table)
        early = coarse.compare_early(replace(candidate, answers=answers), arcs, thresholds, level)
        any_change = self.settings.fail_on == "any-change"
        if coarse.decided(early) and not (any_change and early.verdict != "drift"):
            self.last, self.baseline = "arcs", arcs
            return candidate
        rows = growing.everything()
        if kept is not None:
            kept.keep(range(len(sample)), rows)
        return profile_of(rows, game, fingerprint, kept=growing.kept, began=began)

    def compared(self, candidate: SpectralProfile, baseline: Measurement) -> Comparison:
        """The comparison of what ``measured`` returned, or of a baseline with itself."""
        thresholds, level = self.settings.thresholds, self.settings.level
        if candidate is baseline or self.baseline is None or self.last == "everything":
            return compare(candidate, baseline, thresholds, level=level)
        if self.last == "answers":
            return coarse.compare_red(candidate, self.baseline, thresholds, level)
        if self.last == "unchanged":
            return compare(candidate, baseline, thresholds, level=level)
        assert isinstance(self.baseline, SpectralProfile)
        return coarse.compare_early(candidate, self.baseline, thresholds, level)


def _game(
    model: Any,
    sample: ReferenceSample,
    whole: ReferenceSample,
    options: Mapping[str, Any],
    baseline: Measurement,
) -> Game:
    return Game(
        as_classifier(model),
        Rules.of(options),
        options["execution"],
        on_labels_of(sample, baseline),
        whole,
        options.get("temperature", 1.0),
    )


def _table_of(baseline: Measurement, rules: Rules) -> SpectralProfile | None:
    """The baseline where it holds the coalitions of an exact game, and of one training."""
    if not isinstance(baseline, SpectralProfile) or rules.design != "exact":
        return None
    return None if baseline.trainings or baseline.log_likelihood is None else baseline


def _profile(
    growing: GrowingGame, rows: GameRows, fingerprint: str | None, began: float
) -> SpectralProfile:
    return profile_of(rows, growing.latin, fingerprint, kept=growing.kept, began=began)


def _as_before(
    growing: GrowingGame,
    ends: GameRows,
    baseline: SpectralProfile,
    fingerprint: str | None,
    began: float,
) -> SpectralProfile:
    """The candidate's profile where all that was played is the baseline's: with its numbers."""
    place = {digest: row for row, digest in enumerate(baseline.digests)}
    before = baseline.take([place[digest] for digest in growing.game.sample.digests])
    assert before.log_likelihood is not None
    rows = replace(
        ends, image_psi=before.values, by_size=before.by_size, log_likelihood=before.log_likelihood
    )
    found = profile_of(rows, growing.game, fingerprint, began=began)
    note = (
        f"unchanged: every image is answered as by the baseline, and under "
        f"{ends.log_likelihood.shape[1]} of {before.log_likelihood.shape[1]} coalitions of its "
        "bands, to the last digits; the others were not played"
    )
    return replace(found, notes=(note, *found.notes))


@dataclass(eq=False)
class _Told:
    """Passes so far, told as images: of each so many are done as of all passes."""

    progress: Callable[[Progress], None] | None
    images: int
    began: float

    def __call__(self, passes: int) -> None:
        if self.progress is not None:
            seconds = time.perf_counter() - self.began
            self.progress(Progress(0, self.images, passes, seconds))

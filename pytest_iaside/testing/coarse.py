"""How much of the game a spectral gate plays: coarse to fine, until it is decided (SPEC.md 13)."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, Literal, get_args

from pytest_iaside.compare import coarse
from pytest_iaside.compare.compare import compare
from pytest_iaside.compare.comparison import Comparison
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.images.selection import on_labels_of
from pytest_iaside.measure.game.cached import CachedGame
from pytest_iaside.measure.game.growing import GrowingGame, Turn, arcs_of, ends_of
from pytest_iaside.measure.game.play import Game
from pytest_iaside.measure.game.rows import GameRows
from pytest_iaside.measure.game.rules import Rules
from pytest_iaside.measure.measurement import Measurement
from pytest_iaside.measure.profile import SpectralProfile
from pytest_iaside.measure.spectral import Progress, profile_of
from pytest_iaside.models.classifier import as_classifier
from pytest_iaside.settings import BUDGETS, Settings, seconds_of
from pytest_iaside.testing.drawn import in_drawing_order

Look = Literal["answers", "unchanged", "early", "budget", "everything"]
TURNS: tuple[Turn, ...] = get_args(Turn)
FEWEST = 8
"""Images that are looked at, however small the budget."""


@dataclass(eq=False)
class CoarseToFine:
    """One gate's candidate, looked at more and more closely until it is decided.

    ``last`` is the look that decided, and ``baseline`` what its candidate is held against; ``left``
    says what the budget left out.
    """

    settings: Settings
    last: Look = "everything"
    baseline: Measurement | None = None
    left: str = ""
    some: bool = False
    """Whether the budget left out images."""
    why: str = ""
    """Why there is nothing to look at coarsely; empty where there is."""

    def measured(
        self,
        model: Any,
        whole: ReferenceSample,
        sample: ReferenceSample,
        baseline: Measurement,
        answers: Measurement,
        options: Mapping[str, Any],
        progress: Callable[[Progress], None] | None,
    ) -> SpectralProfile | None:
        """What decides of ``model``; None where the whole game is to be played, or is kept.

        ``sample`` are the images of ``whole`` that are measured, with ``answers`` to all of whole.
        """
        self.last, self.baseline, self.left, self.why = "everything", baseline, "", ""
        self.some = False
        look = _Looking(model, whole, sample, baseline, answers, options, progress)
        if look.kept is not None and look.kept.complete:
            return None
        thresholds, level = self.settings.thresholds, self.settings.level
        table = look.table
        if table is None:
            self.why = look.why_no_table
            return None
        red = coarse.red_by_answers(answers, baseline, thresholds, level)
        if red and (moved := look.first_of(coarse.driving(red), table)):
            growing = look.grown(sample.take(moved))
            # For as many passes one order of more images sees more than arcs of fewer.
            self.last, self.baseline = "answers", coarse.along(TURNS[0], table)
            return look.along(TURNS[0], growing)
        if set(sample.digests) - set(table.digests):
            self.why = "the baseline lacks some of the images"
            return None
        budget = self.settings.budget
        if look.kept is not None and look.kept.begun and budget in BUDGETS:
            return None  # An interrupted run had come to everything, and goes on there.
        growing = look.grown(sample)
        # Any change at all may hide where nobody has looked.
        any_change = self.settings.fail_on == "any-change"
        arcs_known = growing.complete("latin")
        if (
            not (any_change or arcs_known or growing.complete("antithetic"))
            and growing.ends_save
            and look.same_answers
            and look.affords(budget, growing.cost(ends_of(growing.bands)))
        ):
            ends = growing.ends()
            if coarse.tables_agree(growing, table):
                self.last = "unchanged"
                return look.as_before(growing, ends, table)
        if (some := self._some(look, table, growing)) is not None:
            rows = [table.digests.index(digest) for digest in some.digests]
            self.last, self.baseline = "budget", coarse.along("latin", table.take(rows))
            self.left = f"{len(sample) - len(some)} of {len(sample)} images"
            found = look.along("latin", look.grown(some))
            return replace(found, forward_passes=found.forward_passes + growing.passes)
        if growing.saves or not look.affords(budget, growing.cost(2**growing.bands)):
            for design in TURNS[arcs_known:]:
                candidate, before = look.along(design, growing), coarse.along(design, table)
                if self._decided(replace(candidate, answers=answers), before):
                    self.last, self.baseline = "early", before
                    return candidate
            rest = growing.cost(2**growing.bands)
            if not look.affords(budget, rest):
                self.last, self.baseline = "budget", before
                self.left = f"{rest:,} forward passes for the rest of all coalitions"
                return candidate
        return look.everything(growing)

    def compared(self, candidate: SpectralProfile, baseline: Measurement) -> Comparison:
        """The comparison of what ``measured`` returned, or of a baseline with itself."""
        thresholds, level = self.settings.thresholds, self.settings.level
        against = self.baseline
        if candidate is baseline or against is None or self.last in ("unchanged", "everything"):
            return compare(candidate, baseline, thresholds, level=level)
        if self.last == "answers":
            return coarse.compare_red(candidate, against, thresholds, level)
        if self.last == "budget":
            told = f"the budget of {self.settings.budget} leaves out {self.left}"
            found = compare(candidate, against, thresholds, level=level)
            return coarse.cut_short(found, told, some=self.some)
        assert isinstance(against, SpectralProfile)
        return coarse.compare_early(candidate, against, thresholds, level)

    def _decided(self, candidate: SpectralProfile, baseline: SpectralProfile) -> bool:
        thresholds, level = self.settings.thresholds, self.settings.level
        early = coarse.compare_early(candidate, baseline, thresholds, level)
        if self.settings.fail_on == "any-change" and early.verdict != "drift":
            return False
        usual = partial(compare, candidate, baseline, thresholds, level=level)
        return coarse.decided(early, usual)

    def _some(
        self, look: _Looking, table: SpectralProfile, growing: GrowingGame
    ) -> ReferenceSample | None:
        """The images that the budget allows to play along arcs; None where these are all.

        The first in drawing order, and of groups at least one.
        """
        arcs = arcs_of(growing.bands)
        if look.affords(self.settings.budget, growing.cost(arcs)):
            return None
        each = arcs + (growing.clean is None)
        count = max(FEWEST, look.affordable(self.settings.budget) // each)
        drawn, _, ends = in_drawing_order(look.sample, table, look.options.get("seed", 0))
        if ends is not None:
            count = max((end for end in ends if end <= count), default=ends[0])
        self.some = count < len(look.sample)
        return drawn.take(range(count)) if self.some else None


@dataclass(eq=False)
class _Looking:
    """A model, what is asked of it, and what that took so far."""

    model: Any
    whole: ReferenceSample
    sample: ReferenceSample
    baseline: Measurement
    answers: Measurement
    options: Mapping[str, Any]
    progress: Callable[[Progress], None] | None

    def __post_init__(self) -> None:
        self.began = time.perf_counter()
        self.exact = self._game(self.sample)
        self.kept = CachedGame.of(self.exact) if self.options["cache"] else None

    @cached_property
    def fingerprint(self) -> str | None:
        return self.exact.classifier.fingerprint()

    @property
    def table(self) -> SpectralProfile | None:
        """The baseline where it holds the coalitions of an exact game, and of one training."""
        baseline = self.baseline
        if not isinstance(baseline, SpectralProfile) or self.exact.rules.design != "exact":
            return None
        return None if baseline.trainings or baseline.log_likelihood is None else baseline

    @property
    def same_answers(self) -> bool:
        """Whether every image is answered as by the baseline, with the same confidence."""
        return coarse.same_answers(self.answers, self.baseline) and self.exact.temperature == 1.0

    @property
    def why_no_table(self) -> str:
        """Why ``table`` is None, in words."""
        if self.baseline.trainings:
            return "the baseline is of several trainings"
        design = self.exact.rules.design
        if design != "exact":
            return f"the design is {design!r}"
        return "the baseline keeps no table of its coalitions"

    def first_of(self, digests: Sequence[str], table: SpectralProfile) -> list[int]:
        """Which images of the sample are the first that ``digests`` name and the baseline has.

        Of exact copies one.
        """
        place = {each: i for i, each in reversed(list(enumerate(self.sample.digests)))}
        there = set(place) & set(table.digests)
        count = coarse.looked_into(len(place))
        wanted = [each for each in digests if each in there][:count]
        return sorted(place[each] for each in wanted)

    def grown(self, sample: ReferenceSample) -> GrowingGame:
        """A game of ``sample`` of which nothing is known yet."""
        self._before, self._run = self._before + self._run, 0
        return GrowingGame(
            self._game(sample),
            cached=bool(self.options["cache"]),
            again=self.options["again"],
            told=self._tell,
        )

    def along(self, design: Turn, growing: GrowingGame) -> SpectralProfile:
        rows, game, kept = growing.along(design), growing.read_by(design), growing.told_of(design)
        return profile_of(rows, game, self.fingerprint, kept=kept, began=self.began)

    def as_before(
        self, growing: GrowingGame, ends: GameRows, table: SpectralProfile
    ) -> SpectralProfile:
        """The candidate's profile where all that was played is the baseline's: its numbers."""
        place = {digest: row for row, digest in enumerate(table.digests)}
        before = table.take([place[digest] for digest in self.sample.digests])
        assert before.log_likelihood is not None
        rows = replace(
            ends,
            image_psi=before.values,
            by_size=before.by_size,
            log_likelihood=before.log_likelihood,
        )
        kept = growing.told_of("ends")
        found = profile_of(rows, growing.game, self.fingerprint, kept=kept, began=self.began)
        note = (
            f"unchanged: every image is answered as by the baseline, and under "
            f"{ends.log_likelihood.shape[1]} of {before.log_likelihood.shape[1]} coalitions of its "
            "bands, to the last digits; the others were not played"
        )
        return replace(found, notes=(note, *found.notes))

    def everything(self, growing: GrowingGame) -> SpectralProfile:
        rows = growing.everything(self.kept)
        kept = growing.told_of("latin")
        return profile_of(rows, self.exact, self.fingerprint, kept=kept, began=self.began)

    def affords(self, budget: int | str, passes: int) -> bool:
        """Whether so many ``passes`` more are within ``budget``."""
        return budget in BUDGETS or passes <= self.affordable(budget)

    def affordable(self, budget: int | str) -> int:
        """How many passes more ``budget`` allows, one that ends somewhere."""
        run = self.answers.forward_passes - self.answers.passes_from_cache
        run += self.answers.passes_replayed + self._before + self._run
        seconds = seconds_of(budget)
        if seconds is None:
            return int(budget) - run
        spent = self.answers.seconds + time.perf_counter() - self.began
        return int(min((seconds - spent) * run / max(spent, 1e-9), sys.maxsize))

    _before: int = 0
    _run: int = 0
    """Passes of the games before this one, and of it."""

    def _tell(self, done: int, images: int, passes: int) -> None:
        """How far a turn is; the next begins anew."""
        self._run = passes
        if self.progress is not None:
            passes += self._before
            self.progress(Progress(done, images, passes, time.perf_counter() - self.began))

    def _game(self, sample: ReferenceSample) -> Game:
        return Game(
            as_classifier(self.model),
            Rules.of(self.options),
            self.options["execution"],
            on_labels_of(sample, self.baseline),
            self.whole,
            self.options.get("temperature", 1.0),
        )

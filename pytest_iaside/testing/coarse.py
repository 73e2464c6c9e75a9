"""How much of the game a spectral gate plays: coarse to fine, until it is decided (SPEC.md 13)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, get_args

from pytest_iaside.compare import coarse
from pytest_iaside.compare.compare import compare
from pytest_iaside.compare.comparison import Comparison
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.images.selection import on_labels_of
from pytest_iaside.measure.game.cached import CachedGame
from pytest_iaside.measure.game.growing import GrowingGame, Turn, arcs_of
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
        self.last, self.baseline, self.left = "everything", baseline, ""
        look = _Looking(model, whole, sample, baseline, answers, options, progress)
        if look.kept is not None and look.kept.complete:
            return None
        thresholds, level = self.settings.thresholds, self.settings.level
        table = look.table
        if table is None:
            return None
        if red := coarse.red_by_answers(answers, baseline, thresholds, level):
            growing = look.grown(look.first_of(coarse.driving(red), table))
            self.last, self.baseline = "answers", coarse.along("latin", table)
            return look.along("latin", growing)
        if set(sample.digests) - set(table.digests):
            return None
        if (count := self._images(look)) < len(sample):
            return self._of_some(look, table, count)
        growing = look.grown(sample)
        same = coarse.same_answers(answers, baseline) and look.exact.temperature == 1.0
        known = growing.complete("latin")
        if same and not known and not growing.complete("antithetic"):
            ends = growing.ends()
            if coarse.tables_agree(growing, table):
                self.last = "unchanged"
                return look.as_before(growing, ends, table)
        for design in TURNS[known:] if growing.saves else ():
            candidate, before = look.along(design, growing), coarse.along(design, table)
            if self._decided(replace(candidate, answers=answers), before):
                self.last, self.baseline = "early", before
                return candidate
        rest = len(sample) * growing.left
        if growing.saves and not look.affords(self.settings.budget, rest):
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
            return coarse.cut_short(found, told, some=len(candidate) < len(against))
        assert isinstance(against, SpectralProfile)
        return coarse.compare_early(candidate, against, thresholds, level)

    def _decided(self, candidate: SpectralProfile, baseline: SpectralProfile) -> bool:
        thresholds, level = self.settings.thresholds, self.settings.level
        early = coarse.compare_early(candidate, baseline, thresholds, level)
        if self.settings.fail_on == "any-change" and early.verdict != "drift":
            return False
        return coarse.decided(early, candidate, baseline, thresholds, level)

    def _images(self, look: _Looking) -> int:
        """How many images the budget allows to play along arcs; all of them without one."""
        each, count = arcs_of(look.exact.rules.bands) + 1, len(look.sample)
        if look.affords(self.settings.budget, each * count):
            return count
        return max(FEWEST, look.affordable(self.settings.budget) // each)

    def _of_some(self, look: _Looking, table: SpectralProfile, count: int) -> SpectralProfile:
        """The first ``count`` images in drawing order, of groups at least one."""
        seed = look.options.get("seed", 0)
        drawn, _, ends = in_drawing_order(look.sample, table, seed)
        if ends is not None:
            count = max((end for end in ends if end <= count), default=ends[0])
        growing = look.grown(drawn.take(range(count)))
        self.last, self.baseline = "budget", coarse.along("latin", table)
        self.left = f"{len(look.sample) - count} of {len(look.sample)} images"
        return look.along("latin", growing)


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

    def first_of(self, digests: Sequence[str], table: SpectralProfile) -> ReferenceSample:
        """The first images of the sample that ``digests`` name and the baseline has."""
        there = set(self.sample.digests) & set(table.digests)
        count = coarse.looked_into(len(self.sample))
        wanted = set([each for each in digests if each in there][:count])
        return self.sample.take([i for i, each in enumerate(self.sample.digests) if each in wanted])

    def grown(self, sample: ReferenceSample) -> GrowingGame:
        return GrowingGame(
            self._game(sample),
            cached=bool(self.options["cache"]),
            again=self.options["again"],
            told=self._tell,
        )

    def along(self, design: Turn, growing: GrowingGame) -> SpectralProfile:
        rows, game = growing.along(design), growing.read_by(design)
        kept = growing.told_of(design)
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
        found = profile_of(rows, growing.game, self.fingerprint, began=self.began)
        note = (
            f"unchanged: every image is answered as by the baseline, and under "
            f"{ends.log_likelihood.shape[1]} of {before.log_likelihood.shape[1]} coalitions of its "
            "bands, to the last digits; the others were not played"
        )
        return replace(found, notes=(note, *found.notes))

    def everything(self, growing: GrowingGame) -> SpectralProfile:
        rows = growing.everything()
        if self.kept is not None:
            self.kept.keep(range(len(self.sample)), rows)
        return profile_of(
            rows, self.exact, self.fingerprint, kept=growing.told_of("latin"), began=self.began
        )

    def affords(self, budget: int | str, passes: int) -> bool:
        """Whether so many ``passes`` more are within ``budget``."""
        return budget in BUDGETS or passes <= self.affordable(budget)

    def affordable(self, budget: int | str) -> int:
        """How many passes more ``budget`` allows, one that ends somewhere."""
        run = self.answers.forward_passes - self.answers.passes_from_cache
        run += self.answers.passes_replayed + self._run
        seconds = seconds_of(budget)
        if seconds is None:
            return int(budget) - run
        spent = self.answers.seconds + time.perf_counter() - self.began
        return int((seconds - spent) * run / max(spent, 1e-9))

    _run: int = 0

    def _tell(self, done: int, images: int, passes: int) -> None:
        """How far a turn is; the next begins anew."""
        self._run = passes
        if self.progress is not None:
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

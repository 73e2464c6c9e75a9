"""A game that is played a few coalitions at a time, as far as it takes to decide (SPEC.md 13).

A table of all coalitions of every image is filled in turns: those along one order of bands and its
reverse first, then along all arcs of the circle that it is, which both give every band's ψ without
bias, then all others, which give it exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pytest_iaside.execute.jobs import AT_A_TIME
from pytest_iaside.execute.running import run_jobs
from pytest_iaside.measure.game.cached import CachedGame
from pytest_iaside.measure.game.coalitions import columns_of, exact_coalitions, plan
from pytest_iaside.measure.game.parts import Coalitions
from pytest_iaside.measure.game.play import Game, key_of, plans_of
from pytest_iaside.measure.game.replay import Again, answered
from pytest_iaside.measure.game.rows import PASSES, GameRows, join
from pytest_iaside.measure.game.rules import Rules
from pytest_iaside.measure.game.shapley import mean_by_size, plan_weights, shapley_weights
from pytest_iaside.stats.arrays import Floats, random_by

BETWEEN = 2
"""Coalitions of each image that are looked at together with the ends."""
Turn = Literal["antithetic", "latin"]
"""Designs in the order in which they are played: each plays what the one before did, and more."""
Found = Callable[[slice, GameRows], None]
"""Gets what is known of some images once it is."""


@dataclass(eq=False)
class GrowingGame:
    """What is known of the game of K images: ``table`` (K, 2^M) float64, NaN where not played.

    ``game`` is an exact one; ``told`` hears of how many images of a turn something was found, and
    how many passes were run in all. With ``cached`` what designs found before is taken from the
    disk, and kept there. Images that were answered ``again``, if all were, are not run as they are
    once more.
    """

    game: Game
    cached: bool = False
    again: Again = field(default_factory=dict)
    told: Callable[[int, int, int], None] = lambda done, images, passes: None
    table: Floats = field(init=False)
    clean: Tensor | None = field(init=False)
    """Logits (K, classes) of the images as they are, where they were known before."""
    kept: dict[Turn | Literal["ends"], CachedGame] = field(init=False, default_factory=dict)
    """What the cache keeps of the game by each design, and of its ends."""
    rows: list[GameRows] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        shape = (len(self.game.sample), 2**self.game.rules.bands)
        self.table = np.full(shape, np.nan)
        self.clean = answered(self.again, self.game.sample.digests)
        if self.cached:
            for design in get_args(Turn):
                self.kept[design] = CachedGame.of(self.read_by(design), self.again)
            if self.ends_save:
                self.kept["ends"] = CachedGame.of(self.game, self.again, self._ends)

    def complete(self, design: Turn) -> bool:
        """Whether the cache keeps all that ``design`` plays."""
        return design in self.kept and self.kept[design].complete

    def told_of(self, design: Turn | Literal["ends"]) -> CachedGame | None:
        """What to tell of the cache: that it was wrong, or how much of ``design`` it was asked."""
        wrong = [each for each in self.kept.values() if each.note]
        return wrong[0] if wrong else self.kept.get(design)

    def read_by(self, design: Turn) -> Game:
        """The game whose coalitions ``design`` alone plays."""
        return replace(self.game, rules=read_by(design, self.game.rules))

    @property
    def bands(self) -> int:
        return self.game.rules.bands

    @property
    def ends_save(self) -> bool:
        """Whether ends are fewer than all coalitions, from 4 bands on."""
        return ends_of(self.bands) < int(2**self.bands)

    @property
    def saves(self) -> bool:
        """Whether arcs are at most half of all coalitions, from 6 bands on."""
        return 2 * arcs_of(self.bands) <= int(2**self.bands)

    def cost(self, coalitions: int) -> int:
        """Forward passes until so many coalitions of each image are known, and it as it is.

        Those that are known are among them.
        """
        known = int((~np.isnan(self.table[:1])).sum())
        return len(self) * (coalitions - known + (known == 0 and self.clean is None))

    @property
    def passes(self) -> int:
        """Forward passes that were run."""
        return sum(each.forward_passes - each.from_cache for each in self.rows)

    def ends(self) -> GameRows:
        """Play the coalitions of no band, one, all but one and all; ψ are left open.

        And two more of each image, so that not all between are unseen: 2·M + 4.

        Raises ModelError as ``run_jobs`` and ``play_rounds`` do. Nobody is asked whether the
        answers are steady: that is for who asked for the clean ones.
        """
        keeper = self.kept.get("ends")
        if keeper is not None and keeper.complete:
            kept = [each for each in keeper.rows() if each is not None]
            if kept:  # None where what was kept is not of this model.
                self.rows.append(join(kept))
                np.put_along_axis(self.table, self._ends, self.rows[-1].log_likelihood, axis=1)
                return self.rows[-1]

        def keep(some: slice, rows: GameRows) -> None:
            if keeper is not None:
                keeper.keep(range(some.start, some.stop), rows)

        return self._fill(self._ends, keep)

    @cached_property
    def _ends(self) -> NDArray[np.int64]:
        return ends_along(self.game.rules, self.game.sample.digests)

    def along(self, design: Turn) -> GameRows:
        """Play the coalitions of ``design``; ψ of every band without bias. Raises as ``ends``.

        ``antithetic`` are 2·M of ``latin``, the arcs of a circle.
        """
        game = self.read_by(design)
        plans = plans_of(game.sample, game.rules)
        columns = np.stack([columns_of(each.coalitions) for each in plans])
        keeper = self.kept.get(design)
        nothing: list[GameRows | None] = [None] * len(self)
        kept = nothing if keeper is None or self.rows else keeper.rows()
        missing = [image for image, rows in enumerate(kept) if rows is None]
        if len(missing) == len(self):
            found = self._fill(columns, self._read_and_keep(keeper, game.rules))
            return self._read(found, slice(None), game.rules)
        if missing:
            # What an interrupted run left is played as a game of its own.
            sample = self.game.sample.take(missing)
            rest = GrowingGame(replace(self.game, sample=sample), again=self.again, told=self.told)
            if keeper is not None:
                rest.kept[design] = CachedGame.of(rest.read_by(design))
            for image, rows in zip(missing, rest.along(design).each(), strict=True):
                kept[image] = rows
        found = join([each for each in kept if each is not None])
        self.rows.append(found)
        np.put_along_axis(self.table, columns, found.log_likelihood, axis=1)
        return found

    def everything(self, kept: CachedGame | None = None) -> GameRows:
        """Play all coalitions; ψ of every band exactly. Raises as ``ends``.

        What is found of an image goes to ``kept`` at once.
        """
        columns = np.tile(np.arange(2**self.bands), (len(self), 1))
        found = self._fill(columns, self._read_and_keep(kept, self.game.rules))
        return self._read(found, slice(None), self.game.rules)

    def _read(self, rows: GameRows, some: slice, rules: Rules) -> GameRows:
        """``rows`` of ``some`` images with the ψ and means that ``rules`` read off the table."""
        table = self.table[some]
        if rules.design == "exact":
            size = exact_coalitions(self.bands).sum(axis=1)
            psi = (table - table[:, :1]) @ shapley_weights(self.bands)
            means = [table[:, size == s].mean(axis=1) for s in range(self.bands + 1)]
            return replace(rows, image_psi=psi, by_size=np.stack(means, axis=1))
        psi, by_size = read_off(table, rules, self.game.sample.digests[some])
        return replace(rows, image_psi=psi, by_size=by_size)

    def _read_and_keep(self, kept: CachedGame | None, rules: Rules) -> Found:
        """What keeps the rows of some images as soon as they are found."""

        def keep(some: slice, rows: GameRows) -> None:
            if kept is not None:
                kept.keep(range(some.start, some.stop), self._read(rows, some, rules))

        return keep

    def __len__(self) -> int:
        return len(self.table)

    def _fill(self, columns: NDArray[np.int64], found: Found = lambda some, rows: None) -> GameRows:
        """Play those of ``columns`` (K, S) that were not yet; what is known of all of them then.

        Of each image as many are known. ``found`` gets the same of some images, as they are done.
        """
        unknown = np.isnan(np.take_along_axis(self.table, columns, axis=1))
        if unknown.any():
            before = {name: sum(getattr(each, name) for each in self.rows) for name in PASSES}
            new = columns[unknown].reshape(len(self), -1)
            clean = self.rows[-1].log_probabilities if self.rows else None
            done, every = 0, []
            for rows in self._played(new, clean):
                some = slice(done, done + len(rows))
                done = some.stop
                every.append(rows)
                np.put_along_axis(self.table[some], new[some], rows.log_likelihood, axis=1)
                known = np.take_along_axis(self.table[some], columns[some], axis=1)
                # Of each image as many were played before.
                passes = {
                    name: getattr(rows, name) + count * len(rows) // len(self)
                    for name, count in before.items()
                }
                found(some, replace(rows, log_likelihood=known, **passes))
            self.rows.append(join(every))
        passes = {name: sum(getattr(each, name) for each in self.rows) for name in PASSES}
        known = np.take_along_axis(self.table, columns, axis=1)
        return replace(self.rows[-1], log_likelihood=known, **passes)

    def _played(
        self, columns: NDArray[np.int64], log_probabilities: Floats | None = None
    ) -> Iterator[GameRows]:
        """The coalitions ``columns`` (K, S) of each image, some at a time; ψ are left open.

        ``log_probabilities`` (K, classes) of the images as they are, if they are known.
        """
        done, run = 0, self.passes
        parts = self._parts(columns, log_probabilities)
        for rows in run_jobs(self.game.classifier, self.game.execution, parts, steady=True):
            yield rows
            done += len(rows)
            run += rows.forward_passes
            self.told(done, len(self), run)

    def _parts(
        self, columns: NDArray[np.int64], log_probabilities: Floats | None
    ) -> Iterator[Coalitions]:
        coalitions = exact_coalitions(self.game.rules.bands)[columns]
        clean = self.clean
        if log_probabilities is not None:
            # Their logits up to a constant, which changes nothing.
            clean = torch.from_numpy(log_probabilities * self.game.temperature)
        passes = columns.size + (len(columns) if clean is None else 0)
        done = 0
        for shard in self.game.shards(AT_A_TIME, range(len(columns))):
            some = slice(done, done + len(shard.sample))
            done = some.stop
            known = None if clean is None else clean[some]
            yield Coalitions(replace(shard, passes=passes), list(coalitions[some]), known)


def arcs_of(bands: int) -> int:
    """How many coalitions lie along the arcs of a circle of so many bands; none and all, too."""
    return bands * (bands - 1) + 2


def ends_of(bands: int) -> int:
    """How many coalitions are ends, with those drawn between, from 4 bands on."""
    return 2 * bands + 2 + BETWEEN


def ends_along(rules: Rules, digests: Sequence[str]) -> NDArray[np.int64]:
    """Which coalitions are ends of each image, and which are drawn between: (K, 2·M + 4).

    The latter lie along the image's own order, so that nothing is played for them alone.
    """
    every, one = 2**rules.bands - 1, 1 << np.arange(rules.bands)
    ends = np.concatenate([[0, every], one, every - one])
    found = []
    for digest in digests:
        key = key_of(rules, digest)
        between = np.setdiff1d(columns_of(plan("antithetic", rules.bands, key).coalitions), ends)
        drawn = random_by(f"between {key}").choice(between, BETWEEN, replace=False)
        found.append(np.concatenate([ends, drawn]))
    return np.array(found)


def read_by(design: Turn, rules: Rules) -> Rules:
    """The rules of an exact game, with what ``design`` alone plays of it."""
    return replace(rules, design=design, ways=2 if design == "latin" else None)


def read_off(table: Floats, rules: Rules, digests: Sequence[str]) -> tuple[Floats, Floats]:
    """ψ (K, M), unbiased, and means by size (K, M+1), of what ``rules`` play, from a table."""
    psi, by_size = [], []
    for row, digest in zip(table, digests, strict=True):
        played = plan(rules.design, rules.bands, key_of(rules, digest))
        values = row[columns_of(played.coalitions)]
        # Relative to the empty coalition first: v(∅) is large against what bands add.
        psi.append((values - row[0]) @ plan_weights(played, ways=rules.ways or 1))
        by_size.append(mean_by_size(played, values))
    return np.array(psi), np.array(by_size)

"""What a classifier is asked of a sample, and what is kept of its answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pytest_iaside.execute.execution import Execution
from pytest_iaside.execute.kept_open import looking_again
from pytest_iaside.execute.runner import pieces
from pytest_iaside.execute.steady import agree
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.images.targets import digests_of, taken
from pytest_iaside.measure.answers import answers
from pytest_iaside.measure.game.cached import CHANGED, forget_model, key_of
from pytest_iaside.measure.game.replay import Again
from pytest_iaside.measure.quantities import ANSWERS
from pytest_iaside.models.backends.base import usual_batch
from pytest_iaside.models.classifier import Classifier
from pytest_iaside.perturb.corruptions import corrupt
from pytest_iaside.stats.arrays import Floats
from pytest_iaside.store.cache import Entry, Found, ResultCache

Corruption = tuple[str, int]
# Bytes of images that are answered again at once.
MOST_AT_ONCE = 2**28
AT_A_TIME = 8  # batches


@dataclass(eq=False)
class Asked:
    """What a classifier is asked of a sample, and what is kept of its answers in the cache."""

    classifier: Classifier
    sample: ReferenceSample
    perturbations: tuple[Corruption | None, ...]
    seed: int
    execution: Execution
    again: Again = field(default_factory=dict)
    """Takes what was answered again of the images as they are."""
    from_cache: int = 0
    """How many of the passes were not run now: what they found had been kept."""
    replayed: int = 0
    note: str = ""

    @property
    def passes(self) -> int:
        return len(self.sample) * len(self.perturbations)

    @cached_property
    def key(self) -> str | None:
        asked = [list(each or ("clean", 0)) for each in self.perturbations]
        facts = {"answers": asked, "seed": self.seed, **self.execution.settings}
        return key_of(self.classifier, self.execution, facts)

    def found(self, cache: bool) -> list[Floats]:
        """Logits (K, C) under each perturbation.

        With ``cache`` what is kept of an image is taken, if what is answered again agrees, and the
        others are kept as soon as they are answered.
        """
        results = ResultCache() if cache else None
        kept: list[Floats | None] = [None] * len(self.sample)
        if results is not None:
            kept = self._kept(results)
        self.from_cache = sum(each is not None for each in kept) * len(self.perturbations)
        missing = [place for place, each in enumerate(kept) if each is None]
        for some in pieces(len(missing), self._at_a_time):
            places = missing[some]
            whole = len(places) == len(self.sample)
            part = self.sample if whole else self.sample.take(places)
            new = answers(
                self.classifier,
                part,
                self.perturbations,
                seed=self.seed,
                execution=self.execution,
                known=some.start > 0,
            )
            self.again.update(zip(part.digests, new[0], strict=True))
            if results is not None:
                self._keep(results, places, new)
            for place, image in enumerate(places):
                kept[image] = np.stack([each[place] for each in new])
        every = np.stack([each for each in kept if each is not None], axis=1)
        return list(every)

    @property
    def _at_a_time(self) -> int:
        """How many images are answered before what was found is kept: some whole batches."""
        _, height, width = self.sample.shape
        return AT_A_TIME * usual_batch(torch.device("cpu"), height, width)

    def _keep(self, cache: ResultCache, images: Sequence[int], found: Sequence[Floats]) -> None:
        if self.key is not None:
            rows = [
                Found({str(at): logits[place] for at, logits in enumerate(found)}, {})
                for place in range(len(images))
            ]
            title = f"{self.classifier.name}, answers under {len(found) - 1} perturbations"
            entries = self._entries()
            chosen = [entries[image] for image in images]
            cache.put(self.key, title, chosen, [ANSWERS] * len(images), rows)

    def _kept(self, cache: ResultCache) -> list[Floats | None]:
        """The logits (P, C) kept of each image; none where what is answered again disagrees."""
        nothing: list[Floats | None] = [None] * len(self.sample)
        if self.key is None:
            return nothing
        rows = cache.get(self.key, self._entries())
        views = [str(at) for at in range(len(self.perturbations))]
        found = [
            np.stack([row.arrays[view] for view in views])
            if row is not None and row.arrays.keys() == set(views)
            else None
            for row in rows
        ]
        known = [image for image, each in enumerate(found) if each is not None]
        if not known:
            return nothing
        differs = self._replay(known, np.stack([each for each in found if each is not None]))
        if not differs:
            return found
        forget_model(cache, self.key)
        self.note = CHANGED.format(differs)
        return nothing

    def _replay(self, images: Sequence[int], found: Floats) -> str:
        """The name of an image that is answered otherwise now; empty where there is none.

        ``found`` (k, P, C) is kept of ``images``. Each is asked as it is, and under one
        perturbation that is drawn anew.
        """
        count = len(images)
        sample = self.sample if count == len(self.sample) else self.sample.take(images)
        views = [np.zeros(count, dtype=int)]
        if len(self.perturbations) > 1:
            drawn = np.random.default_rng().integers(1, len(self.perturbations), size=count)
            views.append(drawn)
        size = max(1, MOST_AT_ONCE // sample.images[0].nbytes)
        task = self.classifier.task
        for start in range(0, count, size):
            places = range(start, min(start + size, count))
            part = sample if len(places) == count else sample.take(places)
            at_once = [view[places.start : places.stop] for view in views]
            every = list(range(len(part))) * len(at_once)
            seen = ReferenceSample(
                torch.cat([self._seen(part, view) for view in at_once]),
                targets=taken(part.right, every) if task.scored else None,
            )
            self.replayed += len(seen)
            with looking_again():
                (new,) = answers(
                    self.classifier, seen, [None], execution=self.execution, known=True
                )
            for place, view in enumerate(np.concatenate(at_once)):
                image = places[place % len(part)]
                now, kept = (
                    task.comparable(row[None]).numpy()
                    for row in map(torch.from_numpy, (new[place], found[image, view]))
                )
                if not agree(now, kept, self.execution.dtype):
                    return sample.names[image]
            self.again.update(zip(part.digests, new[: len(part)], strict=True))
        return ""

    def _seen(self, part: ReferenceSample, view: NDArray[Any]) -> Tensor:
        """The images of ``part``, each under the perturbation that ``view`` (k,) numbers."""
        images = torch.as_tensor(part.images).clone()
        for at, perturbation in enumerate(self.perturbations):
            some = np.flatnonzero(view == at).tolist()
            if perturbation is not None and some:
                images[some] = corrupt(part.images[some], *perturbation, seed=self.seed)
        return images

    def _entries(self) -> list[Entry]:
        labels = [ANSWERS] * len(self.sample)
        if self.classifier.task.scored and self.sample.right is not None:
            # What is kept are scores, which depend on what is right.
            labels = [f"{ANSWERS} {digest}" for digest in digests_of(self.sample.right)]
        return [
            Entry(digest, label) for digest, label in zip(self.sample.digests, labels, strict=True)
        ]

"""What a classifier is asked of a sample, and what is kept of its answers."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pytest_iaside.execute.execution import Execution
from pytest_iaside.execute.steady import agree
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.images.targets import digests_of, taken
from pytest_iaside.measure.answers import answers
from pytest_iaside.measure.game.cached import CHANGED, forget_model, key_of
from pytest_iaside.measure.game.replay import Again
from pytest_iaside.measure.quantities import ANSWERS
from pytest_iaside.models.classifier import Classifier
from pytest_iaside.perturb.corruptions import corrupt
from pytest_iaside.stats.arrays import Floats
from pytest_iaside.store.cache import Entry, Found, ResultCache

Corruption = tuple[str, int]
# Bytes of images that are answered again at once.
MOST_AT_ONCE = 2**28


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

    def run(self) -> list[Floats]:
        """Logits (K, C) under each perturbation."""
        return answers(
            self.classifier,
            self.sample,
            self.perturbations,
            seed=self.seed,
            execution=self.execution,
        )

    def keep(self, found: Sequence[Floats]) -> None:
        """Keep the logits of every image."""
        if self.key is not None:
            count = len(self.sample)
            rows = [
                Found({str(at): logits[image] for at, logits in enumerate(found)}, {})
                for image in range(count)
            ]
            title = f"{self.classifier.name}, answers under {len(found) - 1} perturbations"
            ResultCache().put(self.key, title, self._entries(), [ANSWERS] * count, rows)

    def kept(self) -> list[Floats] | None:
        """The logits kept of all images, if they are, and what is answered again agrees."""
        if self.key is None:
            return None
        cache = ResultCache()
        rows = [row for row in cache.get(self.key, self._entries()) if row is not None]
        if len(rows) < len(self.sample):
            return None
        found = [
            np.stack([row.arrays[str(at)] for row in rows]) for at in range(len(self.perturbations))
        ]
        differs = self._replay(found)
        if not differs:
            return found
        forget_model(cache, self.key)
        self.note = CHANGED.format(differs)
        return None

    def _replay(self, found: Sequence[Floats]) -> str:
        """The name of an image that is answered otherwise now; empty where there is none.

        Each is asked as it is, and under one perturbation that is drawn anew.
        """
        count = len(self.sample)
        views = [np.zeros(count, dtype=int)]
        if len(self.perturbations) > 1:
            drawn = np.random.default_rng().integers(1, len(self.perturbations), size=count)
            views.append(drawn)
        size = max(1, MOST_AT_ONCE // self.sample.images[0].nbytes)
        task = self.classifier.task
        for start in range(0, count, size):
            places = range(start, min(start + size, count))
            part = self.sample if len(places) == count else self.sample.take(places)
            at_once = [view[places.start : places.stop] for view in views]
            every = list(range(len(part))) * len(at_once)
            seen = ReferenceSample(
                torch.cat([self._seen(part, view) for view in at_once]),
                targets=taken(part.right, every) if task.scored else None,
            )
            self.replayed += len(seen)
            (new,) = answers(self.classifier, seen, [None], execution=self.execution, known=True)
            for place, view in enumerate(np.concatenate(at_once)):
                image = places[place % len(part)]
                now, kept = (
                    task.comparable(row[None]).numpy()
                    for row in map(torch.from_numpy, (new[place], found[view][image]))
                )
                if not agree(now, kept, self.execution.dtype):
                    return self.sample.names[image]
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

"""Which rows of the cache belong to a game."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pytest_iaside.execute.execution import Execution
from pytest_iaside.images.targets import digests_of
from pytest_iaside.measure.game.coalitions import exact_coalitions
from pytest_iaside.measure.game.play import Game, partners, plans_of
from pytest_iaside.measure.game.replay import Again, replay
from pytest_iaside.measure.game.rows import ARRAYS, GameRows
from pytest_iaside.models.backends.probe import version_of
from pytest_iaside.models.classifier import Classifier
from pytest_iaside.models.identity import identity
from pytest_iaside.store.cache import Entry, Found, ResultCache, game_key

# What forward passes run on: another version may round otherwise.
LIBRARIES = ("torch", "numpy", "openvino", "onnxruntime")


MODEL = 16
"""Characters of a key that tell the model."""
NO_IDENTITY = (
    "it has no weights that could tell it from another model: say which it is with "
    "Classifier(…, version=…)"
)
CHANGED_MODEL = "the model has the weights of an earlier run but not its answers"
CHANGED = (
    CHANGED_MODEL + " ({} differs), "
    "so all was measured anew: its code, its settings or a file it reads changed, or its "
    "answers change by themselves"
)


def key_of(classifier: Classifier, execution: Execution, facts: Mapping[str, Any]) -> str | None:
    """The key of what ``classifier`` is asked as ``facts`` say; None where it has no identity."""
    model = identity(classifier)
    if model is None:
        return None
    every: dict[str, Any] = {
        **facts,
        "model": model,
        # Asked for by name, a backend is not to be answered for by another.
        "execution": [execution.device, execution.backend],
        "cuda": torch.cuda.is_available(),
        "matrix products": torch.get_float32_matmul_precision(),
        "versions": {name: version_of(name) for name in LIBRARIES},
    }
    return f"{model[:MODEL]}{game_key(every)}"


def forget_model(cache: ResultCache, key: str) -> None:
    """Forget all that is kept of the model of ``key``: where some is stale, all of it may be."""
    cache.forget(key[:MODEL])


@dataclass(eq=False)
class CachedGame:
    """Rows of the cache for one game, by image; none where the model has no identity."""

    game: Game
    cache: ResultCache
    key: str | None
    entries: Sequence[Entry]
    again: Again
    """What of the model was answered again in this run, and need not be once more."""
    ends: NDArray[np.int64] | None = None
    """Which coalitions (K, S) of all are played, where these are not those of the design."""
    replayed: int = 0
    """How many of the passes that are kept were played again."""
    note: str = ""
    """What came of that, for people."""

    @classmethod
    def of(
        cls, game: Game, again: Again | None = None, ends: NDArray[np.int64] | None = None
    ) -> CachedGame:
        """Raises SettingsError where the cache's limit is no number."""
        facts: dict[str, Any] = {"rules": game.rules.as_dict()}
        if ends is not None:
            facts["ends"] = ends.shape[1]
        if game.temperature != 1.0:
            facts["temperature"] = game.temperature
        key = key_of(game.classifier, game.execution, facts)
        return cls(game, ResultCache(), key, _entries(game), again or {}, ends)

    @property
    def why_not(self) -> str:
        """Why nothing is kept; empty where it is."""
        return NO_IDENTITY if self.key is None else self.cache.broken

    @property
    def complete(self) -> bool:
        """Whether something is kept of every image; nothing is played again for that."""
        return self._kept_of(all)

    @property
    def begun(self) -> bool:
        """Whether something is kept of an image; nothing is played again for that."""
        return self._kept_of(any)

    def _kept_of(self, some: Callable[[Iterable[bool]], bool]) -> bool:
        if self.key is None:
            return False
        return some(one is not None for one in self.cache.get(self.key, self.entries))

    def rows(self) -> list[GameRows | None]:
        """What is kept of each image of the sample, once some of it was played again.

        Where that disagrees nothing of the model is kept any longer, and ``note`` says so.
        """
        nothing: list[GameRows | None] = [None] * len(self.entries)
        if self.key is None:
            return nothing
        found = self.cache.get(self.key, self.entries)
        images = [image for image, one in enumerate(found) if one is not None]
        if not images:
            return nothing
        rows = [None if one is None else _rows(one) for one in found]
        kept = [row for row in rows if row is not None]
        self.replayed, differs = replay(self.game, images, kept, self.again, self.coalitions)
        if not differs:
            return rows
        forget_model(self.cache, self.key)
        self.note = CHANGED.format(differs)
        return nothing

    def coalitions(self, images: Sequence[int]) -> list[NDArray[np.bool_]]:
        """What is played (S, M) of each of ``images``."""
        if self.ends is not None:
            return list(exact_coalitions(self.game.rules.bands)[self.ends[list(images)]])
        plans = plans_of(self.game.sample.take(images), self.game.rules)
        return [each.coalitions for each in plans]

    def keep(self, images: Sequence[int], rows: GameRows) -> None:
        """Keep ``rows``, what was found for ``images``."""
        if self.key is None:
            return
        predicted = [""] * len(images)
        if self.game.sample.right is None:
            task = self.game.classifier.task
            found_targets = task.predicted(torch.from_numpy(rows.log_probabilities)).numpy()
            predicted = [_label(each) for each in found_targets]
        entries = [self.entries[i] for i in images]
        found = [_found(row) for row in rows.each()]
        rules = self.game.rules
        played = rules.design if self.ends is None else "ends"
        title = f"{self.game.classifier.name}, {rules.bands} bands, {played}, {rules.absence}"
        self.cache.put(self.key, title, entries, predicted, found)


def _found(row: GameRows) -> Found:
    values = {"forward_passes": row.forward_passes, "environment": row.environment}
    return Found({name: getattr(row, name)[0] for name in ARRAYS}, values)


def _rows(found: Found) -> GameRows:
    arrays: dict[str, Any] = {name: found.arrays[name][None] for name in ARRAYS}
    return GameRows(**arrays, **found.values, from_cache=found.values["forward_passes"])


def _entries(game: Game) -> list[Entry]:
    partner, whole = {}, game.whole
    if game.rules.absence == "replacement":
        drawn = partners(whole, game.rules.seed)
        partner = {digest: f" {whole.digests[i]}" for digest, i in drawn.items()}
    labels: list[str | None] = [None] * len(game.sample)
    if game.sample.labels is not None:
        labels = [_label(label.numpy()) for label in game.sample.labels]
    elif game.sample.targets is not None:
        labels = [f"target {digest}" for digest in digests_of(game.sample.targets)]
    digests = game.sample.digests
    return [
        Entry(digest + partner.get(digest, ""), label)
        for digest, label in zip(digests, labels, strict=True)
    ]


def _label(label: np.ndarray) -> str:
    if label.ndim == 0:
        return str(int(label))
    return f"soft {hashlib.sha256(label.astype('<f8').tobytes()).hexdigest()[:32]}"

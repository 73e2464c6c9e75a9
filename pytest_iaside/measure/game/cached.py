"""Which rows of the cache belong to a game."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import numpy as np
import torch

from pytest_iaside.measure.game.play import Game, partners
from pytest_iaside.measure.game.rows import GameRows
from pytest_iaside.models.identity import identity, why_opaque
from pytest_iaside.store.cache import Entry, Found, ResultCache, game_key

# What forward passes run on: another version may round otherwise.
LIBRARIES = ("openvino", "onnxruntime")
ARRAYS = ("image_psi", "by_size", "log_likelihood", "log_probabilities")


@dataclass(frozen=True, eq=False)
class CachedGame:
    """Rows of the cache for one game, by image; none where the model has no identity."""

    cache: ResultCache
    key: str | None
    title: str
    entries: Sequence[Entry]
    opaque: str
    """Why the model cannot be told from another one; empty where it can."""

    @classmethod
    def of(cls, game: Game) -> CachedGame:
        """Raises SettingsError where the cache's limit is no number."""
        model = identity(game.classifier)
        key = None
        if model is not None:
            facts = {
                "model": model,
                "rules": game.rules.as_dict(),
                # Asked for by name, a backend is not to be answered for by another.
                "execution": [game.execution.device, game.execution.backend],
                "cuda": torch.cuda.is_available(),
                "matrix products": torch.get_float32_matmul_precision(),
                "versions": _versions(),
            }
            key = game_key(facts)
        rules = game.rules
        title = f"{game.classifier.name}, {rules.bands} bands, {rules.design}, {rules.absence}"
        opaque = why_opaque(game.classifier) if model is None else ""
        return cls(ResultCache(), key, title, _entries(game), opaque)

    @property
    def why_not(self) -> str:
        """Why nothing is kept; empty where it is."""
        return self.opaque or self.cache.broken

    def rows(self) -> list[GameRows | None]:
        """What is kept of each image of the sample."""
        if self.key is None:
            return [None] * len(self.entries)
        found = self.cache.get(self.key, self.entries)
        return [None if one is None else _rows(one) for one in found]

    def keep(self, images: Sequence[int], rows: GameRows) -> None:
        """Keep ``rows``, what was found for ``images``."""
        if self.key is None:
            return
        predicted = [str(label) for label in rows.log_probabilities.argmax(axis=1)]
        entries = [self.entries[i] for i in images]
        found = [_found(row) for row in rows.each()]
        self.cache.put(self.key, self.title, entries, predicted, found)


def _found(row: GameRows) -> Found:
    values = {"forward_passes": row.forward_passes, "environment": row.environment}
    return Found({name: getattr(row, name)[0] for name in ARRAYS}, values)


def _rows(found: Found) -> GameRows:
    arrays: dict[str, Any] = {name: found.arrays[name][None] for name in ARRAYS}
    return GameRows(**arrays, **found.values, from_cache=found.values["forward_passes"])


def _entries(game: Game) -> list[Entry]:
    partner, whole = {}, game.whole
    if game.rules.absence == "replacement":
        partner = {digest: f" {whole.digests[i]}" for digest, i in partners(whole).items()}
    labels: list[str | None] = [None] * len(game.sample)
    if game.sample.labels is not None:
        labels = [_label(label.numpy()) for label in game.sample.labels]
    digests = game.sample.digests
    return [
        Entry(digest + partner.get(digest, ""), label)
        for digest, label in zip(digests, labels, strict=True)
    ]


def _label(label: np.ndarray) -> str:
    if label.ndim == 0:
        return str(int(label))
    return f"soft {hashlib.sha256(label.astype('<f8').tobytes()).hexdigest()[:32]}"


def _versions() -> dict[str, str]:
    found = {"torch": str(torch.__version__), "numpy": np.__version__}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "none"
    return found

"""Distributions over bands as points in a plane: t-SNE where scikit-learn is, else PCA."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from pytest_iaside.errors import SettingsError
from pytest_iaside.stats.arrays import Floats

Method = Literal["auto", "tsne", "pca"]
METHODS = get_args(Method)


@dataclass(frozen=True, eq=False, kw_only=True)
class Projection:
    """N points in a plane, (N, 2), and how they came there: for a sentence."""

    points: Floats
    method: Literal["tsne", "pca"]
    how: str
    """Its settings; of PCA what share of the variance is seen."""


def project(
    rows: Floats, *, method: Method = "auto", seed: int = 0, perplexity: float | None = None
) -> Projection:
    """``rows`` (N, M) in a plane, so that near ones stay near.

    ``auto`` takes t-SNE where scikit-learn can be imported. Its ``perplexity``, about how many
    neighbours each point has, is a third of the other points, at most 30, unless it is given.

    Raises SettingsError for a perplexity that N points cannot have, and for t-SNE without
    scikit-learn.
    """
    if method not in METHODS:
        raise SettingsError(f"projection={method!r} is unknown; use {', '.join(METHODS)}")
    if len(rows) < 3:
        raise SettingsError(f"{len(rows)} points need no projection; give at least 3")
    if method == "pca":
        return _principal_components(rows, "")
    manifold, missing = _manifold()
    if manifold is None:
        if method == "tsne":
            raise SettingsError(f"t-SNE needs scikit-learn ({missing}); pip install scikit-learn")
        return _principal_components(rows, "scikit-learn is not installed, so no t-SNE; ")
    return _neighbours(manifold, rows, seed, perplexity)


def _neighbours(manifold: Any, rows: Floats, seed: int, perplexity: float | None) -> Projection:
    chosen = min(30.0, (len(rows) - 1) / 3) if perplexity is None else float(perplexity)
    if not 0 < chosen < len(rows):
        raise SettingsError(
            f"perplexity={chosen:g} must be above 0 and below the number of models, {len(rows)}"
        )
    embedding = manifold.TSNE(
        n_components=2, perplexity=chosen, init="pca", method="exact", random_state=seed
    )
    points = np.asarray(embedding.fit_transform(rows), dtype=np.float64)
    return Projection(
        points=points, method="tsne", how=f"t-SNE, perplexity {chosen:.3g}, seed {seed}"
    )


def _principal_components(rows: Floats, why: str) -> Projection:
    centred = rows - rows.mean(axis=0)
    left, lengths, _ = np.linalg.svd(centred, full_matrices=False)
    points = np.zeros((len(rows), 2))
    width = min(2, len(lengths))
    points[:, :width] = left[:, :width] * lengths[:width]
    # The sign of a component is arbitrary: the largest coordinate is positive.
    largest = points[np.abs(points).argmax(axis=0), [0, 1]]
    points *= np.where(largest < 0, -1.0, 1.0)
    total = float((lengths**2).sum())
    seen = float((lengths[:2] ** 2).sum()) / total if total > 0 else 1.0
    return Projection(
        points=points, method="pca", how=f"{why}PCA, {100 * seen:.0f}% of the variance"
    )


def _manifold() -> tuple[Any, str]:
    try:
        return importlib.import_module("sklearn.manifold"), ""
    except ImportError as error:
        return None, str(error)

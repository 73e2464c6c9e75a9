"""Profiles made by hand, for tests of what is read off them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pytest_iaside.measure.game.rules import Rules
from pytest_iaside.measure.profile import SpectralProfile
from pytest_iaside.measure.provenance import ModelInfo, ReferenceInfo

# EfficientNet-Lite0 on photographs, in nats (SPEC.md's reference values).
TRAINED = np.array([4.75, 1.47, 0.50, 0.20, 0.16, -0.05, -0.30, -0.23])


def make_profile(
    psi=TRAINED,
    *,
    images=40,
    noise=0.3,
    seed=0,
    size=64,
    labels="dataset",
    information=3.0,
    image_psi=None,
    **changes,
):
    """A profile whose mean ψ is exactly ``psi``, with Gaussian noise over images."""
    generator = np.random.default_rng(seed)
    if image_psi is None:
        spread = noise * generator.normal(size=(images, len(psi)))
        image_psi = np.asarray(psi) + spread - (spread.mean(axis=0) if images > 1 else 0)
    images, bands = image_psi.shape
    empty = np.full(images, -6.9)
    steps = np.linspace(0, 1, bands + 1)
    by_size = empty[:, None] + steps * image_psi.sum(axis=1, keepdims=True)
    profile = SpectralProfile(
        values=image_psi,
        by_size=by_size,
        log_likelihood=None,
        information=np.full(images, information) + 0.1 * generator.normal(size=images),
        digests=tuple(f"{i:032x}" for i in range(images)),
        names=tuple(f"image {i}" for i in range(images)),
        labels=np.arange(images) % 10,
        rules=Rules(bands=bands),
        reference=ReferenceInfo(
            digest="f" * 32, images=images, channels=3, height=size, width=size, labels=labels
        ),
        model=ModelInfo(name="net", classes=1000, fingerprint="ab" * 8),
        forward_passes=images * (2**bands + 1),
    )
    return replace(profile, **changes)

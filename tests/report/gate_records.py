"""Records of gates, made from synthetic profiles: no model runs here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pytest_iaside.compare.compare import compare
from pytest_iaside.compare.trend import compare_trend
from pytest_iaside.measure.game.rules import Rules
from pytest_iaside.measure.measurement import Measurement
from pytest_iaside.measure.profile import SpectralProfile
from pytest_iaside.measure.provenance import ModelInfo, ReferenceInfo
from pytest_iaside.measure.quantities import Quantity
from pytest_iaside.report.charts.heat import encoded, heat
from pytest_iaside.report.record import GateRecord
from pytest_iaside.report.recorded import comparison_record, gate_record, measurement_record
from pytest_iaside.thresholds import Limit, Thresholds

PSI = (4.75, 1.47, 0.50, 0.20, 0.16, -0.05, -0.30, -0.23)
META = {"command": "pytest tests", "created": "2026-11-22T10:00:00+00:00", "version": "0.1.0"}


def make_profile(
    psi: Any = PSI,
    *,
    images: int = 60,
    spread: float = 0.6,
    seed: int = 0,
    side: int = 224,
    model: str = "efficientnet-lite0",
    environment: dict[str, str] | None = None,
) -> SpectralProfile:
    """A profile whose ψ scatter around ``psi`` over images; the same seed, the same scatter."""
    psi = np.asarray(psi, dtype=np.float64)
    bands = len(psi)
    image_psi: NDArray[np.float64] = psi + spread * np.random.default_rng(seed).normal(
        size=(images, bands)
    )
    image_psi += psi - image_psi.mean(axis=0)
    empty, full = -7.2, image_psi.sum(axis=1)
    path = np.linspace(0, 1, bands + 1) ** 0.8
    return SpectralProfile(
        values=image_psi,
        by_size=empty + full[:, None] * path,
        log_likelihood=None,
        information=np.full(images, 4.0) + 0.1 * np.arange(images),
        digests=tuple(f"{image:064x}" for image in range(images)),
        names=tuple(f"{image}.jpg" for image in range(images)),
        labels=np.arange(images) % 10,
        rules=Rules(bands=bands),
        reference=ReferenceInfo(
            digest="5d41402abc4b2a76",
            images=images,
            channels=3,
            height=side,
            width=side,
            labels="dataset",
        ),
        model=ModelInfo(name=model, classes=1000, fingerprint="9e107d9d372bb682"),
        forward_passes=images * 2**bands,
        environment=environment or {"torch": "2.14.1", "python": "3.11.7", "backend": "eager"},
        seconds=47.3,
    )


def fallen_band(profile: SpectralProfile, band: int = 5, by: float = 0.18) -> SpectralProfile:
    """The same profile with one band's ψ lower by about ``by`` for every image."""
    drop = np.zeros(profile.rules.bands)
    drop[band] = by
    noise = 0.05 * np.random.default_rng(1).normal(size=profile.image_psi.shape)
    image_psi = profile.image_psi - drop + noise - noise.mean(axis=0)
    by_size = profile.by_size.copy()
    by_size[:, 1:] -= by * np.arange(1, by_size.shape[1]) / (by_size.shape[1] - 1)
    environment = {**profile.environment, "torch": "2.15.0"}
    return replace(profile, values=image_psi, by_size=by_size, environment=environment)


STRICT = Thresholds(max_band_drop=0.01)  # What ``fallen_band`` is beyond.


def make_record(
    candidate: SpectralProfile | None,
    baseline: SpectralProfile | None = None,
    *,
    thresholds: Thresholds = STRICT,
    fail_on: Any = "drift",
    **changes: Any,
) -> GateRecord:
    """A record as a session collects it, but for ``changes``."""
    test = changes.get("test", "tests/test_models.py::test_classifier_keeps_its_robustness")
    comparison = compare(candidate, baseline, thresholds) if candidate and baseline else None
    known: dict[str, Any] = {
        "test": test,
        "kind": "spectral",
        "baseline": "tests/__iaside__/test_models/test_classifier-1a2b3c.yaml",
        "status": "compared" if comparison else "created" if candidate else "refused",
        "failed": comparison.fails(fail_on) if comparison else candidate is None,
        "verdict": comparison.verdict if comparison else None,
        "summary": comparison.summary() if comparison else "baseline created from 60 images",
        "accept": f'pytest "{test}" --iaside-update=changed',
        "reproduce": f'pytest "{test}"',
        "fail_on": fail_on,
        "comparison": comparison_record(comparison) if comparison else None,
        "measurement": measurement_record(candidate) if candidate and not comparison else None,
        "seconds": 52.9,
    }
    return gate_record(**{**known, **changes})


@pytest.fixture(scope="session")
def red() -> GateRecord:
    """A gate that fails: band 5 fell by .18 nats."""
    baseline = make_profile()
    return make_record(fallen_band(baseline), baseline)


@pytest.fixture(scope="session")
def green() -> GateRecord:
    """A gate that passes: nothing but noise between the two."""
    baseline = make_profile()
    candidate = fallen_band(baseline, by=0.0)
    return make_record(candidate, baseline, test="tests/test_models.py::test_other")


@pytest.fixture(scope="session")
def new() -> GateRecord:
    """A gate whose baseline was just created."""
    return make_record(make_profile(), test="tests/test_models.py::test_new")


@pytest.fixture(scope="session")
def refused() -> GateRecord:
    """A gate that compared nothing."""
    return make_record(
        None,
        test="tests/test_models.py::test_refused",
        summary="the baseline was made for something else, so nothing was compared: bands: 8 "
        "here, 6 there. Restore the setting, or make a new baseline",
    )


def make_errors(worse: float = 0.0, *, images: int = 40) -> Measurement:
    """Errors under two perturbations, the second ``worse`` by about so much."""
    random = np.random.default_rng(0)
    errors = random.uniform(0.1, 0.3, size=(images, 2))
    errors[:, 1] += worse * random.uniform(0.8, 1.2, size=images)
    right = (errors < 0.28).astype(np.float64)
    named = [f"{name} 3" for name in ("contrast", "white_noise")]
    profile = make_profile(images=images)
    return Measurement(
        kind="perturbations",
        quantities=(
            *(Quantity(name=f"mPE under {n}", family="mpe", better="lower") for n in named),
            *(
                Quantity(name=f"accuracy under {n}", family="accuracy", better="higher", unit="hit")
                for n in named
            ),
        ),
        values=np.hstack([errors, right]),
        digests=profile.digests,
        names=profile.names,
        labels=profile.labels,
        settings={"perturbations": named, "seed": 0, "temperature": 1.0},
        reference=profile.reference,
        model=profile.model,
        forward_passes=3 * images,
        environment=profile.environment,
        seconds=1.5,
    )


@pytest.fixture(scope="session")
def perturbed() -> GateRecord:
    """A gate on perturbations that fails: the error under noise rose by .1."""
    limits = {"mpe": Limit(change=0.02), "accuracy": Limit(change=0.05, bound=0.1)}
    comparison = compare(make_errors(0.1), make_errors(), limits)
    snr: dict[str, Any] = {"perturbation": "contrast 3", "decibel": [3.0, 10.0, None]}
    return make_record(
        None,
        test="tests/test_models.py::test_perturbed",
        name="perturbations",
        kind="perturbations",
        status="compared",
        failed=comparison.fails("drift"),
        verdict=comparison.verdict,
        summary=comparison.summary(),
        comparison=comparison_record(comparison),
        spectrum={
            "images": 32,
            "frequencies": [0.01, 0.1, 0.5],
            "density": [10.0, 0.1, 0.004],
            "exponent": 2.0,
            "natural": True,
            "snr": [snr, {**snr, "perturbation": "white_noise 3", "decibel": [20.0, 1.0, -9.0]}],
        },
    )


@pytest.fixture(scope="session")
def declined() -> GateRecord:
    """A gate on three checkpoints that fails: the score fell from each to the next."""
    first = make_profile()
    profiles = [first, fallen_band(first, 0, 0.9), fallen_band(first, 0, 1.8)]
    off = dict.fromkeys(("max_sid_shift", "max_band_drop", "max_upper_band_change"))
    limits = Thresholds(**off, max_src_drop=0.02, max_value_drop=0.05)
    comparison = compare_trend(profiles, [10, 20, 40], limits)
    points = [
        {
            "step": step,
            "name": f"epoch-{step}.pt",
            "signed_src": profile.signed_src,
            "low": profile.signed_src - 0.02,
            "high": profile.signed_src + 0.02,
            "value": profile.value,
            "accuracy": 0.9,
            "loss": None,
            "sid": profile.sid.tolist(),
        }
        for step, profile in zip((10, 20, 40), profiles, strict=True)
    ]
    return make_record(
        None,
        test="tests/test_models.py::test_declined",
        kind="trend",
        status="compared",
        failed=comparison.fails("drift"),
        verdict=comparison.verdict,
        summary=comparison.summary(),
        comparison=comparison_record(comparison),
        sections={"trend": {"run": "night", "points": points}},
    )


def level_change(level: int, moved: bool) -> dict[str, Any]:
    change = 0.2 if moved else 0.01
    return {
        "level": level,
        "title": f"details of {level} px",
        "candidate": 0.5 + change,
        "baseline": 0.5,
        "change": change,
        "low": change - 0.1,
        "high": change + 0.1,
    }


@pytest.fixture(scope="session")
def diagnosed(red: GateRecord) -> GateRecord:
    """A gate that fails, and two of its images explained beside the baseline's model."""
    levels = [level_change(0, False), level_change(1, True)]
    image = {
        "name": "3.jpg",
        "label": 3,
        "candidate_probability": 0.1,
        "baseline_probability": 0.9,
        "sentence": "The candidate leans on details of 1–2 px around the top right.",
        "levels": levels,
    }
    drawn = encoded(heat(np.linspace(0, 1, 64).reshape(8, 8)))
    maps = {"wcam": drawn, "spatial": drawn}
    shown = {"image": drawn, "candidate": maps, "baseline": maps}
    return {
        **red,
        "test": "tests/test_models.py::test_diagnosed",
        "sections": {
            "explanation": {
                "why_not": "",
                "level": 0.95,
                "candidate": "new",
                "baseline": "old",
                "grid": 16,
                "forward_passes": 8904,
                "no_lens_because": "",
                "levels": levels,
                "images": [image, {**image, "name": "<4>.jpg"}],
            }
        },
        "section_pictures": {"explanation": [shown, shown]},
    }


@pytest.fixture(scope="session")
def record_of() -> Callable[..., GateRecord]:
    return make_record


@pytest.fixture(scope="session")
def edge_cases() -> dict[str, GateRecord]:
    """Records that hold NaN, infinity, no baseline, many bands, one image."""
    one = make_profile(images=1)
    flat = make_profile([0.0] * 8, spread=0.0)
    noise = make_profile([1e-6, -2e-6, 0, 3e-6, 1e-6, 0, 2e-6, -1e-6], spread=1e-6)
    usual = make_profile()
    wide = make_profile(np.geomspace(3, 0.02, 16), images=30)
    pair = make_profile(images=2)
    cases: tuple[tuple[str, SpectralProfile, SpectralProfile | None, dict[str, Any]], ...] = (
        ("one_image", fallen_band(one), one, {}),
        ("one_image_new", one, None, {}),
        ("two_images", fallen_band(pair), pair, {}),
        ("degenerate", flat, usual, {}),
        ("degenerate_new", flat, None, {}),
        ("unstructured", noise, noise, {}),
        ("sixteen_bands", fallen_band(wide, 9, 0.2), wide, {}),
        ("four_bands", make_profile([2.0, 1.0, 0.2, -0.1], side=16), None, {}),
        (
            "every_limit",
            fallen_band(usual, 0, 0.9),
            usual,
            {"thresholds": Thresholds(min_src=0.46, direction="any"), "fail_on": "any-change"},
        ),
    )
    return {
        name: make_record(candidate, baseline, test=f"tests/test_edge.py::test_{name}", **options)
        for name, candidate, baseline, options in cases
    }

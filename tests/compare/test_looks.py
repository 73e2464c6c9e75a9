"""Which look decides, and what is told of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from profiles import make_profile

from pytest_iaside import Classifier, Execution, ReferenceSample, Thresholds, compare, measure
from pytest_iaside.compare import coarse
from pytest_iaside.compare.check import Check, Verdict
from pytest_iaside.compare.comparison import Comparison
from pytest_iaside.measure.game.growing import GrowingGame
from pytest_iaside.measure.game.play import Game
from pytest_iaside.measure.game.rules import DType, Rules
from pytest_iaside.measure.profile import SpectralProfile

WAVES = torch.stack([torch.cos(2 * torch.pi * k * torch.arange(16) / 16) for k in (1, 3, 7)])
LEVEL = 0.95


def sample(groups: list[str] | None = None, order: list[int] | None = None) -> ReferenceSample:
    labels = torch.arange(24) % 3
    images = 0.5 + 0.2 * WAVES[labels][:, None, None, :].expand(24, 1, 16, 16)
    noise = 0.05 * torch.randn(24, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    rows = list(range(24)) if order is None else order
    return ReferenceSample((images + noise).clamp(0, 1)[rows], labels[rows], groups=groups)


def measured(gain: float, images: ReferenceSample) -> SpectralProfile:
    weights = torch.tensor([2.0, 2.0 * gain, 2.0])
    model = Classifier(lambda batch: (batch.mean(dim=(1, 2)) @ WAVES.T) * weights)
    return measure(model, images, bands=6, panel="auto", execution=Execution(backend="eager"))


def checked(*checks: tuple[str, Verdict, bool], structured: bool = True) -> Comparison:
    """A comparison with ``checks``: name, verdict, and whether no change is left out."""
    profile = make_profile() if structured else make_profile(np.linspace(1.0, 1.05, 8), noise=2.0)
    numbers = dict.fromkeys(("baseline", "candidate", "change", "low", "high", "limit"), 0.0)
    return replace(
        compare(profile, profile),
        checks=tuple(
            Check(name=name, verdict=verdict, changed=changed, **numbers)
            for name, verdict, changed in checks
        ),
    )


@pytest.mark.parametrize(
    ("early", "usual", "decided"),
    [
        (("pass", False), ("pass", False), True),
        (("pass", True), ("pass", True), True),
        (("drift", True), ("drift", True), True),
        (("inconclusive", True), ("inconclusive", True), False),
        # An early interval is wide: it leaves out less than the gate's own.
        (("nothing found", False), ("nothing found", False), True),
        (("nothing found", False), ("pass", False), True),
        (("nothing found", False), ("nothing found", True), False),
        (("nothing found", False), ("inconclusive", True), False),
        (("nothing found", False), ("drift", True), False),
    ],
)
def test_nothing_found_early_is_no_decision_where_something_changed(
    early: tuple[Verdict, bool], usual: tuple[Verdict, bool], decided: bool
) -> None:
    others: tuple[tuple[str, Verdict, bool], ...] = (
        ("structured", "pass", False),
        ("clean accuracy", "inconclusive", True),
    )
    found = checked(("src", *early), *others)
    assert coarse.decided(found, lambda: checked(("src", *usual), *others)) is decided


def test_structure_that_noise_of_arcs_may_hide_is_not_lost() -> None:
    lost: tuple[str, Verdict, bool] = ("structured", "drift", False)
    hidden = checked(lost, ("band", "pass", False), structured=False)
    assert "ψ of no band can be told" in hidden.candidate.unstructured_because
    assert not coarse.decided(hidden, lambda: hidden)
    # What does not depend on which coalitions are played is lost for certain.
    gone = checked(lost, ("band", "pass", False))
    assert coarse.decided(gone, lambda: gone)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(("moved", "same"), [(0.0005, True), (0.01, False), (0.1, False)])
def test_the_last_digits_are_those_of_float32(dtype: DType, moved: float, same: bool) -> None:
    """In bfloat16 backends may differ by a tenth of a nat: by that much a model has changed."""
    images, rules = sample(), Rules(bands=6, dtype=dtype)
    table = np.full((24, 64), -1.0)
    baseline = replace(measured(1.0, images), log_likelihood=table)
    network = Classifier(lambda batch: batch.mean(dim=(1, 2)))
    game = GrowingGame(Game(network, rules, Execution(), images, images))
    game.table = table + moved
    assert coarse.tables_agree(game, baseline) is same


@pytest.mark.parametrize("given", ["candidate", "baseline", "both", "neither"])
def test_of_a_red_gate_all_images_and_groups_that_decided_are_counted(given: str) -> None:
    pairs = [f"group {i // 2}" for i in range(24)]
    candidate = measured(-1.0, sample(pairs if given in ("candidate", "both") else None))
    baseline = measured(1.0, sample(pairs if given in ("baseline", "both") else None))
    some = coarse.along("latin", candidate.take(range(8)))
    found = coarse.compare_red(
        replace(some, answers=candidate.answers),
        coarse.along("latin", baseline),
        Thresholds(),
        LEVEL,
    )
    assert (found.verdict, found.images) == ("drift", 24)
    assert found.groups == (None if given == "neither" else 12)
    assert "the answers to all 24 images decide" in found.notes[0]
    assert "of the 8 images that moved most" in found.notes[0]


def test_exact_copies_are_counted_once_in_a_red_gate() -> None:
    images = sample(order=[*range(12), *range(12)])
    candidate, baseline = measured(-1.0, images), measured(1.0, images)
    some = coarse.along("latin", candidate.take(range(8)))
    found = coarse.compare_red(
        replace(some, answers=candidate.answers),
        coarse.along("latin", baseline),
        Thresholds(),
        LEVEL,
    )
    assert found.images == compare(candidate, baseline).images == 12
    assert "the answers to all 12 images decide" in found.notes[0]


def test_answers_keep_their_level_in_an_early_look() -> None:
    candidate, baseline = measured(0.9, sample()), measured(1.0, sample())
    usual = compare(candidate, baseline, Thresholds(max_effective_drop=None), level=LEVEL)
    some = coarse.along("latin", candidate), coarse.along("latin", baseline)
    early = coarse.compare_early(*some, Thresholds(max_effective_drop=None), LEVEL)
    assert (early.level, early.answers_level) == (pytest.approx(0.999), LEVEL)
    assert (usual.level, usual.answers_level) == (LEVEL, LEVEL)
    for name in ("answers", "effective"):
        both = zip(getattr(early, name), getattr(usual, name), strict=True)
        assert all((one.low, one.high) == (other.low, other.high) for one, other in both)
    told = [note for one in (early, usual) for note in one.notes if "CI" in note]
    assert len(set(told)) == len(told) // 2


def test_what_lies_between_the_ends_is_looked_at_on_every_image() -> None:
    """Where all middle coalitions of one image differ, the model is not unchanged."""
    images = sample()
    weights = torch.full((3,), 2.0)
    network = Classifier(lambda batch: (batch.mean(dim=(1, 2)) @ WAVES.T) * weights)
    baseline = measured(1.0, images)
    assert baseline.log_likelihood is not None
    game = GrowingGame(Game(network, baseline.rules, Execution(backend="eager"), images, images))
    game.ends()
    assert coarse.tables_agree(game, baseline)
    ends = [0, 63, *(1 << np.arange(6)), *(63 - (1 << np.arange(6)))]
    middle = np.setdiff1d(np.arange(64), ends)
    for image in (0, 11, 23):
        table = baseline.log_likelihood.copy()
        table[image, middle] -= 0.5
        assert not coarse.tables_agree(game, replace(baseline, log_likelihood=table))

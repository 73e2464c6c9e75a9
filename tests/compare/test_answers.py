"""Answers before and after: what is limited, what is explained, and what is called better."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pytest_iaside import ReferenceSample, Thresholds, compare, measure
from pytest_iaside.measure.measurement import Measurement
from pytest_iaside.measure.panel import with_answers

SIDE, COUNT = 16, 48
GRID = torch.arange(SIDE) / SIDE
WAVES = torch.stack([torch.cos(2 * torch.pi * k * GRID) for k in (1, 3, 7)])
PANEL = [("white_noise", 2), ("contrast", 2)]


def model(images: Tensor) -> Tensor:
    return images.mean(dim=(1, 2)) @ WAVES.T * 2


def sample(labelled: bool = True, count: int = COUNT) -> ReferenceSample:
    generator = torch.Generator().manual_seed(0)
    classes = torch.arange(COUNT) % 3
    images = 0.5 + 0.2 * WAVES[classes][:, None, None, :].expand(COUNT, 1, SIDE, SIDE)
    images = (images + 0.05 * torch.randn(images.shape, generator=generator)).clamp(0, 1)
    return ReferenceSample(images[:count], classes[:count].tolist() if labelled else None)


def profile(of: Any = model, reference: ReferenceSample | None = None, **more: Any) -> Any:
    return measure(of, reference or sample(), bands=4, **{"panel": PANEL, **more})


BEFORE = profile()


def verdicts(comparison: Any) -> dict[str, str]:
    return {check.name: check.verdict for check in comparison.checks}


def test_limits_are_those_of_thresholds() -> None:
    comparison = compare(BEFORE, BEFORE, Thresholds(max_accuracy_drop=0.1))
    limits = {check.name: check.limit for check in comparison.checks}
    assert limits["clean accuracy"] == limits["mean accuracy"] == -0.1
    assert limits["perturbed accuracy"] == -0.2
    assert limits["clean log-likelihood"] == -0.1 and limits["perturbed probability"] == -0.04
    off = Thresholds(max_accuracy_drop=None, max_log_likelihood_drop=None)
    left = {name for name in verdicts(compare(BEFORE, BEFORE, off)) if " " in name}
    assert left == {"clean probability", "mean probability", "perturbed probability"}


def test_harm_under_one_perturbation_is_seen_and_where() -> None:
    def shy(images: Tensor) -> Tensor:
        # Of pictures without contrast it makes nothing.
        flat = images.std(dim=(1, 2, 3))[:, None] < 0.06
        return torch.where(flat, 0.0, model(images))

    comparison = compare(profile(shy), BEFORE)
    assert comparison.verdict == "drift"
    found = {check.name: check for check in comparison.checks}
    assert found["perturbed accuracy"].where == "accuracy under contrast 2"
    assert found["clean accuracy"].change == 0
    assert comparison.summary().startswith(
        "the model finds the right class much less often under contrast (severity 2): accuracy "
        "100 % → 33 %"
    )


def test_answers_on_more_images_than_the_game() -> None:
    """The game is played on some images, and answers are compared on all."""
    before = profile(samples=16)
    assert len(before) == 16 and len(before.answers) == COUNT
    assert before.forward_passes == 16 * 17 + COUNT * 3

    def late(images: Tensor) -> Tensor:
        known = sample().images[16:]
        last = (images[:, None] - known).abs().flatten(2).amax(2).amin(1) < 1e-6
        return torch.where(last[:, None], model(images).roll(1, 1), model(images))

    comparison = compare(profile(late, samples=16), before)
    assert comparison.images == 16
    (accuracy,) = [check for check in comparison.checks if check.name == "clean accuracy"]
    assert (accuracy.baseline, accuracy.candidate) == (1.0, pytest.approx(16 / COUNT))
    assert comparison.verdict == "drift"


@pytest.mark.parametrize("samples", [None, 16])
def test_saved_and_read_answers_are_the_same(tmp_path: Any, samples: int | None) -> None:
    before = profile(samples=samples)
    found = type(before).load(before.save(tmp_path / "p.yaml"))
    assert found.answers.digests == before.answers.digests
    assert repr(found.answers.quantities) == repr(before.answers.quantities)
    np.testing.assert_array_equal(found.answers.values, before.answers.values)
    np.testing.assert_array_equal(found.answers.labels, before.answers.labels)
    assert compare(found, before).verdict == "pass"


def test_of_predicted_labels_accuracy_is_how_often_the_models_agree() -> None:
    unlabelled = sample(labelled=False)
    before = profile(reference=unlabelled)
    after = profile(lambda x: model(x).roll(1, 1), unlabelled, labels_from=before)
    comparison = compare(after, before)
    found = {check.name: check for check in comparison.checks}
    assert (found["clean accuracy"].baseline, found["clean accuracy"].candidate) == (1.0, 0.0)
    for name in ("clean accuracy", "mean accuracy", "clean log-likelihood", "mean probability"):
        assert found[name].verdict == "drift"


def test_better_bands_are_not_called_better_where_answers_fall() -> None:
    """Confident on what it knows, wrong on a third: v(all) rises."""

    def after(images: Tensor) -> Tensor:
        return 3 * model(images) + torch.tensor([0.0, 0.0, -1.5])

    comparison = compare(profile(after), BEFORE, Thresholds(max_value_drop=0.05))
    value = next(check for check in comparison.checks if check.name == "value")
    assert value.low > 0
    assert not any("better than the baseline" in note for note in comparison.notes)
    off = dict.fromkeys(("max_upper_band_change", "max_sid_shift", "max_src_drop"))
    narrow = Thresholds(**off, max_value_drop=0.05)
    kept = compare(profile(after, panel=()), replace(BEFORE, answers=None), narrow)
    assert any("better than the baseline" in note for note in kept.notes)


def test_what_is_better_is_said_of_answers() -> None:
    worse = profile(lambda x: model(x) + torch.tensor([0.0, 2.5, 0.0]))
    answers = Thresholds(max_upper_band_change=None, max_sid_shift=None, max_band_drop=None)
    found = compare(BEFORE, worse, answers)
    # v(all) fell by a third: L(∅) rose more than L(all).
    value = next(check for check in found.checks if check.name == "value")
    assert value.high < -0.2 and value.verdict == found.verdict == "nothing found"
    (note,) = [note for note in found.notes if note.startswith("better")]
    assert "accuracy, clean and perturbed" in note and "v(all)" not in note
    # Where a band drifted all the same, that comes first.
    bands = compare(BEFORE, worse, Thresholds(max_band_drop=0.01))
    assert bands.verdict == "drift"
    (note,) = [note for note in bands.notes if note.startswith("the answers are better")]
    assert "accuracy, clean and perturbed" in note and "drifted" in note
    assert not any(note.startswith("better") for note in bands.notes)


def test_other_measurements_compare_answers_too() -> None:
    def measured(of: Any) -> Measurement:
        whole = profile(of)
        quantity = replace(whole.quantities[0], name="depth", family="depth", unit="count")
        plain = Measurement(
            kind="depth",
            quantities=(quantity,),
            values=np.ones((COUNT, 1)),
            digests=whole.digests,
            names=whole.names,
            labels=whole.labels,
            settings={},
            reference=whole.reference,
            model=whole.model,
            forward_passes=0,
        )
        return with_answers(plain, whole.answers)

    before, after = measured(model), measured(lambda x: model(x).roll(1, 1))
    assert verdicts(compare(after, before, {}))["clean accuracy"] == "drift"
    assert compare(after, before, {}, answers={}).checks[0].name == "structured"
    assert compare(before, before, {}).verdict == "pass"


def test_another_confidence_does_not_excuse_a_loss_of_v_all() -> None:
    """L(all) as it is given rises where a model was not sure enough; what it knows does not."""
    unsure = profile(lambda images: model(images) / 4)
    candidate = replace(BEFORE, values=unsure.values / 2)
    found = compare(candidate, unsure)
    assert any(each.name == "L(all)" and each.low > 0 for each in found.answers)
    value = next(check for check in found.checks if check.name == "value")
    assert (value.change, value.verdict) == (pytest.approx(-0.5), "drift")


def test_answers_under_no_perturbations_are_missed() -> None:
    without, full = profile(panel=()), profile()
    both = "both were measured without a panel"
    assert any(note.startswith(both) for note in compare(without, profile(panel=())).notes)
    one = "the candidate was measured without a panel"
    assert any(note.startswith(one) for note in compare(without, full).notes)
    assert not any("without a panel" in note for note in compare(profile(), full).notes)

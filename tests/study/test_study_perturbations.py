"""Perturbations by name: read, checked against the images, left out where they do not fit."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from pytest_iaside.errors import SettingsError
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.perturb.attacks import fgsm, pgd
from pytest_iaside.study.robustness import USUAL, chosen_perturbations

SMALL = ReferenceSample(torch.rand(2, 1, 16, 16))


def test_corruptions_and_attacks_by_name() -> None:
    chosen, left_out = chosen_perturbations("gaussian_noise:2, fgsm:0.1,pgd:8/255", SMALL)
    assert left_out == {}
    assert list(chosen) == ["gaussian_noise:2", "fgsm:0.1", "pgd:8/255"]
    assert chosen["gaussian_noise:2"] == ("gaussian_noise", 2)
    first, second = chosen["fgsm:0.1"], chosen["pgd:8/255"]
    assert isinstance(first, partial)
    assert isinstance(second, partial)
    assert (first.func, first.keywords) == (fgsm, {"eps": 0.1})
    assert second.func is pgd
    assert second.keywords == {
        "eps": pytest.approx(8 / 255),
        "steps": 10,
        "step_size": pytest.approx(2 / 255),
    }


def test_the_usual_ones_that_do_not_fit_are_left_out_with_the_reason() -> None:
    assert list(chosen_perturbations(None, SMALL)[0]) == list(USUAL)
    of_two = ReferenceSample(torch.rand(2, 2, 16, 16))
    chosen, left_out = chosen_perturbations(None, of_two)
    assert set(left_out) == {"brightness:3", "jpeg_compression:3"}
    assert "these have 2" in left_out["brightness:3"]
    assert set(chosen) == set(USUAL) - set(left_out)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fog", "'fog' has no strength; write corruption:severity"),
        ("gausian_noise:2", "no corruption 'gausian_noise'; did you mean 'gaussian_noise'"),
        ("fog:7", "severity=7 must be 1, 2, 3, 4 or 5"),
        ("fog:strong", "'fog:strong' has no severity from 1 to 5"),
        ("fgsm:0", "'fgsm:0' has no eps above 0 and up to 1"),
        ("pgd:1/0", "'pgd:1/0' has no eps"),
        ("pgd:nan", "'pgd:nan' has no eps"),
        ("fog:1,fog:1", "the perturbation fog:1 is named twice"),
        ("", "'' has no strength"),
    ],
)
def test_names_that_cannot_be_used(text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        chosen_perturbations(text, SMALL)


def test_one_asked_for_that_does_not_fit_is_an_error() -> None:
    with pytest.raises(SettingsError, match="needs images of at least"):
        chosen_perturbations("glass_blur:5", ReferenceSample(torch.rand(2, 1, 3, 3)))

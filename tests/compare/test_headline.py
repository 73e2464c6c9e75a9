"""What got worse, in words: the check that decides, where most is lost, and how the words go."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_iaside.compare.check import Check
from pytest_iaside.compare.glossary import GLOSSES, glossary
from pytest_iaside.compare.headline import headline, percents, perturbed_by, structure
from pytest_iaside.compare.quantity_change import QuantityChange
from pytest_iaside.compare.words import interval_of, signed


def check(name: str, where: str = "", *, change: float, before: float = 0.0, **more: Any) -> Check:
    known: dict[str, Any] = {"limit": -0.02, "verdict": "drift", "better": "higher", **more}
    numbers = {"baseline": before, "candidate": before + change, "change": change}
    return Check(name=name, where=where, low=change, high=change, **numbers, **known)


def band(index: int, change: float, *, moved: bool = True) -> QuantityChange:
    return QuantityChange(
        index=index,
        name=f"band {index} (edges)",
        family="band",
        better="higher",
        baseline=1.0,
        candidate=1.0 + change,
        change=change,
        low=change,
        high=change,
        p_value=0.0,
        moved=moved,
    )


def said(
    *checks: Check,
    verdict: Any = "drift",
    bands: list[QuantityChange] | None = None,
    answers: list[QuantityChange] | None = None,
    agreement: bool = False,
) -> str:
    return headline(checks, verdict, bands or [], answers or [], agreement=agreement)


ACCURACY = check("clean accuracy", "accuracy, clean", before=0.93, change=-0.07)
BANDS = [band(0, -0.78), band(1, 0.22), band(2, -0.1), band(3, -0.5, moved=False)]
LIKELIHOOD = check(
    "perturbed log-likelihood", "log-likelihood under contrast 3", change=-0.36, limit=-0.2
)


def test_the_answers_come_first_and_then_where_most_is_lost() -> None:
    first = check("band", "band 0 (edges)", change=-0.3, limit=-0.2)
    assert said(first, ACCURACY, bands=BANDS) == (
        "the model finds the right class much less often: accuracy 93 % → 86 %; most is lost in "
        "coarse structures (band 0)"
    )


def test_of_predicted_labels_accuracy_is_agreement() -> None:
    assert said(ACCURACY, agreement=True) == (
        "the model finds what the baseline answered much less often: agreement 93 % → 86 %"
    )


def test_a_loss_of_likelihood_is_told_beside_the_accuracy_of_clean_images() -> None:
    clean = QuantityChange(**{**vars(band(0, -0.01)), "name": "accuracy, clean"})
    told = "the model finds the right class less well under contrast (severity 3)"
    assert said(LIKELIHOOD) == told
    assert said(LIKELIHOOD, answers=[clean]) == f"{told}; accuracy on clean images 100 % → 99 %"
    same = QuantityChange(**{**vars(clean), "candidate": 1.0})
    assert said(LIKELIHOOD, answers=[same]) == (
        f"{told}, with the same accuracy on clean images (100 %)"
    )


@pytest.mark.parametrize(
    ("one", "told"),
    [
        (
            check("band", "band 0 (edges)", change=-0.3, limit=-0.2),
            "the model relies less on coarse structures (band 0)",
        ),
        (
            check("upper", "band 1 (edges)", change=0.3, limit=0.05),
            "the model relies much more on coarse structures (band 1)",
        ),
        (
            check("src", change=-0.05),
            "the model relies less on coarse structures, and more on finer ones",
        ),
        (
            check("value", change=-0.1),
            "the model finds much less in the images, all bands together",
        ),
        (check("min_src", change=0.1), "the model relies too little on coarse structures"),
        (check("bound", "mean ArgLens", change=0.1), "mean ArgLens is below its bound"),
        (
            check("fine", "fine share", change=0.1, better="lower", limit=0.02),
            "fine share rose by more than is allowed",
        ),
        (
            check("mpe", "mPE under fog 3", change=0.1, better="lower", limit=0.05),
            "the model errs more under fog (severity 3)",
        ),
        (
            check("log-likelihood", "log-likelihood lost in band 2", change=0.1, better="lower"),
            "log-likelihood lost in band 2 rose by more than is allowed",
        ),
        (
            check("L(all)", "L(all)", change=-0.1),
            "the log-likelihood as the model answers fell by more than is allowed",
        ),
        (check("images", "images", change=float("nan")), "images differs by more than is allowed"),
        (check("structured", change=0.0), "nothing can be told from noise"),
    ],
    ids=lambda value: value.name if isinstance(value, Check) else "",
)
def test_other_checks_have_words_of_their_own(one: Check, told: str) -> None:
    bands = [band(index, change, moved=False) for index, change in enumerate((-0.3, 0.3, -0.1, 0))]
    assert said(one, bands=bands) == told


def test_what_is_undecided_is_not_said_to_be_so() -> None:
    unsure = check(
        "clean accuracy", "accuracy, clean", before=0.9, change=-0.05, verdict="inconclusive"
    )
    assert said(unsure, verdict="inconclusive", bands=BANDS) == (
        "it cannot be decided whether the model finds the right class less often: accuracy "
        "90 % → 85 %"
    )
    assert said(check("src", change=0.0, verdict="pass"), verdict="pass") == ""


def test_the_words_of_bands_perturbations_and_shares() -> None:
    assert [structure(index, 8) for index in (0, 2, 3, 5, 6, 7)] == [
        *["coarse structures"] * 2,
        *["structures of medium size"] * 2,
        *["fine details"] * 2,
    ]
    assert structure(0, 1) == "coarse structures"
    assert perturbed_by("accuracy under gaussian_blur 3") == "gaussian blur (severity 3)"
    assert perturbed_by("mPE under my own") == "my own"
    assert perturbed_by("accuracy, clean") == ""
    assert percents(0.93, 0.86) == "93 % → 86 %"
    assert percents(0.931, 0.929) == "93.1 % → 92.9 %"


def test_hard_words_have_a_gloss_of_one_line() -> None:
    assert list(glossary("ψ of band 1 fell by 2 nats")) == ["ψ", "nats", "band"]
    assert glossary("husband and contraband") == {}
    assert list(glossary("v(all) −1.2; coalitions")) == ["v(all)", "coalition"]
    for word, told in GLOSSES.items():
        assert len(f"  {word}: {told}") <= 72


def test_no_number_is_infinite() -> None:
    assert signed(float("inf")) == signed(float("nan")) == "n/a"
    unknown = check("value", change=0.0)
    unknown = Check(**{**vars(unknown), "low": float("-inf"), "high": 1.0})
    assert interval_of(unknown, 0.95, signed) == "95% CI undetermined"

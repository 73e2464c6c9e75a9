"""Likely causes of a red comparison, each with the pattern in the answers that suggests it.

What the patterns are like when their causes are planted: EfficientNet-Lite0 on 24 photographs, in
nats of the label's log-likelihood, clean, then under white noise, blur, low contrast, JPEG and
brightness (tests/compare/test_likely.py has the numbers).
"""

from collections.abc import Collection, Sequence

from pytest_iaside.compare.check import Check
from pytest_iaside.compare.comparison import Comparison
from pytest_iaside.compare.headline import CLEAN_ACCURACY, perturbed_by
from pytest_iaside.compare.quantity_change import QuantityChange
from pytest_iaside.measure.quantities import CLEAN, PERTURBED

GONE = 0.25
"""Of the right answers that a baseline has: where no more are left, hardly any are."""
MOSTLY = 2.0
"""Times what others lose, from which on something loses much more."""
SHOWN = 3
"""Differences of two environments that are named."""
NOT_TOLD = ("pytest-iaside", "platform")
"""Of an environment: what runs no model."""


def likely_causes(comparison: Comparison) -> tuple[str, ...]:
    """What may have made ``comparison`` red, the likeliest first; empty where nothing says."""
    answers = comparison.answers
    if comparison.verdict != "drift" or not answers:
        return ()
    if same_weights := _of_the_same_weights(comparison):
        return (same_weights,)
    clean = _one(answers, f"{CLEAN} log-likelihood")
    under = [each for each in answers if each.family == f"{PERTURBED} log-likelihood"]
    accuracy = next((each for each in answers if each.name in CLEAN_ACCURACY), None)
    if clean is None or accuracy is None:
        return ()
    failed = [
        check
        for check in comparison.checks
        # Two models that differ may differ for the better; what is said here is of losses.
        if check.verdict == "drift" and (check.change < 0) == (check.better == "higher")
    ]
    clean_failed = any(check.name.startswith(CLEAN) for check in failed)
    fell = (clean.moved or clean_failed) and clean.change < 0
    if under:
        # Where perturbed images lose far more, what clean ones lose is not what is looked for.
        mean = sum(each.change for each in under) / len(under)
        fell = fell and clean.change <= mean / MOSTLY
    if fell and accuracy.candidate <= GONE * accuracy.baseline:
        return (
            "hardly any answer is right any longer, also on clean images: compare the order of the "
            "classes, see that all weights were loaded, that the model is in eval mode, and that "
            "its batch-norm statistics are of images like these",
        )
    if fell:
        lost = {perturbed_by(check.where) for check in failed}
        lost |= {perturbed_by(each.name) for each in answers if each.moved and each.change < 0}
        return tuple(_of_clean_images(clean, under, lost))
    return () if clean_failed else tuple(_of_perturbed_images(failed, accuracy))


def _of_the_same_weights(comparison: Comparison) -> str:
    """That the network is what it was, and its surroundings are not."""
    candidate, baseline = comparison.candidate, comparison.baseline
    prints = [one.model.fingerprint for one in (candidate, baseline)]
    if prints[0] is None or prints[0] != prints[1]:
        return ""
    now, then = candidate.environment, baseline.environment
    differ = [
        f"{name} {then.get(name, 'unknown')} → {value}"
        for name, value in now.items()
        if name not in NOT_TOLD and then.get(name) != value
    ]
    told = f" ({', '.join(differ[:SHOWN])})" if differ else ""
    return (
        f"the weights are those of the baseline: look at what is around them, the code and the "
        f"libraries that run the model{told}"
    )


def _of_clean_images(
    clean: QuantityChange, under: Sequence[QuantityChange], lost: Collection[str]
) -> list[str]:
    """Why clean images may be answered worse, by what became of perturbed ones.

    ``lost`` are the perturbations under which anything of the answers got worse.
    """
    if not under:
        return []
    spared = [each for each in under if each.change >= 0]
    if not spared:
        return [
            "answers are worse on clean images and under every perturbation: coarser weights "
            "(quantisation, pruning), batch-norm statistics of other images, or a training that "
            "went worse do that"
        ]
    # The log-likelihood may rise where accuracy falls: then only the former is said to be spared.
    wholly = [each for each in spared if perturbed_by(each.name) not in lost]
    names = " and ".join(perturbed_by(each.name) for each in (wholly or spared)[:SHOWN])
    worse = "answers are worse" if wholly else "the log-likelihood fell"
    found = [
        f"{worse} on clean images but not under {names}: images may reach the network "
        "otherwise than in training; compare the order of the channels (RGB or BGR), mean and std "
        "of the normalisation, and how images are resized",
        "quantised or pruned weights can look the same: run the model with its full weights",
    ]
    contrast = next((each for each in under if "under contrast" in each.name), None)
    if contrast is not None and contrast.change <= MOSTLY * clean.change:
        found[0] += ". The most is lost under low contrast: look at mean and std first"
    return found


def _of_perturbed_images(failed: Sequence[Check], accuracy: QuantityChange) -> list[str]:
    """Why only perturbed images may be answered worse."""
    names = dict.fromkeys(filter(None, (perturbed_by(check.where) for check in failed)))
    if not names or (accuracy.change < 0 and accuracy.moved):
        return []
    found = [
        f"clean images are not shown to be answered worse, but those under {' and '.join(names)}: "
        "augmentation of that kind may have been left out of the training, or made weaker"
    ]
    if any(name.startswith("contrast") for name in names):
        found.append(
            "images of another range look like low contrast to a network: compare mean and std of "
            "the normalisation, and whether pixels are divided by 255 once"
        )
    return found


def _one(answers: Sequence[QuantityChange], family: str) -> QuantityChange | None:
    return next((each for each in answers if each.family == family), None)

"""Likely causes of a red comparison, each with the pattern in the answers that suggests it.

Patterns tell little. Planted in several models, wrong preprocessing and coarser weights cost clean
and perturbed images alike in most cases, and where perturbed images alone are answered worse,
training and weights look the same. So a sentence names every cause whose pattern this is, and none
is called the cause (benchmarks/causes.py counts how often the planted one is among them).
"""

from collections.abc import Collection, Sequence

from pytest_iaside.compare.check import Check
from pytest_iaside.compare.comparison import Comparison
from pytest_iaside.compare.headline import CLEAN_ACCURACY, perturbed_by
from pytest_iaside.compare.quantity_change import QuantityChange
from pytest_iaside.measure.quantities import CLEAN, PERTURBED

GONE = 0.25
"""Of the right answers that a baseline has: where no more are left, hardly any are."""
MUCH, HARDLY, FEW = 4.0, 10.0, 2
"""Of the largest loss: a quarter is much, a tenth is hardly any; and how many are few."""
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
    if fell and accuracy.candidate <= GONE * accuracy.baseline:
        return (
            "hardly any answer is right any longer, also on clean images: compare the order of the "
            "classes, see that all weights were loaded, that the model is in eval mode, and that "
            "its batch-norm statistics are of images like these",
        )
    if fell:
        lost = {perturbed_by(check.where) for check in failed}
        lost |= {perturbed_by(each.name) for each in answers if each.moved and each.change < 0}
        return tuple(_of_clean_images(under, lost))
    if clean_failed or (accuracy.change < 0 and accuracy.moved):
        return ()
    return tuple(_of_perturbed_images(failed, clean, under))


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


def _of_clean_images(under: Sequence[QuantityChange], lost: Collection[str]) -> list[str]:
    """Why clean images may be answered worse, by what became of perturbed ones.

    ``lost`` are the perturbations under which anything of the answers got worse.
    """
    if not under:
        return []
    risen = [perturbed_by(each.name) for each in under if each.change > 0 and each.moved]
    # The log-likelihood may rise where accuracy falls.
    better = [name for name in risen if name not in lost]
    if better:
        return [
            f"answers are worse on clean images, but better under {_and(better[:SHOWN])}: "
            f"images may reach the network otherwise than in training; compare {INPUT}",
            "quantised or pruned weights can look the same: run the model with its full weights",
        ]
    return [
        f"many causes make answers worse on clean images and under perturbations alike. Compare "
        f"{INPUT}",
        f"look at {WEIGHTS}, and at batch-norm statistics of other images",
        f"compare the training: its labels, its length, and {AUGMENTATION}",
    ]


INPUT = (
    "how images reach the network: the order of the channels (RGB or BGR), mean and std of the "
    "normalisation, and how images are resized and decoded"
)
SCALE = "what scales the images (mean and std, and whether pixels are divided by 255 once)"
WEIGHTS = "weights that became coarser (quantisation, pruning)"
AUGMENTATION = "augmentation that was left out or made weaker"


def _of_perturbed_images(
    failed: Sequence[Check], clean: QuantityChange, under: Sequence[QuantityChange]
) -> list[str]:
    """Why only perturbed images may be answered worse."""
    worst = max((-each.change for each in under), default=0.0)
    costly = [each.name for each in under if 0 < worst <= MUCH * -each.change]
    names = list(dict.fromkeys(filter(None, map(perturbed_by, costly))))
    if not names:
        # The log-likelihood was not looked at, or did not fall: checks name what did.
        names = list(dict.fromkeys(filter(None, (perturbed_by(c.where) for c in failed))))
    if not names:
        return []
    told = "clean images are not shown to be answered worse"
    if -clean.change * HARDLY <= worst and len(costly) <= FEW < len(under):
        told = "clean images and those under other perturbations are hardly answered worse"
    causes = [AUGMENTATION, WEIGHTS]
    if any("contrast" in name or "brightness" in name for name in names):
        causes.insert(
            0, "what scales the images (mean and std, and whether pixels are divided by 255 once)"
        )
    return [f"{told}, but those under {_and(names)}: look at {'; at '.join(causes)}"]


def _one(answers: Sequence[QuantityChange], family: str) -> QuantityChange | None:
    return next((each for each in answers if each.family == family), None)


def _and(names: Sequence[str]) -> str:
    """Several in a row: ``a, b and c``."""
    *before, last = names
    return f"{', '.join(before)} and {last}" if before else last

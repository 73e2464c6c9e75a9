"""Whether a profile says anything: ψ told from noise, and a model told from an untrained one.

An untrained network has a SID and an SRC too, often higher than a trained one's, and with
predicted labels its ψ can be many standard errors from zero: it prefers the class it prefers,
whatever the picture. What it lacks is information: its answer for one image is its answer for
all. So a profile counts as structured when its ψ differ between bands by more than noise and
rounding, and the label is told by the image itself.
"""

from __future__ import annotations

from math import log

import numpy as np
from numpy.typing import NDArray
from scipy import special

from pytest_iaside.stats.arrays import Floats, one_hot
from pytest_iaside.stats.groups import Groups, group_count
from pytest_iaside.stats.intervals import jackknife_error

# Two correct backends differ by up to 1e-4 in a log-likelihood; what is ten times that is real.
RESOLUTION = 1e-3
CONFIDENCE = 0.99
FEWEST = 4
"""Images, or groups of them, below which no change can be told from noise."""
# Where the model chose the labels itself, its choice always looks informed. Untrained networks
# (17 architectures, 12 and 48 photographs) reach 0.30·log(labels); a trained one 2.2.
PREDICTED_SHARE = 0.5
NO_BAND = "ψ of no band can be told from the others'"
"""Of all reasons the one that the noise of a design adds to."""


def label_information(log_probabilities: Floats, labels: NDArray[np.int64] | Floats) -> Floats:
    """How much likelier each image's label is for it than for the others, (K,), in nats.

    log Q(y|x_n) − log of Q(y|x_m) averaged over the other images, every label weighing the
    same so that an unbalanced sample is no excuse. ``log_probabilities`` (K, C); ``labels``
    (K,) classes or (K, C) distributions. NaN where there is no other image.
    """
    soft = labels.ndim == 2
    hard = labels.argmax(axis=1) if soft else labels
    shown, group = np.unique(hard, return_inverse=True)
    members = one_hot(group, len(shown))
    counts = members.sum(axis=0)
    gain = log_probabilities if soft else log_probabilities[:, shown]
    likelihoods = np.exp(gain)
    sums = members.T @ likelihoods
    mean_of_all, within = (sums / counts[:, None]).sum(axis=0), sums
    weight = labels
    if not soft:
        # Of each image the column of its own label: nothing of size (K, K).
        own_label = np.arange(len(group)), group
        gain, likelihoods = gain[own_label][:, None], likelihoods[own_label][:, None]
        mean_of_all, within = mean_of_all[group][:, None], np.diagonal(sums)[:, None]
        weight = np.ones_like(gain)
    # The mean over each label's images, without the image itself where it is one of them.
    own = np.where(counts[group] > 1, counts[group] - 1, np.inf)[:, None]
    without = (within[group] - likelihoods) / own
    marginal = mean_of_all - within[group] / counts[group, None] + without
    others = len(shown) - (counts[group] == 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        # Differences of sums: what is left of a probability below 1e-16 is rounding.
        mean = np.log(np.maximum(marginal, 1e-16) / others[:, None])
    information = (weight * (gain - mean)).sum(axis=1)
    return np.where(others > 0, information, np.nan)


def labels_information(logits: Floats, targets: Floats) -> Floats:
    """How much likelier each image's labels are for it than for the others, (K,), in nats.

    Of C labels that do not depend on each other: log Q(t|x_n) − log of Q(t|x_m) averaged over the
    other images, summed over labels. ``logits`` and ``targets`` (K, C), the latter in [0, 1]. NaN
    where there is no other image.
    """
    count = len(logits)
    if count < 2:
        return np.full(count, np.nan)
    holds = special.expit(logits)
    marginal = (holds.sum(axis=0) - holds) / (count - 1)
    found = np.zeros(count)
    for weight, own, mean in (
        (targets, special.log_expit(logits), marginal),
        (1 - targets, special.log_expit(-logits), 1 - marginal),
    ):
        # Differences of sums: what is left of a probability below 1e-16 is rounding.
        found += (weight * (own - np.log(np.maximum(mean, 1e-16)))).sum(axis=1)
    return found


def why_unstructured(
    image_psi: Floats,
    image_value: Floats,
    information: Floats,
    label_gain: Floats,
    *,
    distinct_labels: int,
    predicted: bool,
    groups: Groups = None,
    unit: str = "nats",
) -> str:
    """Why ψ (K, M) cannot be told from noise, in words; empty where it can.

    ``label_gain`` is log Q(y|x) + log C of each image: what is known of the label beyond chance.
    Values are in ``unit``.
    """
    count = len(image_psi)
    if count < 2:
        return "one image cannot tell ψ from noise; measure at least 2, better 50"
    if few := too_few_groups(groups, count):
        return few
    contrast = image_psi - image_psi.mean(axis=1, keepdims=True)
    largest = float(np.abs(contrast.mean(axis=0)).max())
    if largest < RESOLUTION:
        return (
            f"ψ differs between bands by {largest:.1g} {unit} at most, less than rounding does "
            f"({RESOLUTION:g}); the model does not react to the images"
        )
    # Of groups it is they that are few, however many images they hold.
    drawn, units = f"{count} images", "images"
    if groups is not None:
        drawn, units = f"{drawn} in {group_count(groups, count)} groups", "groups"
    if not _above_zero(image_value, groups):
        told = f"v(all) is {image_value.mean():.2g} {unit} over {drawn}"
        # What a score of the user's own is of, nobody else knows.
        scored = unit != "nats"
        if _above_zero(-image_value, groups):
            lower = "the score is lower" if scored else "the model finds the labels less likely"
            return (
                f"{told}: {lower} with all bands than with none, as where the "
                f"{'targets' if scored else 'labels'} or the preprocessing do not fit it"
            )
        nothing = (
            "images add nothing to the score" if scored else "the model does not find the labels"
        )
        return f"{told}, which cannot be told from nothing: {nothing}, or the {units} are too few"
    if not _any_differs(contrast, groups):
        return f"{NO_BAND} over {drawn}; measure more {units}"
    return uninformed(
        information, label_gain, distinct_labels=distinct_labels, predicted=predicted, groups=groups
    )


def too_few_groups(groups: Groups, images: int) -> str:
    """Why so few groups tell nothing from noise, in words; empty where they are enough."""
    count = group_count(groups, images)
    if groups is None or count >= FEWEST:
        return ""
    return (
        f"the {images} images come in {count} group{'s' * (count > 1)}, of which nothing can be "
        f"told from noise; measure at least {FEWEST} groups, better 20"
    )


def uninformed(
    information: Floats,
    label_gain: Floats,
    *,
    distinct_labels: int,
    predicted: bool,
    certain: bool = True,
    groups: Groups = None,
) -> str:
    """Why images (K,) tell the model nothing about their labels, in words; empty where they do.

    ``certain``: whether that must be beyond noise, for which few images are too few.
    """

    def above_zero(values: Floats) -> bool:
        return _above_zero(values, groups) if certain else bool(values.mean() > RESOLUTION)

    if distinct_labels < 2:
        if predicted:
            return (
                "the model predicts the same class for every image: it is untrained, or the "
                "reference sample shows one class only"
            )
        return (
            ""
            if above_zero(label_gain)
            else "the model gives the one label of the reference sample no more than chance"
        )
    needed = PREDICTED_SHARE * log(distinct_labels) if predicted else 0.0
    mean, least = float(information.mean()), max(needed, RESOLUTION)
    # Rounding leaves a model of one answer a little beside 0.
    if mean <= -RESOLUTION and above_zero(-information):
        return (
            f"an image makes its label less likely, by {-mean:.2g} nats: the labels or the "
            "preprocessing do not fit the model"
        )
    if mean < least:
        told = f"{mean:.2g}" if abs(mean) >= RESOLUTION else "no"
        return (
            f"an image tells the model {told} nats about its label (at least {least:.2g} "
            "expected): it would say nearly the same of any other image, as an untrained model does"
        )
    if not above_zero(information):
        count, unit = group_count(groups, len(information)), "image" if groups is None else "group"
        return (
            f"an image tells the model {mean:.2g} nats about its label, which {count} {unit}s "
            "cannot tell from nothing: it would say nearly the same of any other image, as an "
            "untrained model does, or it misses the labels of some images by far"
        )
    return ""


def _above_zero(values: Floats, groups: Groups) -> bool:
    reach = special.stdtrit(group_count(groups, len(values)) - 1, CONFIDENCE)
    return bool(values.mean() - reach * _error(values, groups) > 0)


def _any_differs(contrast: Floats, groups: Groups) -> bool:
    # Bonferroni over bands: simple, and conservative where bands are correlated.
    count, bands = group_count(groups, len(contrast)), contrast.shape[1]
    part = 1 - (1 - CONFIDENCE) / (2 * bands)
    reach = special.stdtrit(count - 1, part) * _error(contrast, groups)
    return bool((np.abs(contrast.mean(axis=0)) > reach).any())


def _error(rows: Floats, groups: Groups) -> Floats:
    """Standard error (…) of the mean of rows (K, …)."""
    if groups is not None:
        return jackknife_error(rows, np.asarray, groups)
    return np.asarray(rows.std(axis=0, ddof=1) / np.sqrt(len(rows)))

"""Adversarial examples: FGSM and PGD, and whatever other attack a user brings.

An attack is a function ``(model, images, labels) -> images``. ``model`` maps pixels in [0, 1] to
logits, ``images`` are (batch, channels, height, width) float32 in [0, 1] and ``labels`` (batch,)
class indices, all on one device. ``functools.partial(fgsm, eps=8 / 255)`` is one.
"""

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from pytest_iaside.checks import check_choice, check_positive, check_whole
from pytest_iaside.errors import ModelError, SettingsError, SpectralRobustnessError, one_line
from pytest_iaside.images.arrays import ROUNDING
from pytest_iaside.images.reference import Labels, Pictures, ReferenceSample
from pytest_iaside.models.classifier import as_classifier
from pytest_iaside.models.gradients import PixelNetwork, device_of, gradient_of, with_gradients

Attack = Callable[[nn.Module, Tensor, Tensor], Any]
AttackNorm = Literal["linf", "l2"]

PIXELS = ", in units of pixels"


def fgsm(
    classifier: Any, images: Pictures, labels: Labels, *, eps: float, norm: AttackNorm = "linf"
) -> Tensor:
    """The fast gradient sign method: one step of length ``eps`` up the cross-entropy.

    With ``norm="l2"`` along the gradient itself. Arguments, result and errors as in ``pgd``.
    Goodfellow, Shlens and Szegedy, ICLR 2015.
    """
    _check_ball(eps, norm)
    with _target(classifier, images, labels) as target:
        step = eps * _direction(target.gradient(target.pixels), norm)
        return target.result(target.pixels + step)


def pgd(
    classifier: Any,
    images: Pictures,
    labels: Labels,
    *,
    eps: float,
    steps: int,
    step_size: float,
    norm: AttackNorm = "linf",
    random_start: bool = False,
    seed: int = 0,
) -> Tensor:
    """Projected gradient ascent of the cross-entropy within ``eps`` of ``images``.

    ``classifier`` is whatever ``Classifier`` accepts, if it has gradients; ``images`` (batch,
    channels, height, width) are uint8, or float in [0, 1]; ``labels`` (batch,) classes, (batch,
    classes) distributions, or None for the classifier's own predictions. Returns float32 in [0, 1]
    on the images' device. All images are run at once. ``random_start`` begins at a point of the
    ball that depends on the image and ``seed`` only.

    The model is attacked in eval mode, where it lies, and left as it was. Without a random start
    the result is that of torchattacks' PGD and PGDL2 to the bit: also where the label's probability
    is 1 in float32, whose gradient is 0, so that the image stays. Madry et al., ICLR 2018.

    Raises SettingsError for a number out of range, ReferenceSampleError for images or labels, and
    ModelError where the model fails or has no gradient.
    """
    _check_ball(eps, norm)
    check_positive("step_size", step_size, PIXELS)
    check_whole("steps", steps, 1)
    with _target(classifier, images, labels) as target:
        if eps == 0:
            return target.result(target.pixels)
        found = target.pixels
        if random_start:
            found = (found + _random_offsets(target.pixels, eps, norm, seed)).clamp(0, 1)
        for _ in range(steps):
            found = found + step_size * _direction(target.gradient(found), norm)
            # Back into the ball, then into the range; both in this order, as torchattacks does.
            inside = _project(found - target.pixels, eps, norm)
            found = (target.pixels + inside).clamp(0, 1)
        return target.result(found)


def attacked(
    model: nn.Module, pixels: Tensor, classes: Tensor, attack: Attack, names: Sequence[str]
) -> Tensor:
    """One batch through ``attack``, checked; ``model`` comes from ``with_gradients``."""
    try:
        # A clone: an attack may write into what it is given, and labels are the sample's own.
        found = attack(model, pixels, classes.clone())
    except SpectralRobustnessError:
        raise
    except Exception as error:  # Whatever the user's attack raises.
        raise SettingsError(
            f"the attack {name_of(attack)} failed ({one_line(error)}); it is called as "
            "(model, images, labels) and returns images"
        ) from error
    return checked_images(found, pixels, f"the attack {name_of(attack)}", names)


def checked_images(found: Any, like: Tensor, source: str, names: Sequence[str]) -> Tensor:
    """``found`` of ``source`` as float32 in [0, 1]; SettingsError unless it fits ``like``."""
    expected = f"expected uint8, or float in [0, 1], of shape {tuple(like.shape)}"
    if isinstance(found, np.ndarray):
        found = torch.from_numpy(np.ascontiguousarray(found))
    if not isinstance(found, Tensor):
        raise SettingsError(f"{source} returned a {type(found).__name__}; {expected}")
    if found.shape != like.shape:
        raise SettingsError(f"{source} returned shape {tuple(found.shape)}; {expected}")
    pixels: Tensor = found.detach().to(like.device)
    if pixels.dtype == torch.uint8:
        return pixels.to(torch.float32) / 255
    if not pixels.is_floating_point():
        raise SettingsError(f"{source} returned {found.dtype}; {expected}")
    flat = pixels.flatten(1)
    # Written so that NaN, which fails every comparison, counts as outside.
    inside = ((flat >= -ROUNDING) & (flat <= 1 + ROUNDING)).all(dim=1)
    if not inside.all():
        wrong = int((~inside).nonzero()[0])
        low, high = (float(bound) for bound in torch.aminmax(flat[wrong]))
        shown = "NaN" if math.isnan(low) else f"values from {low:.4g} to {high:.4g}"
        raise SettingsError(
            f"{source} returned {shown} for {names[wrong]}; {expected}: it has to work on "
            "[0, 1] pixels and clip what it returns, and the model normalises them itself"
        )
    return pixels.to(torch.float32).clamp(0, 1)


def name_of(function: Any) -> str:
    """What to call a user's function in a message."""
    function = getattr(function, "func", function)
    return str(getattr(function, "__name__", type(function).__name__))


class _Target:
    """A model that is open to attack, and the images and labels it is attacked with."""

    def __init__(self, model: PixelNetwork, sample: ReferenceSample, home: torch.device) -> None:
        self.model, self._sample, self._home = model, sample, home
        self.pixels = sample.pixels().to(device_of(model))

    @cached_property
    def answers(self) -> Tensor:
        """Classes (batch,), or distributions (batch, classes)."""
        if self._sample.labels is not None:
            return self._sample.labels.to(self.pixels.device)
        with torch.no_grad():
            logits: Tensor = self.model(self.pixels)
        return logits.argmax(dim=1)

    def gradient(self, pixels: Tensor) -> Tensor:
        """Of the mean cross-entropy over the batch, with respect to ``pixels``."""
        answers = self.answers
        leaf = pixels.detach().requires_grad_()
        logits = self.model(leaf)
        self._sample.check_classes(logits.shape[1])
        if answers.ndim == 2:
            answers = answers.to(logits.dtype)
        loss = functional.cross_entropy(logits, answers)
        gradient = gradient_of(loss, leaf, self.model.classifier.name)
        finite = gradient.flatten(1).isfinite().all(dim=1)
        if not finite.all():
            raise ModelError(
                f"{self._sample.names[int((~finite).nonzero()[0])]}: the gradient of the model's "
                "cross-entropy is NaN or infinite; check that its logits are finite"
            )
        return gradient

    def result(self, pixels: Tensor) -> Tensor:
        return pixels.detach().clamp(0, 1).to(self._home)


@contextmanager
def _target(classifier: Any, images: Pictures, labels: Labels) -> Iterator[_Target]:
    home = images.device if isinstance(images, Tensor) else torch.device("cpu")
    with with_gradients(as_classifier(classifier)) as model:
        # In here: a tensor that is made in inference mode can have no gradients.
        yield _Target(model, ReferenceSample(images, labels), home)


def _direction(gradient: Tensor, norm: AttackNorm) -> Tensor:
    if norm == "linf":
        return gradient.sign()
    # What torchattacks adds, so that no division is by 0.
    return gradient / (_lengths(gradient) + 1e-10)


def _project(offsets: Tensor, eps: float, norm: AttackNorm) -> Tensor:
    if norm == "linf":
        return offsets.clamp(-eps, eps)
    # An offset of no length stays: eps / 0 is infinite, and 1 is less.
    return offsets * (eps / _lengths(offsets)).clamp(max=1)


def _random_offsets(pixels: Tensor, eps: float, norm: AttackNorm, seed: int) -> Tensor:
    """One offset within the ball for each image: uniform in ℓ∞, uniform in length in ℓ2."""
    rows = torch.empty(pixels.shape)
    for row, digest in zip(rows, ReferenceSample(pixels).digests, strict=True):
        key = hashlib.sha256(f"pgd {seed} {digest}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(key[:8], "big") >> 1)
        if norm == "linf":
            row.uniform_(-eps, eps, generator=generator)
        else:
            row.normal_(generator=generator)
            length = float(torch.rand((), generator=generator)) * eps
            row *= length / float(row.norm())
    return rows.to(pixels.device)


def _lengths(values: Tensor) -> Tensor:
    lengths: Tensor = torch.linalg.vector_norm(values.flatten(1), dim=1)
    return lengths.view(-1, 1, 1, 1)


def _check_ball(eps: float, norm: str) -> None:
    check_choice("norm", norm, AttackNorm)
    if eps != 0:
        check_positive("eps", eps, PIXELS)
    if norm == "linf" and eps > 1:
        raise SettingsError(
            f"eps={eps!r} is more than the whole range of pixels, which are in [0, 1]; for "
            f"{eps} of 255 levels give eps={eps} / 255"
        )

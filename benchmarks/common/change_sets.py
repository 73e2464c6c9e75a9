"""The changes of real models that the gate's limits were chosen on, and those set aside."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import torch
from scrapbook import zoo
from scrapbook.models import load_digit_reader, load_photo_tagger
from scrapbook.networks import convolutional, perceptron, pooled, residual
from scrapbook.train import train_digit_reader
from torch import nn

from common import changes as by
from common.changes import Change


@cache
def baseline(name: str) -> nn.Module:
    """The network that changes of the base ``name`` are changes of; ImportError without it."""
    return BASES[name]().eval()


BASES: dict[str, Callable[[], nn.Module]] = {
    "Lite0": load_photo_tagger,
    "Lite1": partial(by.lite, 1),
    "Lite2": partial(by.lite, 2),
    "reader": load_digit_reader,
    "robust": partial(by.recipe, change=by.noise_of(0.3)),
    "pooled": partial(by.recipe, network=pooled, change=partial(zoo.shift, pixels=3)),
    "residual": partial(by.recipe, network=residual, seed=20, change=zoo.brighten),
    "perceptron": partial(by.recipe, network=perceptron, seed=30, change=by.noise_of(0.15)),
    "twenty": by.twenty,
}
PHOTOGRAPHS = ("Lite0", "Lite1", "Lite2")
Named = dict[str, Change]


def _named(base: str, **kinds: dict[str, Any]) -> Named:
    """Changes of ``base`` by name; ``kinds`` are fields of a Change, with names and values."""
    return {
        f"{base}, {name}": Change(base=base, **{kind: value})
        for kind, found in kinds.items()
        for name, value in found.items()
    }


def _of_digits(base: str) -> Named:
    return _named(
        base,
        weights={
            **{f"{bits}-bit weights": partial(by.rounded, bits) for bits in (8, 5, 4, 3)},
            **{f"{100 * share:.0f} % pruned": partial(by.pruned, share) for share in (0.15, 0.4)},
            **{
                f"{100 * share:.0f} % weight noise": partial(by.noisy_weights, share)
                for share in (0.1, 0.35)
            },
            "tuned on 30 % wrong labels": partial(by.tuned, rate=1e-3, wrong=0.3),
        },
        head={
            "bias +4 on five classes": partial(by.raised, 4.0, slice(5)),
            "bias +1 on five classes": partial(by.raised, 1.0, slice(5)),
            "temperature ×2": partial(by.cooled, 2.0),
            "temperature ×½": partial(by.cooled, 0.5),
        },
        pixels={
            "inverted": lambda x: 1 - x,
            "shifted 1 px": lambda x: x.roll(1, -1),
            "shifted 2 px": lambda x: x.roll(2, -1),
        },
    )


CHOSEN_ON: Named = {
    **_named(
        "Lite0",
        weights={
            **{f"{bits}-bit weights": partial(by.rounded, bits) for bits in (8, 6, 5, 4)},
            **{
                f"{100 * share:.0f} % weight noise": partial(by.noisy_weights, share)
                for share in (0.02, 0.04)
            },
            "statistics 5 % off": partial(by.shifted_statistics, 0.05),
            "statistics 10 % off": partial(by.shifted_statistics, 0.1),
            **{
                f"{100 * share:.0f} % pruned": partial(by.pruned, share)
                for share in (0.02, 0.05, 0.1, 0.15)
            },
        },
        head={
            "bias +1 on 100 classes": partial(by.raised, 1.0, slice(0, None, 10)),
            "bias +9 on one class": partial(by.raised, 9.0, 999),
            "temperature ×2": partial(by.cooled, 2.0),
            "temperature ×½": partial(by.cooled, 0.5),
            "head noise 10 %": partial(by.noisy_head, 0.1),
            "head noise 60 %": partial(by.noisy_head, 0.6),
            "head tuned": partial(by.tuned_head, 0.01, 30),
        },
        pixels={
            "JPEG 40": partial(by.jpeg, 40),
            "mean and std of ImageNet": by.imagenet_normalised,
            "BGR": lambda x: x.flip(1),
            "no antialias": partial(by.resized, 5 / 7, antialias=False),
        },
    ),
    **_of_digits("reader"),
    **_of_digits("robust"),
    **_named(
        "robust",
        weights={
            f"tuned without noise, {epochs} epochs": partial(by.tuned, rate=1e-3, epochs=epochs)
            for epochs in (1, 4)
        },
        trained={
            "trained without noise": partial(by.recipe, seed=1),
            "other seed": partial(by.recipe, seed=1, change=by.noise_of(0.3)),
        },
    ),
    **_named(
        "reader",
        trained={
            "other seed": partial(train_digit_reader, seed=1),
            **{
                f"{100 * wrong:.0f} % wrong labels": partial(train_digit_reader, wrong_labels=wrong)
                for wrong in (0.1, 0.3, 0.5)
            },
        },
    ),
}
"""The changes that the default limits were chosen on."""

SET_ASIDE: Named = {
    **_named(
        "Lite0",
        weights={
            "statistics 7 % off": partial(by.shifted_statistics, 0.07, seed=2),
            "3 % weight noise": partial(by.noisy_weights, 0.03, seed=5),
            "6-bit activations": partial(by.rounded_activations, 6),
            "1 % of channels dropped": partial(by.dropped_channels, 0.01, seed=3),
            "8-bit weights per tensor": partial(by.rounded, 8, per="tensor"),
        },
        head={
            "bias +2 on 50 classes": partial(by.raised, 2.0, slice(7, None, 20)),
            "temperature ×0.7": partial(by.cooled, 0.7),
            "head of 4 bits": partial(by.rounded_head, 4),
            "head noise 30 %": partial(by.noisy_head, 0.3, seed=7),
            "head tuned, other seed": partial(by.tuned_head, 0.02, 60, seed=3),
        },
        pixels={
            "JPEG 30": partial(by.jpeg, 30),
            "JPEG 60": partial(by.jpeg, 60),
            "median filter": by.median,
            "gamma 1.3": lambda x: x.clamp(0, 1) ** 1.3,
            "bicubic by half": partial(by.resized, 0.5, mode="bicubic", antialias=True),
        },
    ),
    **_named(
        "Lite1",
        weights={
            "5-bit weights": partial(by.rounded, 5),
            "statistics 4 % off": partial(by.shifted_statistics, 0.04, seed=4),
        },
        head={
            "bias +1.5 on 100 classes": partial(by.raised, 1.5, slice(3, None, 10)),
            "temperature ×1.5": partial(by.cooled, 1.5),
            "head noise 15 %": partial(by.noisy_head, 0.15, seed=8),
            "head tuned": partial(by.tuned_head, 0.01, 60, seed=4),
        },
    ),
    **_named(
        "pooled",
        weights={
            "6-bit weights": partial(by.rounded, 6),
            "4-bit weights per tensor": partial(by.rounded, 4, per="tensor"),
            "15 % weight noise": partial(by.noisy_weights, 0.15, seed=4),
            "10 % of channels dropped": partial(by.dropped_channels, 0.1, seed=5),
            "6-bit activations": partial(by.rounded_activations, 6),
            "tuned on 20 % wrong labels": partial(by.tuned, rate=2e-3, wrong=0.2, seed=6),
            "tuned a little": partial(by.tuned, rate=5e-5, seed=7),
        },
        head={
            "bias +2.5 on three classes": partial(by.raised, 2.5, [1, 4, 7]),
            "temperature ×1.5": partial(by.cooled, 1.5),
        },
        pixels={
            "JPEG 30": partial(by.jpeg, 30),
            "median filter": by.median,
            "blur 0.7": partial(by.blurred, 0.7),
            "gamma 0.7": lambda x: x.clamp(0, 1) ** 0.7,
        },
        trained={
            "trained without shifts": partial(by.recipe, network=pooled, seed=8),
            "one epoch": partial(
                by.recipe, network=pooled, change=partial(zoo.shift, pixels=3), epochs=1
            ),
        },
    ),
    **_named(
        "robust",
        trained={
            "noise 0.1 instead of 0.3": partial(by.recipe, seed=9, change=by.noise_of(0.1)),
            "trained without noise, seed 5": partial(by.recipe, seed=5),
            "half as wide": partial(
                by.recipe, network=partial(convolutional, 0.5), change=by.noise_of(0.3)
            ),
        },
    ),
    **_named(
        "reader",
        trained={
            "20 % wrong labels, seed 5": partial(train_digit_reader, seed=5, wrong_labels=0.2),
            "40 % wrong labels, seed 6": partial(train_digit_reader, seed=6, wrong_labels=0.4),
            "other seed, 7": partial(train_digit_reader, seed=7),
        },
    ),
}
"""Changes that nobody looked at before the limits stood."""

FRESH: Named = {
    **_named(
        "Lite1",
        weights={
            "bfloat16 weights": partial(by.kept_as, torch.bfloat16),
            "batch norm folded": by.folded,
            "20 % pruned": partial(by.pruned, 0.2),
            "6 % weight noise": partial(by.noisy_weights, 0.06, seed=11),
            "statistics 8 % off": partial(by.shifted_statistics, 0.08, seed=12),
        },
        head={
            "temperature ×3": partial(by.cooled, 3.0),
            "head noise 5 %": partial(by.noisy_head, 0.05, seed=14),
        },
        pixels={"JPEG 20": partial(by.jpeg, 20)},
    ),
    **_named(
        "Lite2",
        weights={
            "float16 weights": partial(by.kept_as, torch.float16),
            "5-bit weights per tensor": partial(by.rounded, 5, per="tensor"),
        },
        head={
            "head of 6 bits": partial(by.rounded_head, 6),
            "bias +2.5 on 100 classes": partial(by.raised, 2.5, slice(5, None, 10)),
        },
        pixels={
            "JPEG 95": partial(by.jpeg, 95),
            "blur 1.2": partial(by.blurred, 1.2),
            "grey": lambda x: x.mean(dim=1, keepdim=True).expand_as(x),
        },
    ),
    **_named(
        "residual",
        weights={
            "float16 weights": partial(by.kept_as, torch.float16),
            "7-bit weights": partial(by.rounded, 7),
            "8 % pruned": partial(by.pruned, 0.08),
            "25 % weight noise": partial(by.noisy_weights, 0.25, seed=22),
        },
        head={"temperature ×3": partial(by.cooled, 3.0)},
        pixels={"JPEG 95": partial(by.jpeg, 95), "shifted 3 px": lambda x: x.roll(3, -1)},
        trained={
            "trained without brightness": partial(by.recipe, network=residual, seed=23),
            "40 % wrong labels": partial(
                by.recipe, network=residual, seed=24, change=zoo.brighten, wrong_labels=0.4
            ),
            "other seed": partial(by.recipe, network=residual, seed=25, change=zoo.brighten),
        },
    ),
    **_named(
        "perceptron",
        weights={
            "8-bit weights per tensor": partial(by.rounded, 8, per="tensor"),
            "20 % pruned": partial(by.pruned, 0.2),
            "tuned on 40 % wrong labels": partial(by.tuned, rate=1e-3, wrong=0.4, seed=31),
        },
        head={"head noise 5 %": partial(by.noisy_head, 0.05, seed=32)},
        pixels={
            "shifted 2 px": lambda x: x.roll(2, -1),
            "gamma 1.1": lambda x: x.clamp(0, 1) ** 1.1,
        },
        trained={"trained without noise": partial(by.recipe, network=perceptron, seed=33)},
    ),
}
"""Changes of other models, set aside after the limits were chosen and looked at once."""

SAME: Named = {
    "Lite0, batches of 3": Change(base="Lite0", batch=3),
    "reader, batches of 3": Change(base="reader", batch=3),
    "reader, OpenVINO": Change(base="reader", backend="openvino"),
    "reader, reordered": Change(base="reader", weights=by.reordered),
}
"""The same functions, computed otherwise."""

MOVED_ON: Named = {
    f"{base}, moved on": Change(base=base, head=by.moved_on) for base in ("Lite0", "reader")
}
ONE_CLASS: Named = {
    **_named("twenty", head={f"class {c} at −20": partial(by.raised, -20.0, c) for c in range(20)}),
    **_named("twenty", trained={f"without class {c}": partial(by.twenty, c) for c in range(20)}),
}
"""Models that answer images of one class wrongly, all others as before."""

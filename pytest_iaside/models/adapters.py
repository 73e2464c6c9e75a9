"""Adapters: networks of timm, torchvision and transformers, with the normalisation they bring."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor, nn

from pytest_iaside.checks import library
from pytest_iaside.errors import ModelError, one_line


@dataclass(frozen=True, eq=False)
class Adapted:
    """What a Classifier is made of; ``mean`` and ``std`` are for pixels in [0, 1]."""

    network: nn.Module
    mean: Any
    std: Any
    name: str | None


def from_timm(model: str | nn.Module) -> Adapted:
    """A timm model, or the pretrained one of that name, with the normalisation it brings."""
    timm = check_library("timm")
    made: Any = model
    if isinstance(model, str):
        try:
            made = timm.create_model(model, pretrained=True)
        except Exception as error:  # Unknown names, missing weights, no network: all its own.
            raise ModelError(
                f"timm cannot create {model!r} with its weights "
                f"({one_line(error)}); see timm.list_models(pretrained=True)"
            ) from error
    elif not isinstance(model, nn.Module):
        raise ModelError(
            f"from_timm was given a {type(model).__name__}; give the name of a timm "
            "model or a model that timm.create_model returned"
        )
    found = check_library("timm.data", "timm").resolve_model_data_config(made)
    config = getattr(made, "pretrained_cfg", None) or {}
    parts = (config.get("architecture"), config.get("tag"))
    label = model if isinstance(model, str) else ".".join(filter(None, parts))
    return Adapted(made, found["mean"], found["std"], label or None)


def from_torchvision(model: Any = None, *, weights: Any = None) -> Adapted:
    """A torchvision classifier with the normalisation of its weights.

    ``model`` is its name (``"resnet18"``, whose ``weights`` are the default ones where none are
    given), or a model of torchvision's, whose ``weights`` say how it was normalised, or the weights
    themselves: a member of a weights enumeration (``ResNet18_Weights.IMAGENET1K_V1``) or its name
    (``"ResNet18_Weights.DEFAULT"``).
    """
    models = check_library("torchvision.models", "torchvision")
    advice = "give classification weights such as 'ResNet18_Weights.DEFAULT'"
    known = models.list_models(module=models)
    if isinstance(model, nn.Module):
        if weights is None:
            raise ModelError(
                f"nothing says how images for this {type(model).__name__} are normalised; give "
                "weights='ResNet18_Weights.DEFAULT' or what it was trained from, or use "
                "Classifier(model, mean=…, std=…)"
            )
        preset = _weights(models, weights, advice).transforms()
        return Adapted(model, preset.mean, preset.std, type(model).__name__)
    named = isinstance(model, str) and "." not in model
    if named and model not in known:
        raise ModelError(
            f"torchvision has no classifier {model!r}; give a name that "
            f"torchvision.models.list_models() lists, or weights such as "
            "'ResNet18_Weights.DEFAULT'"
        )
    if model is not None and not named:
        if weights is not None:
            raise ModelError(
                f"both {model!r} and weights={weights!r} are weights; give one of the two"
            )
        weights = model
    member: Any = "DEFAULT" if named and weights is None else weights
    if named and isinstance(member, str) and "." not in member:
        member = f"{models.get_model_weights(model).__name__}.{member}"
    member = _weights(models, member, advice)
    names = [name for name in known if models.get_model_weights(name) is type(member)]
    if not names:
        raise ModelError(
            f"torchvision has no classifier for {member!r}; {advice}, or build the model "
            "yourself and pass Classifier(model, mean=…, std=…)"
        )
    if named and model not in names:
        raise ModelError(f"{member} are no weights of {model}, but of {names[0]}; {advice}")
    try:
        made = models.get_model(names[0], weights=member)
    except Exception as error:  # Downloads fail in many ways.
        raise ModelError(
            f"torchvision cannot load {member} ({one_line(error)}); download the weights "
            "where there is a network connection, or pass the model itself"
        ) from error
    preset = member.transforms()
    return Adapted(made, preset.mean, preset.std, str(member))


def _weights(models: Any, weights: Any, advice: str) -> Any:
    """The member of a weights enumeration that ``weights`` is, or names."""
    try:
        return models.get_weight(weights) if isinstance(weights, str) else weights
    except Exception as error:  # ValueError or AttributeError, by what is misspelt.
        raise ModelError(
            f"torchvision has no weights {weights!r} ({one_line(error)}); {advice}"
        ) from error


def from_transformers(model: str | nn.Module, processor: Any = None) -> Adapted:
    """A transformers image classifier, with the normalisation of its image processor.

    ``model`` may be the name of one, or the folder where it was saved. The ``processor`` that was
    saved with the model is taken where none is given.
    """
    transformers = check_library("transformers")
    made: Any = model
    if isinstance(model, str):
        made = _loaded(transformers.AutoModelForImageClassification, model, "model")
    elif not isinstance(model, nn.Module):
        raise ModelError(
            f"from_transformers was given a {type(model).__name__} as the model; give its name, or "
            "what AutoModelForImageClassification.from_pretrained returns"
        )
    label = getattr(getattr(made, "config", None), "_name_or_path", None)
    if processor is None:
        if not label:
            raise ModelError(
                f"nothing says how images for this {type(made).__name__} are normalised; give "
                "processor=AutoImageProcessor.from_pretrained(…)"
            )
        processor = _loaded(transformers.AutoImageProcessor, label, "image processor")
    mean, std = _processor_normalisation(processor)
    return Adapted(_TransformersLogits(made), mean, std, label or type(made).__name__)


def _loaded(kind: Any, name: str, what: str) -> Any:
    try:
        return kind.from_pretrained(name)
    except Exception as error:  # Unknown names, missing files, no network: all its own.
        raise ModelError(
            f"transformers cannot load the {what} {name!r} ({one_line(error)}); check the name, or "
            f"load it yourself and pass it"
        ) from error


def check_library(module: str, package: str | None = None) -> Any:
    """The module; raises ModelError where its package is not installed."""
    return library(module, "for this model", error=ModelError, package=package)


class _TransformersLogits(nn.Module):
    """A transformers model as a network from pictures to logits."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.training = model.training

    def forward(self, pictures: Tensor) -> Any:
        output = self.model(pixel_values=pictures)
        # Another kind of model is left for check_logits to describe.
        return getattr(output, "logits", output)


def _processor_normalisation(processor: Any) -> tuple[Any, Any]:
    """Mean and std, for [0, 1] pixels, of a transformers image processor."""
    # A processor of texts and images keeps the one for images inside.
    processor = getattr(processor, "image_processor", processor)
    if not hasattr(processor, "image_mean") and not hasattr(processor, "do_normalize"):
        raise ModelError(
            f"from_transformers was given a {type(processor).__name__} as the processor; give the "
            "model's image processor, AutoImageProcessor.from_pretrained(…)"
        )
    # It starts from pixels in 0 … 255: x = 255 · factor · pixel − shift, then mean and std.
    rescales = getattr(processor, "do_rescale", True)
    factor = getattr(processor, "rescale_factor", 1 / 255) if rescales else 1.0
    scale = 255.0 * factor
    scale = 1.0 if math.isclose(scale, 1.0, rel_tol=1e-6) else scale
    shift = 1.0 if rescales and getattr(processor, "rescale_offset", False) else 0.0
    mean, std = 0.0, 1.0
    if getattr(processor, "do_normalize", False):
        mean, std = processor.image_mean, processor.image_std
    elif scale == 1 and shift == 0:
        return None, None
    return (np.asarray(mean) + shift) / scale, np.asarray(std) / scale

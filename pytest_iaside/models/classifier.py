"""Classifier: a network with the normalisation that belongs to it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pytest_iaside.errors import ModelError, SettingsError
from pytest_iaside.models import adapters

Network = nn.Module | Callable[[Tensor], Any] | Path
Channels = float | Sequence[float] | Tensor

ACCEPTED = (
    "give an nn.Module, a function from (batch, channels, height, width) float32 to logits, "
    "the path of an .onnx file, or a Classifier"
)
FLOATING = ("float16", "float32", "float64")
FINGERPRINT_LENGTH = 16
# How an .onnx file names one that holds some of its weights: a protobuf entry, up to the length.
ONNX_LOCATION = re.compile(rb"\x0a\x08location\x12([\x00-\x7f]|[\x80-\xff][\x00-\x7f])")


@dataclass(frozen=True, eq=False, init=False, repr=False)
class Classifier:
    """A network that turns pictures into logits, and the ``mean`` and ``std`` it expects.

    ``network`` is an nn.Module, a function of (batch, channels, height, width) float32 that
    returns logits (batch, classes), or the path of an .onnx file. Without ``mean`` and
    ``std`` it is fed pixels in [0, 1]; with them (a number or one for each channel)
    ``(pixels - mean) / std``. Results of a plain function are kept for another run only
    under a ``version``, which must change whenever the function may return something else.

    Raises ModelError when the network is none of these; SettingsError for ``mean`` and ``std``.
    """

    network: Network
    mean: Tensor | None
    """(1,) or (channels,) float32, or None."""
    std: Tensor | None
    """(1,) or (channels,) float32, or None."""
    name: str
    version: str | None
    """What the user says that the network computes; see ``identity``."""

    def __init__(
        self,
        network: nn.Module | Callable[[Tensor], Any] | str | Path,
        *,
        mean: Channels | None = None,
        std: Channels | None = None,
        name: str | None = None,
        version: str | None = None,
    ) -> None:
        if version is not None and (not isinstance(version, str) or not version):
            raise SettingsError(f"version={version!r} cannot be used; expected text, or None")
        checked = _checked_network(network)
        object.__setattr__(self, "network", checked)
        if (mean is None) != (std is None):
            given, absent = ("mean", "std") if std is None else ("std", "mean")
            raise SettingsError(f"{given} was given without {absent}; give both or neither")
        means, stds = _channels("mean", mean), _channels("std", std)
        if means is not None and stds is not None:
            if len(means) != len(stds) and 1 not in (len(means), len(stds)):
                raise SettingsError(
                    f"mean has {len(means)} channels and std has {len(stds)}; "
                    "give a number each, or one for each channel of the images"
                )
            if not (stds > 0).all():
                raise SettingsError(f"std={stds.tolist()} must be greater than 0")
        object.__setattr__(self, "mean", means)
        object.__setattr__(self, "std", stds)
        object.__setattr__(self, "name", name or _name_of(checked))
        object.__setattr__(self, "version", version)

    @classmethod
    def from_timm(cls, name_or_model: str | nn.Module) -> Classifier:
        """A timm model, or the pretrained one of that name, with the normalisation it brings."""
        return cls._of(adapters.from_timm(name_or_model))

    @classmethod
    def from_torchvision(cls, weights: Any) -> Classifier:
        """The torchvision classifier of ``weights``, with the normalisation they bring.

        ``weights`` is a member of a weights enumeration (``ResNet18_Weights.IMAGENET1K_V1``)
        or its name as a string (``"ResNet18_Weights.DEFAULT"``).
        """
        return cls._of(adapters.from_torchvision(weights))

    @classmethod
    def from_transformers(cls, model: nn.Module, processor: Any) -> Classifier:
        """A transformers image classifier, with the normalisation of its image processor."""
        return cls._of(adapters.from_transformers(model, processor))

    @classmethod
    def from_onnx(
        cls,
        path: str | Path,
        *,
        mean: Channels | None = None,
        std: Channels | None = None,
        name: str | None = None,
    ) -> Classifier:
        """A classifier in an .onnx file, run by ONNX Runtime."""
        adapters.check_library("onnxruntime")
        return cls(Path(path), mean=mean, std=std, name=name)

    @classmethod
    def _of(cls, found: adapters.Adapted) -> Classifier:
        return cls(found.network, mean=found.mean, std=found.std, name=found.name)

    @property
    def fed(self) -> str:
        """What the network is fed, in words: pixels in [0, 1], or those less mean, by std."""
        if self.mean is None or self.std is None:
            return "[0, 1] pixels"
        means, stds = (
            ", ".join(f"{value:.4g}" for value in values.tolist())
            for values in (self.mean, self.std)
        )
        return f"mean={means}, std={stds}"

    def __repr__(self) -> str:
        told = self.fed if self.mean is not None else f"fed {self.fed}"
        return f"Classifier({self.name}, {told})"

    def normalise(self, pixels: Tensor) -> Tensor:
        """What the network is fed for ``pixels`` (batch, channels, height, width) in [0, 1].

        Raises SettingsError when ``mean`` or ``std`` is for another number of channels.
        """
        self.check_channels(pixels.shape[1])
        if self.mean is None or self.std is None:
            return pixels
        mean, std = (values.to(pixels).view(-1, 1, 1) for values in (self.mean, self.std))
        return (pixels - mean) / std

    def check_channels(self, channels: int) -> None:
        """Raise SettingsError when ``mean`` or ``std`` is for another number of channels."""
        if self.mean is None or self.std is None:
            return
        known = max(len(self.mean), len(self.std))
        if known not in (1, channels):
            raise SettingsError(
                f"mean and std are for {known} channels, but the images have {channels}; give one "
                "number for each channel of the images"
            )

    def fingerprint(self) -> str | None:
        """SHA-256 of the weights and of ``mean`` and ``std``, 16 hexadecimal digits.

        None for a plain function and for modules whose weights do not exist yet.
        """
        digest = hashlib.sha256()
        if isinstance(self.network, Path):
            for file in (self.network, *_external_files(self.network)):
                with file.open("rb") as opened:
                    digest.update(hashlib.file_digest(opened, "sha256").digest())
        elif isinstance(self.network, nn.Module):
            state = self.network.state_dict()
            if any(torch.nn.parameter.is_lazy(value) for value in state.values()):
                return None
            digest.update(type(self.network).__qualname__.encode())
            for key in sorted(state):
                for content in state_contents(key, state[key]):
                    digest.update(content)
        else:
            return None
        for values in (self.mean, self.std):
            if values is not None:
                digest.update(values.numpy().astype("<f4").tobytes())
        return digest.hexdigest()[:FINGERPRINT_LENGTH]


def as_classifier(model: Any) -> Classifier:
    """``model`` itself if it is a Classifier, else a Classifier of it, fed [0, 1] pixels.

    Raises ModelError when it is nothing that can be one.
    """
    return model if isinstance(model, Classifier) else Classifier(model)


def check_logits(logits: Any, batch: int) -> Tensor:
    """``logits`` as a tensor, if it is floating (batch, classes) with at least two classes.

    Arrays are accepted. Raises ModelError otherwise; whether they are finite is not looked at.
    """
    expected = f"expected logits, a floating ({batch}, classes) tensor"
    if isinstance(logits, np.ndarray):
        logits = torch.tensor(logits) if logits.dtype.name in FLOATING else logits
    if not isinstance(logits, (Tensor, np.ndarray)):
        raise ModelError(
            f"the model returned {_described(logits)}, {expected}; wrap the model in a function "
            "that returns its logits: Classifier(lambda x: …)"
        )
    shape = tuple(logits.shape)
    if not isinstance(logits, Tensor) or not logits.is_floating_point():
        raise ModelError(
            f"the model returned {logits.dtype} of shape {shape}, {expected}; return the logits "
            "themselves, not the predicted classes"
        )
    if len(shape) != 2:
        hint = "average over positions first" if len(shape) > 2 else "keep the batch dimension"
        raise ModelError(f"the model returned shape {shape}, {expected}; {hint}")
    if shape[0] != batch:
        raise ModelError(
            f"the model returned {shape[0]} rows for a batch of {batch}, {expected}; "
            "return one row for each image, in their order"
        )
    if shape[1] < 2:
        raise ModelError(
            f"the model returned shape {shape}, {expected} and at least 2 classes; give a binary "
            "classifier two columns: torch.cat([-z / 2, z / 2], dim=1)"
        )
    return logits


def _checked_network(network: object) -> Network:
    if isinstance(network, (str, Path)):
        path = Path(network)
        if path.suffix.lower() != ".onnx":
            raise ModelError(
                f"{path} is not an .onnx file; load the model and pass it, or {ACCEPTED}"
            )
        if not path.is_file():
            raise ModelError(f"there is no file {path}; give the path of an existing .onnx file")
        return path
    if isinstance(network, type):
        raise ModelError(
            f"{network.__name__} is a class, not a model; pass an instance of it, with its "
            f"weights: {network.__name__}(…)"
        )
    if isinstance(network, Classifier) or not callable(network):
        raise ModelError(f"the model is {_described(network)}; {ACCEPTED}")
    return network


def _name_of(network: Network) -> str:
    if isinstance(network, Path):
        return network.stem
    kind = type(network).__name__
    return kind if isinstance(network, nn.Module) else getattr(network, "__name__", kind)


def _channels(what: str, values: Any) -> Tensor | None:
    if values is None:
        return None
    try:
        array = np.atleast_1d(np.asarray(values, dtype=np.float64))
    except (TypeError, ValueError):
        array = np.empty((0, 0))
    if array.ndim != 1 or not array.size or not np.isfinite(array).all():
        raise SettingsError(
            f"{what}={values!r} must be a finite number, or one for each channel of the images"
        )
    return torch.from_numpy(array.astype(np.float32))


def state_contents(key: str, value: Any) -> Iterator[bytes]:
    """What ``value`` of a module's state holds, as bytes."""
    if isinstance(value, Tensor):
        value = value.dequantize() if value.is_quantized else value
        value = value if value.layout == torch.strided else value.to_dense()
        yield f"{key} {value.dtype} {tuple(value.shape)} ".encode()
        if not value.is_meta:
            # As bytes: numpy has no bfloat16.
            yield value.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes()
    elif isinstance(value, (tuple, list)):
        for position, part in enumerate(value):
            yield from state_contents(f"{key}.{position}", part)
    elif value is None or isinstance(value, (bool, int, float, str, torch.dtype)):
        yield f"{key} {value!r} ".encode()


def _external_files(path: Path) -> list[Path]:
    """The files beside the .onnx file ``path`` that hold weights of it."""
    content = path.read_bytes()
    found = set()
    for match in ONNX_LOCATION.finditer(content):
        low, *high = match[1]
        length = (low & 127) + (high[0] << 7 if high else 0)
        name = content[match.end() : match.end() + length].decode(errors="replace")
        if "\0" not in name and (path.parent / name).is_file():
            found.add(path.parent / name)
    return sorted(found)


def _described(value: Any) -> str:
    kind = type(value).__name__
    keys = getattr(value, "keys", None)
    if callable(keys):
        return f"a {kind} with {', '.join(map(repr, keys())) or 'nothing in it'}"
    if isinstance(value, (tuple, list)):
        return f"a {kind} of {len(value)}"
    return "None" if value is None else f"a {kind}"

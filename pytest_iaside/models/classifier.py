"""Classifier: a network with the normalisation that belongs to it, and what it answers."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pytest_iaside.errors import ModelError, SettingsError
from pytest_iaside.models import adapters
from pytest_iaside.models.answering import answering
from pytest_iaside.models.fingerprint import content_of, file_digest, state_contents, weight_files
from pytest_iaside.models.outputs import Output, check_output, described
from pytest_iaside.models.tasks import Score, Task, TaskName, task_of

SHARDED = ("FullyShardedDataParallel", "FSDPModule", "DeepSpeedEngine")
"""Kinds of modules that hold a part of their weights alone."""
Network = nn.Module | Callable[[Tensor], Any] | Path
Channels = float | Sequence[float] | Tensor

ACCEPTED = (
    "give an nn.Module, a function from (batch, channels, height, width) float32 to logits, "
    "the path of an .onnx file, or a Classifier"
)
FINGERPRINT_LENGTH = 16


@dataclass(frozen=True, eq=False, init=False, repr=False)
class Classifier:
    """A network that turns pictures into logits, and the ``mean`` and ``std`` it expects.

    ``network`` is an nn.Module, an exported program, a function of (batch, channels, height,
    width), or the path of an .onnx file. Without ``mean`` and ``std`` it is fed pixels in [0, 1];
    with them (a number or one for each channel) ``(pixels - mean) / std``; always float32, or the
    one type of all its weights.

    ``output`` says where the logits (batch, classes) are in what it returns: a key, a place, or a
    function of that; ``"probabilities"`` where it returns these. None finds the one tensor that can
    be logits. ``task`` is ``"softmax"`` over classes, ``"binary"`` with one logit, or
    ``"multilabel"`` with one logit for each of C labels, whose targets are (K, C) in [0, 1].
    ``score`` serves all else: a function of what ``output`` finds (by default all that the network
    returns) and of the targets of its images to (batch,) numbers in ``unit``; more is better.
    ``arguments`` of the network beside the images are given each time, by name;
    ``image_argument`` names the images', where they are not the first.

    Results of a plain function are kept for another run only under a ``version``, which must
    change whenever the function may return something else.

    Raises ModelError when the network is none of these; SettingsError for all others.
    """

    network: Network
    mean: Tensor | None
    """(1,) or (channels,) float32, or None."""
    std: Tensor | None
    """(1,) or (channels,) float32, or None."""
    name: str
    version: str | None
    """What the user says that the network computes; see ``identity``."""
    output: Output
    task: Task
    arguments: Mapping[str, Any]
    image_argument: str | None

    def __init__(
        self,
        network: nn.Module | Callable[[Tensor], Any] | str | Path,
        *,
        mean: Channels | None = None,
        std: Channels | None = None,
        output: Output = None,
        task: TaskName = "softmax",
        score: Score | None = None,
        unit: str | None = None,
        arguments: Mapping[str, Any] | None = None,
        image_argument: str | None = None,
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
        object.__setattr__(self, "output", check_output(output))
        object.__setattr__(self, "task", task_of(task, score, unit))
        others = _checked_arguments(arguments, image_argument, checked)
        object.__setattr__(self, "arguments", others)
        object.__setattr__(self, "image_argument", image_argument)

    @classmethod
    def from_timm(
        cls, model: str | nn.Module | None = None, *, name_or_model: str | nn.Module | None = None
    ) -> Classifier:
        """A timm model, or the pretrained one of that name, with the normalisation it brings.

        ``name_or_model`` is what 0.1 called ``model``: it warns, and goes in 0.3.
        """
        if name_or_model is not None:
            warnings.warn(
                "from_timm(name_or_model=…) is from_timm(model=…) now; the old name goes in 0.3",
                DeprecationWarning,
                stacklevel=2,
            )
            model = name_or_model
        if model is None:
            raise ModelError("from_timm() was given no model; give its name, or the model itself")
        return cls._of(adapters.from_timm(model))

    @classmethod
    def from_torchvision(cls, model: Any = None, *, weights: Any = None) -> Classifier:
        """A torchvision classifier with the normalisation of its weights.

        ``model`` is its name (``"resnet18"``, whose ``weights`` are the default ones where none are
        given), or a model of torchvision's, whose ``weights`` say how it was normalised, or the
        weights themselves: a member of a weights enumeration (``ResNet18_Weights.IMAGENET1K_V1``)
        or its name (``"ResNet18_Weights.DEFAULT"``).
        """
        return cls._of(adapters.from_torchvision(model, weights=weights))

    @classmethod
    def from_transformers(cls, model: str | nn.Module, processor: Any = None) -> Classifier:
        """A transformers image classifier, with the normalisation of its image processor.

        ``model`` may be the name of one, or the folder where it was saved. The ``processor`` that
        was saved with the model is taken where none is given.
        """
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

    def named(self, name: str) -> Classifier:
        """The same classifier under another ``name``."""
        found = object.__new__(Classifier)
        for each, value in vars(self).items():
            object.__setattr__(found, each, value)
        object.__setattr__(found, "name", name)
        return found

    @property
    def answering(self) -> nn.Module | Callable[[Tensor], Any]:
        """The network from what it is fed to answers (B, C), of an .onnx file's own kind; a module
        of a module."""
        assert not isinstance(self.network, Path)
        return answering(self.network, self.output, self.task, self.arguments, self.image_argument)

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
            for file in weight_files(self.network):
                digest.update(file_digest(file))
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
        for content in self.reading():
            digest.update(content)
        return digest.hexdigest()[:FINGERPRINT_LENGTH]

    def reading(self) -> Iterator[bytes]:
        """How the network is asked and read, where that is not as usual."""
        told = (self.output, self.task.name, self.task.score, self.task.unit, self.image_argument)
        if told != (None, "softmax", None, "nats", None):
            yield " ".join(map(content_of, told)).encode()
        for key, value in sorted(self.arguments.items()):
            yield from state_contents(key, value)


def as_classifier(model: Any) -> Classifier:
    """``model`` itself if it is a Classifier, else a Classifier of it, fed [0, 1] pixels.

    Raises ModelError when it is nothing that can be one.
    """
    return model if isinstance(model, Classifier) else Classifier(model)


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
    if type(network).__name__ == "ReferenceSample":
        raise ModelError(
            "the model is a ReferenceSample: model and reference were given the other way round; "
            "give the model first"
        )
    if isinstance(network, (nn.parallel.DistributedDataParallel, nn.DataParallel)):
        # Wrapped, each pass waits for those of other processes, which may not measure at all.
        return _checked_network(network.module)
    if any(kind.__name__ in SHARDED for kind in type(network).__mro__):
        raise ModelError(
            f"the model is {described(network)}, whose weights are spread over processes, so that "
            "this one cannot run it alone; gather them first: load a full state dict "
            "(torch.distributed.checkpoint.state_dict.get_model_state_dict with "
            "StateDictOptions(full_state_dict=True)) into a plain copy of the network"
        )
    if isinstance(network, torch.export.ExportedProgram):
        # Once and for all: each call of module() makes another one.
        return network.module()
    if isinstance(network, type):
        raise ModelError(
            f"{network.__name__} is a class, not a model; pass an instance of it, with its "
            f"weights: {network.__name__}(…)"
        )
    if isinstance(network, Classifier) or not callable(network):
        raise ModelError(f"the model is {described(network)}; {ACCEPTED}")
    return network


def _checked_arguments(arguments: Any, image_argument: Any, network: Network) -> Mapping[str, Any]:
    if image_argument is not None and (not isinstance(image_argument, str) or not image_argument):
        raise SettingsError(
            f"image_argument={image_argument!r} cannot be used; expected the name of the network's "
            "argument that takes images, or None for its first"
        )
    if arguments is None:
        arguments = {}
    if not isinstance(arguments, Mapping) or not all(isinstance(key, str) for key in arguments):
        raise SettingsError(
            f"arguments={described(arguments)} cannot be used; expected a mapping from names of "
            "arguments to what is given for them each time"
        )
    if isinstance(network, Path) and (arguments or image_argument):
        raise SettingsError(
            "arguments= and image_argument= are for networks in Python; export the .onnx file with "
            "images as its only input"
        )
    return dict(arguments)


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

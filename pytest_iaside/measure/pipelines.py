"""What two pipelines make of the same raw files, and a classifier that is fed it as it is."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pytest_iaside.checks import check_choice, check_whole
from pytest_iaside.errors import ReferenceSampleError, SettingsError, one_line
from pytest_iaside.images.label_lists import read_list
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.images.sources import EXTENSIONS, check_folder
from pytest_iaside.images.values import sha256
from pytest_iaside.models.classifier import Classifier

Reads = Literal["image", "path", "bytes"]
Pipeline = Callable[[Any], Any]
PIXELS = 0.5
"""How far beyond [0, 1] pixels may lie: resizing oversteps it, and normalised ones are far off."""
REPEATABLE = 1e-6


@dataclass(frozen=True, eq=False)
class RawFiles:
    """K image files as they lie on the disk, undecoded, and their labels where there are any."""

    paths: tuple[Path, ...]
    names: tuple[str, ...]
    labels: tuple[int, ...] | None
    digests: tuple[str, ...]
    """SHA-256 of each file's bytes: what is one image, whatever a pipeline makes of it."""

    def __len__(self) -> int:
        return len(self.paths)


def raw_files(
    files: str | Path | Sequence[str | Path],
    labels: str | Path | Sequence[int] | None = "folder",
    *,
    samples: int | None = None,
) -> RawFiles:
    """The image files in a folder, or those given one by one; none is decoded.

    ``labels`` of a folder are ``"folder"`` (the rank of its top folder), a CSV file as
    ``ReferenceSample.from_folder`` takes it, or None; of single files a class index each, or None.
    ``samples`` takes only the first so many. Raises ReferenceSampleError for what is not there.
    """
    check_whole("samples", samples, 1, or_none=True)
    if isinstance(files, (str, Path)):
        root = Path(files)
        check_folder(root, "the image files")
        names, found = _of_folder(root, labels)
        paths = [root / name for name in names]
    else:
        paths = [Path(each) for each in files]
        names, found = [path.as_posix() for path in paths], _of_files(labels, len(paths))
    if not paths:
        raise ReferenceSampleError("there are no image files; give at least one")
    if missing := [path for path in paths if not path.is_file()]:
        raise ReferenceSampleError(
            f"there is no file {missing[0]} ({len(missing)} of {len(paths)} are missing); check "
            "the paths"
        )
    paths, names = paths[:samples], names[:samples]
    return RawFiles(
        tuple(paths),
        tuple(names),
        None if found is None else tuple(found[:samples]),
        tuple(sha256(each.read_bytes()) for each in paths),
    )


def _of_folder(root: Path, labels: Any) -> tuple[list[str], list[int] | None]:
    if labels is not None and labels != "folder":
        if not isinstance(labels, (str, Path)):
            raise ReferenceSampleError(
                f"labels of a folder are a {type(labels).__name__}; give 'folder', the path of a "
                "CSV file, or None, or name the files one by one"
            )
        beside = Path(labels)
        entries = read_list(beside if beside.exists() else root / beside, beside)
        found = [each.label for each in entries]
        assert all(label is not None for label in found)  # As the column was asked for.
        return [each.file for each in entries], [int(label) for label in found if label is not None]
    inside = (path.relative_to(root) for path in root.rglob("*"))
    names = sorted(
        path.as_posix()
        for path in inside
        if path.suffix.lower() in EXTENSIONS and not any(p.startswith(".") for p in path.parts)
    )
    if labels is None:
        return names, None
    if loose := [name for name in names if "/" not in name]:
        raise ReferenceSampleError(
            f"{loose[0]} lies directly in {root}, but labels='folder' reads the class from a "
            "sub-folder; give labels=<a csv file>, or None for the original's predictions"
        )
    folders = sorted(p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    return names, [folders.index(name.partition("/")[0]) for name in names]


def _of_files(labels: Any, count: int) -> list[int] | None:
    if labels is None or labels == "folder":
        return None
    found = np.asarray(labels)
    if found.shape != (count,) or found.dtype.kind not in "iu":
        raise ReferenceSampleError(
            f"labels are {found.dtype} of shape {found.shape}; expected a class index for each of "
            f"{count} files, or None"
        )
    return [int(each) for each in found]


def outputs_of(raw: RawFiles, pipeline: Pipeline, reads: Reads, role: str) -> Tensor:
    """What ``pipeline`` makes of every file, (K, C, H, W) float32; ``role`` names it in messages.

    It is called with the picture as PIL opens it in RGB (``reads="image"``), with the path, or
    with the bytes of the file. Raises SettingsError where it fails, returns no image tensor or
    images of several sizes, or makes another image of the same file when called again.
    """
    check_choice("reads", reads, Reads)
    if not callable(pipeline):
        raise SettingsError(
            f"{role} is a {type(pipeline).__name__}; expected a function from one "
            f"{'PIL image' if reads == 'image' else reads} to the tensor that the model is fed"
        )
    found: list[Tensor] = []
    for path, name in zip(raw.paths, raw.names, strict=True):
        one = _output(pipeline, path, name, reads, role)
        if found and one.shape != found[0].shape:
            raise SettingsError(
                f"{role} makes {_size(one)} of {name} and {_size(found[0])} of {raw.names[0]}; "
                "end it with a crop or resize to one size"
            )
        found.append(one)
    again = _output(pipeline, raw.paths[0], raw.names[0], reads, role)
    if again.shape != found[0].shape or float((again - found[0]).abs().max()) > REPEATABLE:
        raise SettingsError(
            f"{role} makes another image of {raw.names[0]} when it is called again; leave random "
            "transforms out (RandomCrop, RandomHorizontalFlip, ColorJitter)"
        )
    return torch.stack(found)


def _output(pipeline: Pipeline, path: Path, name: str, reads: Reads, role: str) -> Tensor:
    given = _read(path, name, reads)
    try:
        found = pipeline(given)
    except Exception as error:  # Whatever the user's function raises.
        raise SettingsError(
            f"{role} failed on {name} ({one_line(error)}); it is called with "
            f"{dict(image='a PIL image in RGB', path='a path', bytes='the bytes of a file')[reads]}"
            ": choose another with reads="
        ) from error
    if isinstance(found, np.ndarray):
        found = torch.from_numpy(np.ascontiguousarray(found))
    expected = "expected a float tensor (channels, height, width), as the model is fed"
    if not isinstance(found, Tensor):
        raise SettingsError(
            f"{role} returned a {type(found).__name__} for {name}, {expected}; end it with "
            "v2.ToImage() and v2.ToDtype(torch.float32, scale=True), or take the tensor out of "
            "what it returns"
        )
    found = found[0] if found.ndim == 4 and len(found) == 1 else found
    if found.ndim != 3 or not found.is_floating_point() or 0 in found.shape:
        raise SettingsError(
            f"{role} returned {str(found.dtype).removeprefix('torch.')} of shape "
            f"{tuple(found.shape)} for {name}, {expected}; of uint8 v2.ToDtype(torch.float32, "
            "scale=True) makes it"
        )
    found = found.detach().cpu().to(torch.float32, copy=True).as_subclass(Tensor)
    if not found.isfinite().all():
        raise SettingsError(f"{role} returned NaN or infinity for {name}; {expected}")
    return found


def _read(path: Path, name: str, reads: Reads) -> Any:
    if reads == "path":
        return path
    content = path.read_bytes()
    if reads == "bytes":
        return content
    try:
        with Image.open(io.BytesIO(content)) as picture:
            return picture.convert("RGB")
    except Exception as error:  # Pillow raises several kinds.
        raise ReferenceSampleError(
            f"{name} cannot be read as an image ({one_line(error)}); repair or remove it"
        ) from error


@dataclass(frozen=True, eq=False)
class BothFed:
    """Two samples of the same files, and the classifier that is fed what the pipelines made.

    Samples are in [0, 1]: what the pipelines returned is ``low`` + sample·``span``.
    """

    classifier: Classifier
    original: ReferenceSample
    changed: ReferenceSample
    low: float
    span: float


def both_fed(classifier: Classifier, raw: RawFiles, original: Tensor, changed: Tensor) -> BothFed:
    """Both outputs (K, C, H, W) as samples, for a classifier that is fed them bit for bit nearly.

    A classifier with mean and std normalises by itself, and pipelines return pixels; one without is
    fed what pipelines return, normalised or not. Raises SettingsError for pipelines that return
    images of unlike sizes, or normalised ones to a classifier that normalises.
    """
    if original.shape != changed.shape:
        raise SettingsError(
            f"the original preprocessing makes images of {_size(original[0])}, the other of "
            f"{_size(changed[0])}: images of unlike sizes have no bands in common; give both one "
            "size"
        )
    low = min(float(original.min()), float(changed.min()))
    high = max(float(original.max()), float(changed.max()))
    if classifier.mean is not None and (low < -PIXELS or high > 1 + PIXELS):
        raise SettingsError(
            f"the pipelines return values from {low:.3g} to {high:.3g}, but the classifier "
            f"normalises pixels in [0, 1] by itself ({classifier.fed}); leave mean and std out of "
            "the Classifier where the pipeline normalises, or Normalize out of the pipelines"
        )
    low, high = min(low, 0.0), max(high, 1.0)
    span = high - low
    # Of what a Classifier makes of (x − low)/span the network is fed what it would be of x.
    fed = classifier
    if (low, span) != (0.0, 1.0):
        mean, std = (
            (0.0, 1.0)
            if classifier.mean is None or classifier.std is None
            else (classifier.mean.double(), classifier.std.double())
        )
        fed = Classifier(
            classifier.network,
            mean=(mean - low) / span,
            std=std / span,
            name=classifier.name,
            version=classifier.version,
        )
    samples = [
        ReferenceSample(((each - low) / span).clamp(0, 1), raw.labels, names=raw.names)
        for each in (original, changed)
    ]
    return BothFed(fed, samples[0], samples[1], low, span)


def _size(image: Tensor) -> str:
    return "×".join(map(str, image.shape))

"""Corrupted images that lie on disk, as ImageNet-C's folders or CIFAR-10-C's arrays."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_iaside.errors import ReferenceSampleError, one_line
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.images.sources import check_folder
from pytest_iaside.perturb.corruptions import SEVERITIES, check_corruption, check_severity
from pytest_iaside.store.files import check_file

LABELS = "labels.npy"
# Bytes: larger than any, so that only the kind of file counts; it is read when looked at.
LARGEST = 2**50


def stored_corruption(
    folder: str | Path,
    corruption: str,
    severity: int,
    *,
    labels: str | Path | None = "folder",
    resize: int | None = None,
    crop: int | None = 224,
    limit: int | None = None,
    seed: int | None = None,
) -> ReferenceSample:
    """The corrupted images that are stored in ``folder`` as a reference sample.

    Those in ``folder``/``corruption``/``severity``, as ImageNet-C has them; or, as CIFAR-10-C, one
    fifth of the array ``folder``/``corruption``.npy, uint8 (5·images, height, width, channels) by
    severity, with the classes in labels.npy. Of an array only ``limit`` and ``seed`` apply, and
    images are named as ``from_dataset`` names the clean ones.

    ``corruption`` may be any folder there, one of CORRUPTIONS or not. The other arguments are
    those of ``ReferenceSample.from_folder``; ImageNet-C is stored resized, so only the crop
    is left to do. Images are named class/file: with the same ``limit`` and ``seed`` they are
    those that ``from_folder`` takes of the clean images, if these have the same folders.

    Raises SettingsError for a corruption that is not there or a severity outside 1 to 5;
    ReferenceSampleError when there are no such folders or images.
    """
    root = Path(folder)
    check_severity(severity)
    check_folder(root, "corruption/severity/class/file")
    if (root / LABELS).is_file():
        arrays = [path.stem for path in sorted(root.glob("*.npy")) if path.name != LABELS]
        check_corruption(corruption, arrays)
        pairs = _fifth(root, corruption, severity)
        return ReferenceSample.from_dataset(pairs, limit=limit, seed=seed)
    there = sorted({path.parent.name for path in root.glob("*/[1-5]")})
    if not there:
        raise ReferenceSampleError(
            f"{root} holds no corrupted images; expected ImageNet-C's layout, "
            f"corruption/severity/class/file, such as {corruption}/{severity}, or CIFAR-10-C's, "
            f"{corruption}.npy beside {LABELS}"
        )
    check_corruption(corruption, there)
    chosen: Any = {"labels": labels, "resize": resize, "crop": crop, "limit": limit, "seed": seed}
    return ReferenceSample.from_folder(root / corruption / str(severity), **chosen)


def _fifth(folder: Path, corruption: str, severity: int) -> list[tuple[NDArray[Any], int]]:
    """The images of one severity in an array of five, with their labels; read when looked at."""
    path = folder / f"{corruption}.npy"
    images, labels = _array(path), _array(folder / LABELS)
    count = len(images) // len(SEVERITIES) if images.ndim else 0
    if images.ndim != 4 or images.dtype != np.uint8 or count * len(SEVERITIES) != len(images):
        raise ReferenceSampleError(
            f"{path} holds {images.dtype} of shape {images.shape}; expected uint8 (5·images, "
            "height, width, channels), the severities one after the other"
        )
    if labels.dtype.kind not in "iu":
        raise ReferenceSampleError(
            f"{folder / LABELS} holds {labels.dtype}; expected whole numbers, the classes"
        )
    if labels.shape not in ((count,), (len(images),)):
        raise ReferenceSampleError(
            f"{folder / LABELS} has shape {labels.shape} for {len(images)} images in "
            f"{path.name}; expected a class for each of them, or for each of one severity"
        )
    some = slice((severity - 1) * count, severity * count)
    chosen = labels if len(labels) == count else labels[some]
    pairs = zip(images[some].transpose(0, 3, 1, 2), chosen, strict=True)
    return [(image, int(label)) for image, label in pairs]


def _array(path: Path) -> NDArray[Any]:
    try:
        check_file(path, LARGEST)
        found = np.load(path, mmap_mode="r", allow_pickle=False)
        if not isinstance(found, np.ndarray):
            raise ValueError("it is an archive of arrays")
        return found
    except Exception as error:  # Damaged files fail in as many ways as there are parsers.
        raise ReferenceSampleError(
            f"{path} cannot be read as an array ({one_line(error)}); restore it"
        ) from error

"""Corrupted images that lie on disk in ImageNet-C's layout: corruption/severity/class/file."""

from __future__ import annotations

from pathlib import Path

from pytest_iaside.data.reference import ReferenceSample
from pytest_iaside.errors import ReferenceSampleError
from pytest_iaside.perturb.corruptions import check_corruption, check_severity


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
    """The images in ``folder``/``corruption``/``severity`` as a reference sample.

    ``corruption`` may be any folder there, one of CORRUPTIONS or not. The other arguments are
    those of ``ReferenceSample.from_folder``; ImageNet-C is stored resized, so only the crop
    is left to do. Images are named class/file: with the same ``limit`` and ``seed`` they are
    those that ``from_folder`` takes of the clean images, if these have the same folders.

    Raises SettingsError for a corruption that is not there or a severity outside 1 to 5;
    ReferenceSampleError when there are no such folders or images.
    """
    root = Path(folder)
    check_severity(severity)
    if not root.is_dir():
        found = "is a file" if root.exists() else "does not exist"
        raise ReferenceSampleError(
            f"{root} {found}; give the folder that holds corruption/severity/class/file"
        )
    there = sorted({path.parent.name for path in root.glob("*/[1-5]")})
    if not there:
        raise ReferenceSampleError(
            f"{root} holds no corrupted images; expected ImageNet-C's layout, "
            f"corruption/severity/class/file, such as {corruption}/{severity}"
        )
    check_corruption(corruption, there)
    return ReferenceSample.from_folder(
        root / corruption / str(severity),
        labels=labels,
        resize=resize,
        crop=crop,
        limit=limit,
        seed=seed,
    )

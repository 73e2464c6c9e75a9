"""Images of different sizes, read once and told apart."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from pytest_iaside.errors import SettingsError, quoted
from pytest_iaside.images import datasets, sources
from pytest_iaside.images.loaded import Loaded
from pytest_iaside.images.storing import Size


def read_by_size(source: Any, settings: dict[str, Any]) -> dict[Size, Loaded]:
    """What ``ReferenceSample.by_size`` promises, as arrays."""
    named = isinstance(source, (str, Path))
    as_csv = named and Path(source).suffix.lower() == ".csv" and not Path(source).is_dir()
    reading = sources.Reading if named else datasets.Reading
    others: dict[str, Any] = {}
    if as_csv:
        others = {"root": None, "labels": "auto", "groups": "auto"}
    elif named:
        others = {"labels": "folder", "groups": None}
    given = {key: settings.pop(key, usual) for key, usual in others.items()}
    known = {each.name for each in fields(reading)} - {"by_size"}
    if unknown := sorted(settings.keys() - known):
        raise SettingsError(
            f"by_size has no setting {quoted(unknown[0])} for such a source; it takes "
            f"{', '.join(sorted(known | others.keys()))}"
        )
    chosen: Any = reading(**{"resize": None, "crop": None, **settings, "by_size": True})
    if as_csv:
        root = None if given["root"] is None else Path(given.pop("root"))
        found = sources.read_csv(Path(source), chosen, **{**given, "root": root})
    elif named:
        found = sources.read_folder(Path(source), chosen, **given)
    else:
        found = datasets.read_dataset(source, chosen)
    return {size: _of_size(found, size) for size in found.images}


def _of_size(loaded: Loaded, size: Size) -> Loaded:
    images, places = loaded.images[size]

    def some(values: Any) -> Any:
        return None if values is None else [values[place] for place in places]

    note = (
        f"these {len(places)} images are {size[0]}×{size[1]} pixels, of {len(loaded.names)} images "
        f"in {len(loaded.images)} sizes: they are compared with images of this size only",
    )
    return Loaded(
        images,
        some(loaded.labels),
        some(loaded.names),
        some(loaded.groups),
        (*note * (len(loaded.images) > 1), *loaded.notes),
        some(loaded.digests),
    )

"""One item of a dataset: which part of it is the image, which the label, and what these become."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pytest_iaside.errors import ReferenceSampleError, one_line, quoted
from pytest_iaside.images.arrays import check_channels
from pytest_iaside.images.pictures import PictureReader, UnreadableImage, is_deep, pixels_of
from pytest_iaside.images.values import IMAGE_TYPES, RANGED_TYPES, in_range, range_advice

AUTO = "auto"
LABEL_NAMES = ("label", "labels", "class", "target", "fine_label")
Key = str | int
EXPECTED = (
    "expected a PIL image, or a (channels, height, width) tensor or array of uint8 or of float in "
    "[0, 1]"
)


@dataclass(frozen=True)
class Row:
    """One image of a dataset as it was given, its label, its name if it has one, and its group."""

    image: Any
    label: Any = None
    name: str | None = None
    group: Any = None


@dataclass(frozen=True)
class Parts:
    """Where the parts of an item are: keys of a dict, places in a tuple, or None for no such part.

    ``image`` None: the item is the image.
    """

    image: Key | None
    label: Key | None
    group: Key | None = None
    metadata: bool = False
    columns: bool = False

    @classmethod
    def of(cls, item: Any, image: Any, label: Any, group: Any, typed: Mapping[str, str]) -> Parts:
        """Those of items like ``item``, as they were named or found.

        ``typed`` are the types of columns, where the dataset tells them. Raises
        ReferenceSampleError where there is none such, or more than one.
        """
        if isinstance(item, Mapping):
            return _columns(item, image, label, group, typed)
        if isinstance(item, (tuple, list)):
            return _places(item, image, label, group)
        if image != AUTO or label not in (AUTO, None) or group is not None:
            raise ReferenceSampleError(
                f"the items of the dataset are of type {type(item).__name__} and have no parts; "
                "leave image, label and the name of a column of groups out"
            )
        return cls(None, None)

    def row(self, item: Any, name: str) -> Row:
        """The parts of ``item``, which messages call ``name``."""
        kinds = (Mapping,) if self.columns else (tuple, list)
        parted = isinstance(item, (Mapping, tuple, list))
        if self.image is None and not parted:
            return Row(item)
        if self.image is None or not isinstance(item, kinds):
            first = "an image alone" if self.image is None else "one with parts"
            raise ReferenceSampleError(
                f"{name} is a {type(item).__name__}, but the first item of the dataset is {first}: "
                "only one of them has a label; give all of them one, or none"
            )
        parts: Any = item
        keys = (self.image, self.label, self.group)
        try:
            image, label, group = (None if key is None else parts[key] for key in keys)
        except (KeyError, IndexError, TypeError) as error:
            found = f"the columns {_named(item)}" if isinstance(item, Mapping) else quoted(item)
            raise ReferenceSampleError(
                f"{name} has {found}, and not all parts of the first image; give each the same"
            ) from error
        told = parts[2].get("id") if self.metadata else None
        return Row(image, label, None if told is None else _told(told), group)


def rows_of(batch: Row) -> Iterator[Row]:
    """The rows of a batch, or the row itself where it holds one image.

    Raises ReferenceSampleError where there are not as many labels as images.
    """
    images, labels, groups = batch.image, batch.label, batch.group
    if not isinstance(images, (list, tuple)) and getattr(images, "ndim", 3) != 4:
        yield batch
        return
    for what, parts in (("labels", labels), ("groups", groups)):
        several = hasattr(parts, "__len__") and getattr(parts, "ndim", 1) > 0
        if parts is not None and not (several and len(parts) == len(images)):
            raise ReferenceSampleError(
                f"a batch has {len(images)} images, but its {what} are {quoted(parts)}; give one "
                "for each image"
            )
    for at, image in enumerate(images):
        yield Row(image, *(None if each is None else each[at] for each in (labels, groups)))


@dataclass(eq=False)
class RowReader:
    """Makes arrays of images that a dataset yields; ``reader`` says how pictures are read.

    Without ``channels`` grey pictures stay one channel, as the model of such a dataset expects, and
    palettes, transparency and the like become RGB.
    """

    reader: PictureReader
    channels: int | None
    channels_last: bool | None

    def pixels(self, image: Any, name: str) -> NDArray[Any]:
        """``image`` as (C, H, W); without a range, its values are not looked at.

        Raises UnreadableImage where a picture cannot be decoded, ReferenceSampleError where it is
        no image.
        """
        found = self._picture(image, name) if _is_picture(image) else self._array(image, name)
        return self.reader.fitted(found, name)

    def _picture(self, image: Any, name: str) -> Tensor:
        deep = is_deep(image)
        if deep and self.reader.value_range is None:
            raise ReferenceSampleError(
                f"{name} is a picture of mode {image.mode}, with more than 8 bits a pixel; give "
                "range=(low, high), the values that become 0 and 1, such as (0, 65535)"
            )
        mode = self.reader.mode
        if self.channels is None:
            mode = "L" if image.mode == "L" or deep else "RGB"
        try:
            image.load()
            return pixels_of(image, name, mode, self.reader.value_range)
        except ReferenceSampleError:
            raise
        except Exception as error:  # Decoders raise a dozen kinds on broken files.
            raise UnreadableImage(f"{name} cannot be read ({one_line(error)})") from error

    def _array(self, image: Any, name: str) -> Tensor:
        if isinstance(image, Tensor):
            image = image.detach().cpu()
            kind = str(image.dtype).removeprefix("torch.")
            array = image.numpy() if kind in RANGED_TYPES else np.empty(image.shape, np.bool_)
        elif hasattr(image, "__array__"):
            array = np.asarray(image)
            kind = array.dtype.name
        else:
            raise ReferenceSampleError(f"{name} is {_kind(image)}; {EXPECTED}{_advice(image)}")
        pair = self.reader.value_range
        if kind not in (IMAGE_TYPES if pair is None else RANGED_TYPES):
            shown = f"torch.{kind}" if isinstance(image, Tensor) else kind
            raise ReferenceSampleError(f"{name} is {shown}; {EXPECTED}: {range_advice(kind)}")
        if array.ndim != 3 or 0 in array.shape:
            raise ReferenceSampleError(
                f"{name} has type {array.dtype} and shape {array.shape}; {EXPECTED}"
            )
        if self.channels_last:
            array = array.transpose(2, 0, 1)
        check_channels(array.shape, self.channels_last, f"{name} has", array.shape)
        array = array.astype(array.dtype.newbyteorder("="), copy=False)
        if pair is not None:
            array = in_range(array, pair, name)
        elif array.dtype.kind == "f":
            array = array.astype(np.float32)
        return torch.from_numpy(np.require(array, requirements=["C", "W"]))


def _columns(
    item: Mapping[Any, Any], image: Any, label: Any, group: Any, typed: Mapping[str, str]
) -> Parts:
    for setting, key in (("image", image), ("label", label), ("groups", group)):
        if key not in (AUTO, None) and key not in item:
            raise ReferenceSampleError(
                f"{setting}={quoted(key)} names no column of the dataset; it has {_named(item)}"
            )
    if image == AUTO:
        found = [key for key in item if typed.get(key) == "Image" or _is_image(item[key])]
        if len(found) != 1:
            told = (
                f"{' and '.join(map(str, found))} look like images"
                if found
                else (
                    "none of them holds a PIL image, a tensor or an array (channels, height, width)"
                )
            )
            raise ReferenceSampleError(
                f"the dataset has the columns {_named(item)}, and {told}; give image=<the name of "
                "the column of images>" + "".join(_advice(each) for each in item.values())
            )
        image = found[0]
    if label == AUTO:
        others = [key for key in item if key not in (image, group)]
        named = [key for key in others if str(key).lower() in LABEL_NAMES]
        found = [key for key in others if typed.get(key) == "ClassLabel"] or named
        if len(found) != 1 and others:
            told = (
                f"{' and '.join(map(str, found))} look like labels"
                if found
                else (f"none is called {', '.join(LABEL_NAMES[:-1])} or {LABEL_NAMES[-1]}")
            )
            raise ReferenceSampleError(
                f"the dataset has the columns {_named(item)}, and {told}; give label=<the name of "
                "the column of class indices>, or label=None for the model's own predictions"
            )
        label = found[0] if found else None
    return Parts(image, label, group, columns=True)


def _places(item: Sequence[Any], image: Any, label: Any, group: Any) -> Parts:
    if isinstance(group, str):
        raise ReferenceSampleError(
            f"groups are {quoted(group)}, but the dataset has no columns; give one string or whole "
            "number for each item of the whole dataset, or a function of an item's index"
        )
    for setting, place in (("image", image), ("label", label), ("groups", group)):
        whole = isinstance(place, int) and not isinstance(place, bool)
        if place not in (AUTO, None) and not (whole and 0 <= place < len(item)):
            raise ReferenceSampleError(
                f"{setting}={quoted(place)} is no place in a {type(item).__name__} of "
                f"{len(item)} parts; give 0 to {len(item) - 1}"
            )
    # MAITE's: image, target, and a dict with the image's id.
    triple = len(item) == 3 and isinstance(item[2], Mapping)
    if (image == AUTO or label == AUTO) and len(item) not in (1, 2) and not triple:
        raise ReferenceSampleError(
            f"image 0 is a {type(item).__name__} of {len(item)} parts; expected an image or a pair "
            "(image, label): say which part is which with image=0, label=1 (or label=None)"
        )
    if label == AUTO:
        label = 1 if len(item) > 1 else None
    return Parts(0 if image == AUTO else image, label, group, triple)


def _is_picture(value: Any) -> bool:
    return hasattr(value, "convert") and hasattr(value, "mode")


def _is_image(value: Any) -> bool:
    return _is_picture(value) or (
        hasattr(value, "__array__") and getattr(value, "ndim", 0) in (3, 4)
    )


def _named(item: Mapping[Any, Any]) -> str:
    return ", ".join(map(str, item))


def _told(identity: Any) -> str:
    return identity if isinstance(identity, str) else f"image {identity}"


def _kind(value: Any) -> str:
    return f"a {type(value).__name__}"


def _advice(value: Any) -> str:
    """What else can be done about an image that was given as ``value``."""
    if isinstance(value, Mapping) and {"bytes", "path"} <= set(value):
        return "; it is not decoded: leave Image(decode=False) out"
    if isinstance(value, list) and value and isinstance(value[0], list):
        return "; of arrays in lists make some with dataset.with_format('numpy')"
    return ""

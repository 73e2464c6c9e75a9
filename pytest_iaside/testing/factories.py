"""Models and reference samples named by text, in an ini file or on a command line."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_iaside.errors import ModelError, ReferenceSampleError, SettingsError

if TYPE_CHECKING:
    from pytest_iaside.images.reference import ReferenceSample
    from pytest_iaside.models.classifier import Classifier

FACTORY = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
EXPECTED_REFERENCE = (
    "a folder of images, a CSV file of paths, hf://owner/name/split, or package.module:factory"
)


def named_model(text: str, base: Path) -> Classifier:
    """The classifier that ``package.module:factory`` makes, or that an .onnx file holds.

    Paths are relative to ``base``. Raises SettingsError where ``text`` is neither, ModelError
    where what it names is no classifier.
    """
    from pytest_iaside.models.classifier import as_classifier

    if text.endswith(".onnx"):
        return as_classifier(base / text)
    return as_classifier(_made(text))


def named_models(text: str, base: Path) -> tuple[Classifier, ...]:
    """As ``named_model``, of a factory that may return a list of trainings of one recipe."""
    from pytest_iaside.models.classifier import as_classifier
    from pytest_iaside.testing.trainings import trainings_in

    if text.endswith(".onnx"):
        return (as_classifier(base / text),)
    return tuple(as_classifier(each) for each in trainings_in(_made(text)))


def named_reference(text: str, base: Path, **how: Any) -> ReferenceSample:
    """The sample that ``text`` names: images in a folder, a CSV file or a dataset, or a factory.

    ``how`` are keywords of ``ReferenceSample.from_folder``, ``.from_csv`` or ``.from_dataset``;
    ``labels`` is a word (``none``, or ``folder`` of a folder), a CSV file of a folder, or the name
    of a column. Paths are relative to ``base``. Raises SettingsError where ``text`` is none of
    these or ``how`` does not apply, ReferenceSampleError where it names no reference sample.
    """
    from pytest_iaside.images import hub
    from pytest_iaside.images.reference import ReferenceSample

    path = base / text
    labels = how.pop("labels", None)
    if text.startswith(hub.HUB) or hub.is_saved(path):
        found = hub.hub_dataset(text) if text.startswith(hub.HUB) else hub.saved_dataset(path)
        return ReferenceSample.from_dataset(found, **_named(labels, "label"), **how)
    if text.lower().endswith(".csv") and not path.is_dir():
        return ReferenceSample.from_csv(path, **_named(labels, "labels"), **how)
    if not path.is_dir() and FACTORY.fullmatch(text):
        if labels is not None or how:
            raise SettingsError(
                f"labels, groups and limits are for folders of images, but {text} makes its own "
                "sample; let the factory choose its images, labels and groups"
            )
        made = named_object(text, "a reference sample", EXPECTED_REFERENCE)
        if not isinstance(made, ReferenceSample):
            raise ReferenceSampleError(
                f"{text} returned a {type(made).__name__}; it must return a ReferenceSample"
            )
        return made
    words: dict[str | None, str | None] = {None: "folder", "folder": "folder", "none": None}
    from_folder = words[labels] if labels in words else base / str(labels)
    return ReferenceSample.from_folder(path, labels=from_folder, **how)


def _named(labels: str | None, keyword: str) -> dict[str, Any]:
    """The column ``labels`` as a keyword; the word none is no labels, and None the default."""
    return {} if labels is None else {keyword: None if labels == "none" else labels}


def _made(text: str) -> Any:
    made = named_object(text, "a model", "package.module:factory, or the path of an .onnx file")
    if made is None:
        raise ModelError(f"{text} returned None; it must return the model")
    return made


def named_object(text: str, what: str, expected: str) -> Any:
    """What the factory ``package.module:factory`` returns; what it raises itself is not touched.

    Raises SettingsError where ``text`` names none, saying that it should be ``what``.
    """
    if not FACTORY.fullmatch(text):
        raise SettingsError(f"{text!r} names no {what.removeprefix('a ')}; expected {expected}")
    module_name, _, path = text.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        # A missing module that the user's module imports is an error of theirs, shown as it is.
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise SettingsError(
            f"{text!r}: there is no module {error.name!r} on the import path; check the name, or "
            "add its folder (pytest's ini key pythonpath, or PYTHONPATH)"
        ) from error
    for part in path.split("."):
        if not hasattr(found, part):
            raise SettingsError(f"{text!r}: {module_name} has no {path!r}; check the name")
        found = getattr(found, part)
    if not callable(found):
        raise SettingsError(
            f"{text!r} is a {type(found).__name__}; name a function that makes {what}"
        )
    return found()

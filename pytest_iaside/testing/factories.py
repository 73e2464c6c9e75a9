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


def named_reference(
    text: str,
    base: Path,
    *,
    labels: str | None = None,
    groups: str | None = None,
    limit: int | None = None,
    seed: int | None = None,
) -> ReferenceSample:
    """The sample that ``package.module:factory`` makes, or that lies in a folder of images.

    ``labels`` (``folder``, which is the default, ``none``, or a CSV file), ``groups``, ``limit``
    and ``seed`` are those of ``ReferenceSample.from_folder``. Paths are relative to ``base``.
    Raises SettingsError where ``text`` is neither or the rest does not apply to a factory,
    ReferenceSampleError where what it names is no reference sample.
    """
    from pytest_iaside.images.reference import ReferenceSample

    folder = base / text
    if not folder.is_dir() and FACTORY.fullmatch(text):
        if (labels, groups, limit, seed) != (None,) * 4:
            raise SettingsError(
                f"labels, groups and limits are for folders of images, but {text} makes its own "
                "sample; let the factory choose its images, labels and groups"
            )
        made = named_object(
            text, "a reference sample", "a folder of images or package.module:factory"
        )
        if not isinstance(made, ReferenceSample):
            raise ReferenceSampleError(
                f"{text} returned a {type(made).__name__}; it must return a ReferenceSample"
            )
        return made
    words: dict[str | None, str | None] = {None: "folder", "folder": "folder", "none": None}
    wanted = words[labels] if labels in words else base / str(labels)
    return ReferenceSample.from_folder(folder, labels=wanted, groups=groups, limit=limit, seed=seed)


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

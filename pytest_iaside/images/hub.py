"""Datasets of Hugging Face, named by text or saved in a folder."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

from pytest_iaside.checks import library
from pytest_iaside.errors import ReferenceSampleError, one_line

HUB = "hf://"
FORM = "hf://owner/name[@revision][:config]/split"
NAMED = re.compile(
    r"hf://(?P<name>[\w.-]+/[\w.-]+)(?:@(?P<revision>[^:/]+))?(?::(?P<config>[^/]+))?"
    r"(?:/(?P<split>.+))?"
)
# What Dataset.save_to_disk and DatasetDict.save_to_disk write.
SAVED, SAVED_SPLITS = "state.json", "dataset_dict.json"


def is_saved(folder: Path) -> bool:
    """Whether ``folder`` is what ``save_to_disk`` of the library datasets wrote."""
    whole = (folder / SAVED).is_file() and (folder / "dataset_info.json").is_file()
    return whole or (folder / SAVED_SPLITS).is_file()


def saved_dataset(folder: Path) -> Any:
    """The dataset that was saved in ``folder``; raises ReferenceSampleError."""
    if (folder / SAVED_SPLITS).is_file():
        splits = sorted(path.parent.name for path in folder.glob(f"*/{SAVED}"))
        raise ReferenceSampleError(
            f"{folder} holds a DatasetDict with the splits {', '.join(splits)}; name one of them: "
            f"{folder / (splits[0] if splits else 'test')}"
        )
    return _loaded("load_from_disk", f"the dataset in {folder}", str(folder))


def hub_dataset(text: str) -> Any:
    """The dataset that ``text``, such as ``hf://owner/name/test``, names.

    It comes from the library's cache if it is there. Raises ReferenceSampleError.
    """
    named = NAMED.fullmatch(text)
    if named is None:
        raise ReferenceSampleError(f"{text!r} names no dataset; expected {FORM}")
    if named["split"] is None:
        raise ReferenceSampleError(f"{text!r} names no split; expected {FORM}, such as {text}/test")
    how = {"name": named["config"], "revision": named["revision"], "split": named["split"]}
    return _loaded("load_dataset", text, named["name"], **how)


def _loaded(function: str, told: str, name: str, /, **how: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Of the library about its own dependencies.
        datasets = library(
            "datasets",
            f"to read {told}",
            error=ReferenceSampleError,
            install="'pytest-iaside[datasets]'",
        )
        try:
            return getattr(datasets, function)(name, **how)
        except Exception as error:  # Of the network, of the hub, of a dozen formats.
            raise ReferenceSampleError(
                f"{told} cannot be loaded ({one_line(error)}); check the name, the config and the "
                "split, or load it yourself in a factory with ReferenceSample.from_dataset"
            ) from error

"""Checkpoints: which files there are, and what is in them, read without running code of theirs."""

import glob
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from pytest_iaside.checks import is_number, library
from pytest_iaside.errors import ModelError, SettingsError, one_line, shortened
from pytest_iaside.store.files import check_file

TORCH = (".pt", ".pth", ".ckpt", ".bin")
SAFETENSORS = ".safetensors"
# Bytes: larger than any, so that only the kind of file counts.
LARGEST = 2**50
# What trainers call the numbers they save beside the weights, the most telling first.
STEPS = ("epoch", "current_epoch", "global_step", "step", "iteration", "iter")
ACCURACIES = (
    *("val_acc", "val_accuracy", "valid_acc", "test_acc", "test_accuracy"),
    *("val_acc1", "acc1", "top1", "accuracy", "acc"),
)
LOSSES = ("val_loss", "valid_loss", "test_loss", "loss", "train_loss")
# Where else than at the top they may stand.
APART = ("meta", "metrics", "info", "stats", "logs")


@dataclass(frozen=True, eq=False, kw_only=True)
class Checkpoint:
    """A file of weights, without them.

    ``numbers`` are those saved beside the weights that go by a name of STEPS, ACCURACIES or
    LOSSES; ``unreadable`` says why the file cannot be read, and is empty where it can.
    """

    path: Path
    step: int
    numbers: Mapping[str, float]
    unreadable: str = ""

    @property
    def accuracy(self) -> float | None:
        """What the trainer logged, from 0 to 1; what is greater than 1 counts as percent."""
        found = self._first(ACCURACIES)
        if found is None or not 0 <= found <= 100:
            return None
        return found / 100 if found > 1 else found

    @property
    def loss(self) -> float | None:
        return self._first(LOSSES)

    def _first(self, names: Sequence[str]) -> float | None:
        return next((self.numbers[name] for name in names if name in self.numbers), None)


def find_checkpoints(patterns: Sequence[str]) -> list[Checkpoint]:
    """The checkpoints that ``patterns`` name, ``**`` for any folders, in their natural order.

    A checkpoint's step is the epoch or step that it holds; else the last whole number of its
    file's name, or of its folders'; else its place in the order. Of these the first counts that
    tells all of them apart.

    Raises SettingsError for a pattern that names no file.
    """
    found: set[Path] = set()
    for pattern in patterns:
        # A file's own name may hold the characters of patterns.
        names = [pattern] if Path(pattern).is_file() else glob.glob(pattern, recursive=True)
        files = [Path(name) for name in names if not Path(name).is_dir()]
        if not files:
            raise SettingsError(
                f"{pattern!r} names no checkpoint: there is no such file; check the path, and "
                "quote the pattern"
            )
        found.update(files)
    paths = sorted(found, key=lambda path: _natural(path.as_posix()))
    numbers, unreadable = dict[Path, dict[str, float]](), dict[Path, str]()
    for path in paths:
        try:
            numbers[path] = _numbers(read_checkpoint(path, only_numbers=True))
        except ModelError as error:
            unreadable[path] = str(error)
        except Exception as error:  # One that is odd does not end the others.
            unreadable[path] = f"{path} cannot be read as a checkpoint ({one_line(error)})"
    return [
        Checkpoint(
            path=path, step=step, numbers=numbers.get(path, {}), unreadable=unreadable.get(path, "")
        )
        for path, step in zip(paths, _steps(paths, numbers), strict=True)
    ]


def read_checkpoint(path: Path, *, only_numbers: bool = False) -> Mapping[str, Any]:
    """What the file ``path`` holds; with ``only_numbers`` its tensors may not be used.

    Raises ModelError where it cannot be read, and where that would run code which is in it.
    """
    suffix = path.suffix.lower()
    if suffix not in (*TORCH, SAFETENSORS):
        raise ModelError(
            f"{path} is no checkpoint by its name; expected {', '.join(TORCH)} or {SAFETENSORS}"
        )
    try:
        check_file(path, LARGEST)
        read = _safetensors if suffix == SAFETENSORS else _torch
        content = read(path, only_numbers)
    except pickle.UnpicklingError as error:
        # What the pickle would have called stands in torch's own message.
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f"would call {named[1]}" if named else "holds more than weights and plain values"
        raise ModelError(
            f"{path} was refused: it {what}, and loading it could run any code; save weights "
            "alone, torch.save(model.state_dict(), path), or use safetensors"
        ) from error
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or one_line(error)}") from error
    except ModelError:
        raise
    except Exception as error:  # Damaged files fail in as many ways as there are parsers.
        brief = shortened(one_line(error), 120)
        raise ModelError(
            f"{path} cannot be read as a checkpoint, it is damaged or none ({brief}); write it "
            "again, or leave it out"
        ) from error
    if not isinstance(content, Mapping):
        raise ModelError(
            f"{path} holds a {type(content).__name__}, expected the weights by their names; save "
            "model.state_dict()"
        )
    return content


def _natural(text: str) -> list[tuple[int, int, str]]:
    """A key by which epoch2 comes before epoch10."""
    parts = re.split(r"([0-9]+)", text)
    return [(1, int(part), part) if part.isdigit() else (0, 0, part) for part in parts]


def _steps(paths: Sequence[Path], numbers: Mapping[Path, Mapping[str, float]]) -> list[int]:
    """The step of each of ``paths``; ``numbers`` are those in the files that can be read."""
    own = [
        *([_whole(numbers.get(path, {}).get(name)) for path in paths] for name in STEPS),
        [_last_number(path.stem) for path in paths],
    ]
    folders = [_last_number(path.parent.as_posix()) for path in paths]

    def different(steps: Sequence[int | None]) -> int:
        """How many there are, 0 where a readable file has none."""
        found = {step for path, step in zip(paths, steps, strict=True) if path in numbers}
        return 0 if None in found else len(found)

    apart = (each for each in (*own, folders) if different(each) == len(numbers))
    # The order tells everything apart. But an epoch that two files share, such as the best
    # one's, says more: whoever measures them sees whether they are the same.
    shared = (each for each in own if different(each))
    chosen = next(apart, None) or next(shared, range(len(paths)))
    return [place if step is None else step for place, step in enumerate(chosen)]


def _last_number(text: str) -> int | None:
    """The last whole number of ``text``: 12 of "epoch=12-loss=0.25"."""
    whole = [each for each in re.findall(r"[0-9]+(?:\.[0-9]+)?", text) if "." not in each]
    return int(whole[-1]) if whole and len(whole[-1]) < 19 else None


def _whole(value: float | None) -> int | None:
    return None if value is None or value != int(value) else int(value)


def _numbers(content: Mapping[str, Any]) -> dict[str, float]:
    parts = [content, *(content[name] for name in APART if name in content)]
    return {
        name: number
        for part in reversed(parts)  # Of several numbers the first counts.
        if isinstance(part, Mapping)
        for name in (*STEPS, *ACCURACIES, *LOSSES)
        if (number := _number(part.get(name))) is not None
    }


def _number(value: Any) -> float | None:
    if isinstance(value, torch.Tensor) and value.numel() == 1 and not value.is_complex():
        with suppress(RuntimeError, NotImplementedError):  # One on the meta device has no value.
            value = value.item()
    if not is_number(value) or not abs(value) < 2**63:  # NaN and infinity are none.
        return None
    return float(value)


def _torch(path: Path, only_numbers: bool) -> Any:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if any(each.compress_type != zipfile.ZIP_STORED for each in archive.infolist()):
                raise ValueError("it is compressed, as torch.save never does")
    load = partial(torch.load, path, map_location="cpu", weights_only=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pickle protocols, and of what is refused anyway
        if only_numbers:
            # Nothing of the tensors is read. They are not used either: a file that a trainer
            # writes anew while it is mapped ends the process. Older files cannot be mapped.
            with suppress(RuntimeError, ValueError):
                return load(mmap=True)
        return load()


def _safetensors(path: Path, only_numbers: bool) -> Any:
    safetensors = library("safetensors", f"for {path}", error=ModelError)
    with safetensors.safe_open(path, framework="pt") as file:
        beside: dict[str, Any] = dict(file.metadata() or {})
        for name, text in beside.items():
            with suppress(ValueError):
                beside[name] = float(text)
        names = [] if only_numbers else file.keys()
        return {**beside, "state_dict": {name: file.get_tensor(name) for name in names}}

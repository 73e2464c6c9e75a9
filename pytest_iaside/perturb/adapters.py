"""Attacks of other libraries, which are imported when an attack is first used.

Neither library is a dependency: torchattacks 3.5.1 asks for a release of requests that other
libraries refuse, and is best installed with ``pip install --no-deps torchattacks``.
"""

import difflib
import hashlib
import inspect
import random
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pytest_iaside.checks import library
from pytest_iaside.errors import SettingsError, one_line
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.perturb.attacks import Attack


def from_torchattacks(name: str, *, seed: int = 0, **options: Any) -> Attack:
    """The attack ``name`` of torchattacks, such as ``SparseFool``, ``Pixle`` or ``AutoAttack``.

    ``options`` are the library's own. Images are attacked one at a time, with random numbers that
    depend on the image and ``seed`` only. Calling it raises SettingsError where torchattacks is
    missing, or has no such attack or option.
    """
    return ForeignAttack("torchattacks", name, seed, options)


def from_pyautoattack(*, seed: int = 0, **options: Any) -> Attack:
    """AutoAttack of pyautoattack, as ``from_torchattacks``. Croce and Hein, ICML 2020."""
    return ForeignAttack("pyautoattack", "AutoAttack", seed, options)


@dataclass(frozen=True)
class ForeignAttack:
    """An attack by its library's name for it; see ``from_torchattacks``."""

    library: str
    name: str
    seed: int
    options: dict[str, Any]

    @property
    def __name__(self) -> str:
        return f"{self.library}.{self.name}"

    def __call__(self, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        kind = self._kind()
        made = []
        for at, digest in enumerate(ReferenceSample(images).digests):
            seed = int.from_bytes(
                hashlib.sha256(f"{self.seed} {digest}".encode()).digest()[:4], "big"
            )
            one = slice(at, at + 1)
            with _seeded(seed, images.device):
                made.append(self._run(kind, model, images[one], labels[one], seed))
        return torch.cat(made)

    def _run(self, kind: Any, model: nn.Module, image: Tensor, label: Tensor, seed: int) -> Tensor:
        known = inspect.signature(kind).parameters
        given: dict[str, Any] = {"seed": seed, "device": image.device}
        if "n_classes" in known and "n_classes" not in self.options:
            # torchattacks takes ten classes for granted.
            with torch.no_grad():
                given["n_classes"] = model(image).shape[1]
        usable = {option: value for option, value in given.items() if option in known}
        try:
            # torchattacks prints that plain functions have no device, which is set below.
            with redirect_stdout(None):
                attack = kind(model, **usable | self.options)
        except (TypeError, ValueError, AssertionError) as error:
            names = ", ".join(option for option in known if option != "model")
            raise SettingsError(
                f"{self.__name__} refuses {self.options!r} ({one_line(error)}); its options "
                f"are {names}"
            ) from error
        found: Tensor
        if self.library == "pyautoattack":
            found, _ = attack.run_standard_evaluation(image, label, batch_size=1)
        else:
            attack.set_device(image.device)
            found = attack(image, label)
        return found

    def _kind(self) -> Any:
        how = f"--no-deps {self.library}"
        found = library(self.library, "for this attack", error=SettingsError, install=how)
        kind = getattr(found, self.name, None)
        if not inspect.isclass(kind):
            attacks = [name for name, value in vars(found).items() if inspect.isclass(value)]
            near = difflib.get_close_matches(self.name, attacks, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise SettingsError(
                f"{self.library} has no attack {self.name!r}; {hint}"
                f"It has {', '.join(sorted(attacks))}"
            )
        return kind


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """The generators that libraries share, seeded; and as they were afterwards."""
    plain, numpys = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        try:
            random.seed(seed)
            np.random.seed(seed)
            torch.manual_seed(seed)
            yield
        finally:
            random.setstate(plain)
            np.random.set_state(numpys)

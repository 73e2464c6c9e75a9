"""What perturbations do to a model's answers, image by image, kept from one run to the next."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from pytest_iaside.errors import SettingsError
from pytest_iaside.execute.execution import Execution
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.measure.answers import Perturbation, answers, labels_of
from pytest_iaside.measure.metrics import correct, prediction_errors
from pytest_iaside.models.classifier import Classifier
from pytest_iaside.models.identity import identity
from pytest_iaside.stats.arrays import Floats

# Raised whenever what is kept, or what is computed from a model, changes.
VERSION = 1


@dataclass(frozen=True, eq=False, kw_only=True)
class Robustness:
    """One model's answers to K images, clean and under P perturbations.

    ``errors`` (P, K) are |Q(y|x) − Q(y|x*)|, whose means are mPE (SPEC.md 2, eq. 12); ``right``
    (K,) and ``right_perturbed`` (P, K) are 1 where the likeliest class is the label.
    """

    errors: Floats
    right: Floats
    right_perturbed: Floats

    @property
    def drops(self) -> Floats:
        """What each image (P, K) adds to the drop in accuracy: its mean is the drop."""
        return np.asarray(self.right - self.right_perturbed)


def robustness(
    classifier: Classifier,
    reference: ReferenceSample,
    perturbations: Mapping[str, Perturbation],
    *,
    seed: int,
    execution: Execution,
    folder: Path | None,
) -> Robustness:
    """How ``perturbations`` move the answers of ``classifier``; raises as ``answers``.

    What is found is kept in ``folder``, where there is one and the model can be told from any
    other (models/identity.py), and taken from there the next time.
    """
    path = None
    if folder is not None and (model := identity(classifier)) is not None:
        facts = {
            "version": VERSION,
            "torch": str(torch.__version__),
            "model": model,
            "images": reference.digests,
            "sample": reference.digest,
            "perturbations": list(perturbations),
            "seed": seed,
            # Asked for by name, a backend is not to be answered for by another.
            "execution": [execution.device, execution.backend],
        }
        key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]
        path = folder / f"{key}.npz"
    if path is not None and (kept := _read(path, len(perturbations), len(reference))) is not None:
        return kept
    asked = [None, *perturbations.values()]
    clean, *perturbed = answers(classifier, reference, asked, seed=seed, execution=execution)
    labels = labels_of(reference, clean)
    found = Robustness(
        errors=np.stack([prediction_errors(clean, each, labels) for each in perturbed]),
        right=correct(clean, labels),
        right_perturbed=np.stack([correct(each, labels) for each in perturbed]),
    )
    if path is not None:
        _write(path, found)
    return found


def _read(path: Path, perturbations: int, images: int) -> Robustness | None:
    """What is kept at ``path``; None where it is missing or damaged, and has to be found anew."""
    try:
        # Read first: of a damaged file np.load leaves the handle open.
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as arrays:
            found = Robustness(**{name: arrays[name] for name in arrays.files})
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile):
        return None
    return found if found.errors.shape == (perturbations, images) else None


def _write(path: Path, found: Robustness) -> None:
    """Keep ``found``: as a whole, or not at all where the process is killed in the middle."""
    packed = io.BytesIO()
    np.savez_compressed(
        packed, errors=found.errors, right=found.right, right_perturbed=found.right_perturbed
    )
    part = path.with_suffix(f".{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(packed.getvalue())
        os.replace(part, path)
    except OSError as error:
        raise SettingsError(
            f"cannot write {path}: {error.strerror or error}; choose another folder with --output"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink()

"""What was measured of a model, kept from one run of a study to the next."""

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import special

from pytest_iaside.errors import BaselineError, SettingsError
from pytest_iaside.execute.execution import Execution
from pytest_iaside.execute.steady import agree
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.models.classifier import Classifier
from pytest_iaside.models.identity import identity
from pytest_iaside.stats.arrays import Floats
from pytest_iaside.store import archive

# Raised whenever what is kept, or what is computed from a model, changes.
VERSION = 4


class Kept:
    """Arrays of one model in a folder, under its weights and all that they depend on (``facts``).

    Nothing is kept without a folder, nor of a model that cannot be told from others.
    """

    def __init__(
        self,
        folder: Path | None,
        classifier: Classifier,
        reference: ReferenceSample,
        execution: Execution,
        facts: Mapping[str, Any],
    ) -> None:
        self.path: Path | None = None
        if folder is None or (model := identity(classifier)) is None:
            return
        every = {
            "version": VERSION,
            "torch": str(torch.__version__),
            "model": model,
            "images": reference.digests,
            "sample": reference.digest,
            # Asked for by name, a backend is not to be answered for by another.
            "execution": [execution.device, execution.backend],
            **facts,
        }
        key = hashlib.sha256(json.dumps(every, sort_keys=True).encode()).hexdigest()[:32]
        self.path = folder / f"{key}.yaml"

    def read(self, clean: Callable[[], Floats]) -> dict[str, Any] | None:
        """What is kept, as long as the logits of ``clean`` images (K, C) are what they were."""
        if self.path is not None:
            with suppress(BaselineError):  # Missing or damaged, it is found anew.
                known = archive.read(self.path)[1]
                if agree(special.log_softmax(clean(), axis=1), known.pop("clean")):
                    return dict(known)
        return None

    def write(self, arrays: Mapping[str, Floats], clean: Floats) -> None:
        """Keep ``arrays`` of a model with these logits; raises SettingsError where it cannot."""
        if self.path is None:
            return
        kept = {"clean": special.log_softmax(clean, axis=1).astype(np.float32)}
        try:
            archive.write(self.path, {}, {**arrays, **kept})
        except BaselineError as error:
            raise SettingsError(f"{error}; the folder is that of --output") from error

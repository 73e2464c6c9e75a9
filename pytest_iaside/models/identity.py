"""What a classifier is: the key under which its results are kept.

Weights and buffers decide surely. What is done with them cannot be told from Python's objects, so
nothing is made of it here: whoever takes results by this key replays some of them
(measure/game/replay.py).
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from torch import nn

from pytest_iaside.models.classifier import Classifier
from pytest_iaside.models.fingerprint import state_contents

LENGTH = 32


def identity(classifier: Classifier) -> str | None:
    """A key of all weights and buffers of ``classifier``, its normalisation, score and version.

    32 hexadecimal digits; None for a plain function without ``version=``, and for a module whose
    weights do not exist yet.
    """
    network, version = classifier.network, classifier.version
    content = classifier.fingerprint()
    if content is None and (version is None or isinstance(network, nn.Module)):
        return None
    kind = network if hasattr(network, "__qualname__") else type(network)
    digest = hashlib.sha256(f"{content} {version!r} ".encode())
    if not isinstance(network, (nn.Module, Path)):
        digest.update(f"{kind.__module__}.{kind.__qualname__}".encode())
        for name, values in (("mean", classifier.mean), ("std", classifier.std)):
            digest.update(f" {name} {None if values is None else values.tolist()}".encode())
        for part in classifier.reading():
            digest.update(part)
    elif isinstance(network, nn.Module):
        # Buffers that are not saved are in no fingerprint.
        for name, buffer in sorted(network.named_buffers()):
            for part in state_contents(name, buffer):
                digest.update(part)
    digest.update(classifier.task.score_code.encode())
    return digest.hexdigest()[:LENGTH]

"""A profile as text and bytes, for one row of a database; never pickle."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import asdict
from typing import Any

import numpy as np

from pytest_iaside.errors import BaselineError, one_line
from pytest_iaside.measure.game.rules import Rules
from pytest_iaside.measure.profile import SpectralProfile
from pytest_iaside.measure.provenance import ModelFacts, ReferenceFacts


def pack(profile: SpectralProfile) -> tuple[str, bytes]:
    """Plain facts as JSON and arrays as NPZ of ``profile``, without its log-likelihoods."""
    facts = {
        "rules": profile.rules.as_dict(),
        "reference": asdict(profile.reference),
        "model": asdict(profile.model),
        "environment": dict(profile.environment),
        "forward_passes": profile.forward_passes,
        "passes_from_cache": profile.passes_from_cache,
        "seconds": profile.seconds,
    }
    content = io.BytesIO()
    np.savez_compressed(
        content,
        image_psi=profile.image_psi,
        by_size=profile.by_size,
        information=profile.information,
        labels=profile.labels,
        digests=np.array(profile.digests),
        names=np.array(profile.names),
    )
    return json.dumps(facts), content.getvalue()


def unpack(facts: str, arrays: bytes) -> SpectralProfile:
    """What ``pack`` packed; raises BaselineError, which says why, where it is damaged."""
    try:
        known: dict[str, Any] = json.loads(facts)
        with np.load(io.BytesIO(arrays), allow_pickle=False) as packed:
            return SpectralProfile(
                image_psi=packed["image_psi"],
                by_size=packed["by_size"],
                log_likelihood=None,
                information=packed["information"],
                digests=tuple(packed["digests"].tolist()),
                names=tuple(packed["names"].tolist()),
                labels=packed["labels"],
                rules=Rules(**known["rules"]),
                reference=ReferenceFacts(**known["reference"]),
                model=ModelFacts(**known["model"]),
                forward_passes=known["forward_passes"],
                environment=known["environment"],
                passes_from_cache=known["passes_from_cache"],
                seconds=known["seconds"],
            )
    except (ValueError, KeyError, TypeError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise BaselineError(one_line(error)) from error

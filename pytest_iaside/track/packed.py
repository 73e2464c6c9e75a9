"""A profile as text and bytes, for one row of a database; never pickle."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import replace
from typing import Any

import numpy as np

from pytest_iaside.errors import BaselineError, one_line
from pytest_iaside.measure.profile import SpectralProfile


def pack(profile: SpectralProfile) -> tuple[str, bytes]:
    """Plain values as JSON and arrays as NPZ of ``profile``, without its log-likelihoods."""
    document, arrays = replace(profile, log_likelihood=None).files()
    content = io.BytesIO()
    # Plainly typed: numpy's own signature takes a name `allow_pickle` for an option.
    named: dict[str, Any] = dict(arrays)
    np.savez_compressed(content, **named)
    return json.dumps(document), content.getvalue()


def unpack(document: str, arrays: bytes) -> SpectralProfile:
    """What ``pack`` packed, here or in version 0.1.0.

    Raises BaselineError, which says why, where it is damaged.
    """
    try:
        known: dict[str, Any] = json.loads(document)
        with np.load(io.BytesIO(arrays), allow_pickle=False) as packed:
            found = {name: packed[name] for name in packed.files}
        if "format" not in known:  # 0.1.0 wrote none.
            known |= {"kind": "spectral", "settings": known["rules"]}
            found["values"] = found.pop("image_psi")
        return SpectralProfile.of_files((known, found))
    except (ValueError, KeyError, TypeError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise BaselineError(one_line(error)) from error

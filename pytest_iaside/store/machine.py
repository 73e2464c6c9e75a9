"""What was found out about this machine, and holds for a while.

Which backend is fastest is a matter of timing. A second run must not decide it anew: the
backends agree only up to rounding, and the same inputs have to give the same profile.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from pytest_iaside.store.files import DRAFT, read_bytes, sweep

LARGEST = 100_000
FOLDER_VARIABLE = "IASIDE_CACHE_DIR"


def cache_folder() -> Path:
    """Where what can be made again is kept: IASIDE_CACHE_DIR, else the platform's own place."""
    asked = os.environ.get(FOLDER_VARIABLE)
    if asked:
        return Path(asked)
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "pytest-iaside"


def recall(key: str) -> Any:
    """What was remembered under ``key``; None where nothing was, or it cannot be read."""
    try:
        return json.loads(read_bytes(_file(key), LARGEST))
    except (OSError, ValueError, RuntimeError):  # There is no home; it is nested too deep.
        return None


def remember(key: str, value: Any) -> Any:
    """Keep ``value`` unless another process was first; what holds then, None if nothing can."""
    try:
        file = _file(key)
        file.parent.mkdir(parents=True, exist_ok=True)
        sweep(file.parent)
        draft = file.with_name(DRAFT.format(secrets.token_hex(8)))
        draft.write_text(json.dumps(value, indent=1) + "\n")
        try:
            # Fails where the name is taken already, unlike a rename.
            os.link(draft, file)
        except FileExistsError:
            pass
        except OSError:  # A file system without links.
            os.replace(draft, file)
        finally:
            with suppress(OSError):
                draft.unlink()
    except (OSError, RuntimeError):
        return None
    return recall(key)


def age(key: str) -> float:
    """Seconds since something was remembered under ``key``; 0 where nothing was."""
    try:
        return time.time() - _file(key).stat().st_mtime
    except (OSError, RuntimeError):
        return 0.0


def forget(key: str) -> None:
    """Remember nothing under ``key`` any longer."""
    with suppress(OSError, RuntimeError):
        _file(key).unlink()


def _file(key: str) -> Path:
    return cache_folder() / "backends" / f"{key}.json"

"""pytest-iaside: stop a merge when an image classifier's robustness regresses.

Public names are listed in the stub beside this file and loaded on first use (PEP 562): pytest
imports this package at start-up wherever it is installed, and must not pay for torch in sessions
that never use it.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

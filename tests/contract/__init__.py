"""Contracts: what every gate, corruption and backend promises, tested for all that the package
lists. A package, so that its files may be named as those of the rooms that they are about.
"""

import sys
from pathlib import Path

# The project that these tests share with others.
sys.path.append(str(Path(__file__).parents[1] / "plugin"))

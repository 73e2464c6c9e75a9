"""The report in a real browser. A package, so that the browser closes when its tests are done:
while Playwright runs, no other test of the process could use asyncio.
"""

import sys
from pathlib import Path

# The records and the project that these tests share with others.
TESTS = Path(__file__).parents[1]
sys.path += [str(TESTS / "report"), str(TESTS / "plugin")]

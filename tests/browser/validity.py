"""What html-validate, an npm package, finds against the standard in a page."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(sys.prefix) / "node_modules" / "html-validate"
RULES = {"root": True, "extends": ["html-validate:standard"]}


def invalid(page: Path) -> list[str]:
    """Every breach of the HTML standard in ``page``; skips where html-validate is not there."""
    node = shutil.which("node")
    if not PACKAGE.is_dir() or node is None:
        pytest.skip("no html-validate; npm install --prefix .venv html-validate (needs node)")
    config = page.with_name("htmlvalidate.json")
    config.write_text(json.dumps(RULES))
    command = [node, str(PACKAGE / "bin" / "html-validate.mjs"), "--config", str(config)]
    done = subprocess.run(
        [*command, "--formatter", "json", str(page)], capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, 1) and done.stdout, done.stderr
    return [
        f"{each['line']}:{each['column']} {each['ruleId']}: {each['message']}"
        for file in json.loads(done.stdout)
        for each in file["messages"]
    ]

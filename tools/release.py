"""Releases in one command: ``make release VERSION=0.2.0``.

It checks that the tree is clean and the version the next one, gathers the fragments of changelog.d
into CHANGELOG.md, writes the version wherever it stands, commits and tags. Pushing the tag is what
publishes: .github/workflows/release.yml builds, checks and uploads the package.
"""

from __future__ import annotations

import argparse
import datetime
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)")
PLACES = {"pyproject.toml": r'(?m)^version = "([^"]+)"$', "CITATION.cff": r"(?m)^version: (\S+)$"}


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("version")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--check", action="store_true", help="whether the tree has this version")
    how.add_argument("--notes", action="store_true", help="print its part of the changelog")
    options = parser.parse_args(arguments)
    if VERSION.fullmatch(options.version) is None:
        return failed(f"{options.version} is no version; expected three numbers, such as 0.2.0")
    if options.check:
        return check(ROOT, options.version)
    if options.notes:
        print(notes(ROOT, options.version))
        return 0
    return release(ROOT, options.version)


def release(root: Path, version: str) -> int:
    """Make the commit and the tag of ``version`` in the clean tree ``root``."""
    if git(root, "status", "--porcelain"):
        return failed("there are changes that are not committed; commit or stash them first")
    if git(root, "tag", "--list", f"v{version}"):
        return failed(f"the tag v{version} is there already")
    now = versions(root)["pyproject.toml"]
    if version not in following(now):
        return failed(f"after {now} comes one of {', '.join(following(now))}, not {version}")
    fragments = [each for each in (root / "changelog.d").glob("*.md") if each.name != "README.md"]
    if not fragments:
        return failed("changelog.d is empty: nothing has changed for users")
    for name, pattern in PLACES.items():
        path = root / name
        text = re.sub(
            pattern,
            lambda found: found[0].replace(found[1], version),
            path.read_text(encoding="utf-8"),
            count=1,
        )
        if name == "CITATION.cff":
            today = datetime.datetime.now(datetime.timezone.utc).date()
            text = re.sub(r"(?m)^date-released: .*$", f"date-released: {today}", text)
        path.write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "towncrier", "build", "--yes", "--version", version]
    subprocess.run(command, cwd=root, check=True)
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", f"Release {version}")
    git(root, "tag", "--annotate", f"v{version}", "--message", notes(root, version))
    print(f"v{version} is made. Look at it, then publish it with\n    git push --follow-tags")
    return 0


def versions(root: Path) -> dict[str, str]:
    """The version that stands in each place."""
    found = {}
    for name, pattern in PLACES.items():
        match = re.search(pattern, (root / name).read_text(encoding="utf-8"))
        found[name] = match[1] if match else "none"
    return found


def following(version: str) -> list[str]:
    """The versions that may come after ``version``."""
    match = VERSION.fullmatch(version)
    assert match is not None
    major, minor, patch = map(int, match.groups())
    return [f"{major}.{minor}.{patch + 1}", f"{major}.{minor + 1}.0", f"{major + 1}.0.0"]


def check(root: Path, version: str) -> int:
    """0 where every place has ``version`` and the changelog knows it."""
    others = {name: found for name, found in versions(root).items() if found != version}
    if others:
        return failed(f"expected version {version}, found {others}")
    return 0 if notes(root, version) else failed(f"CHANGELOG.md says nothing of {version}")


def notes(root: Path, version: str) -> str:
    """What CHANGELOG.md says of ``version``."""
    text = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    found = re.search(rf"(?ms)^## {re.escape(version)} .*?\n(.*?)(?=^## |\Z)", text)
    return found[1].strip() if found else ""


def git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def failed(why: str) -> int:
    print(f"no release: {why}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

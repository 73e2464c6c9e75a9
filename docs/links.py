"""Checks the links of a built site: ``python docs/links.py FOLDER``.

Every link to a file must have its file, and every link to a place in a page its anchor. Sphinx
checks what pages write; this sees what it made of them, and the reports of the gallery. Links to
other sites are not asked for.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """The links and anchors of one page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        for name in ("id", "name"):
            if value := given.get(name):
                self.anchors.add(value)
        for name in ("href", "src"):
            if value := given.get(name):
                self.links.append(value)


@cache
def page(path: Path) -> Page:
    return Page(path)


def broken(site: Path) -> Iterator[str]:
    """What is wrong with each link of ``site`` that leads nowhere."""
    site = site.resolve()
    for path in sorted(site.rglob("*.html")):
        for link in page(path).links:
            if told := _wrong(site, path, link):
                yield f"{path.relative_to(site)}: {link}: {told}"


def _wrong(site: Path, path: Path, link: str) -> str:
    """Why ``link`` in the page ``path`` leads nowhere; empty where it leads somewhere."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return ""
    target = path
    if parts.path:
        target = (path.parent / unquote(parts.path)).resolve()
        if not target.is_relative_to(site):
            return "it leads out of the site"
        if target.is_dir():
            target /= "index.html"
        if not target.is_file():
            return "there is no such file"
    if not parts.fragment or target.suffix != ".html":
        return ""
    there = unquote(parts.fragment) in page(target).anchors
    return "" if there else "there is no such place in the page"


def main(site: str) -> int:
    found = list(broken(Path(site)))
    for told in found:
        print(told, file=sys.stderr)
    print(f"{len(found)} links lead nowhere")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

"""``iaside cache``: what earlier measurements found, listed or forgotten."""

from __future__ import annotations

import argparse
from datetime import datetime

from pytest_iaside.cli.options import PASSED, Commands
from pytest_iaside.errors import SettingsError, printable
from pytest_iaside.report.printing import tell


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "cache", help="list what earlier measurements found, or forget it", allow_abbrev=False
    )
    parser.add_argument("action", choices=("list", "clear"), nargs="?", default="list")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, command: str) -> int:
    from pytest_iaside.store.cache import LIMIT_VARIABLE, ResultCache

    cache = ResultCache()
    if options.action == "clear":
        images = sum(game.images for game in cache.contents())
        cache.clear()
        tell(f"forgotten: what was found for {images} images ({cache.path})")
        return PASSED
    games = cache.contents()
    if cache.broken:
        raise SettingsError(
            f"{cache.path} cannot be used ({cache.broken}); make its folder writable, or name "
            "another one in the environment variable IASIDE_CACHE_DIR"
        )
    for game in games:
        used = datetime.fromtimestamp(game.used).strftime("%Y-%m-%d %H:%M")
        tell(f"{used}  {game.size / 1e6:7.2f} MB  {game.images:5} images  {printable(game.title)}")
    total = sum(game.size for game in games) / 1e6
    tell(f"{cache.path}: {total:.2f} MB of at most {cache.limit / 1e6:g} MB ({LIMIT_VARIABLE})")
    return PASSED

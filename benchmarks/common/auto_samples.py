"""Gates with samples="auto" beside those with a fixed number of images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np

from common.change_sets import CHOSEN_ON, MOVED_ON, SAME
from common.gates import GREEN, VERDICTS, Told, auto_gate, gate, usual_check
from common.measured import Measured
from common.saved import value
from common.side_by_side import print_table
from pytest_iaside.measure.profile import SpectralProfile

Pair = tuple[SpectralProfile, SpectralProfile]
"""Candidate and baseline."""
GATES = 20
"""With samples="auto" of a row, at least."""
WHOLE = (
    "Lite0, 8-bit weights",
    "reader, 15 % pruned",
    "Lite0, JPEG 40",
    "Lite0, 5-bit weights",
    "reader, 30 % wrong labels",
    "robust, trained without noise",
)
"""Changes that every image meets: two harmless ones, and four that are worse."""


def broken_classes(tables: Path) -> Iterator[tuple[str, list[Pair]]]:
    """One class of twenty broken, every class in turn, at five images a class."""
    before = Measured.load(tables, "twenty, baseline")
    for title in ("class {} at −20", "without class {}"):
        found = []
        for number in range(20):
            broken = Measured.load(tables, f"twenty, {title.format(number)}")
            if "without" in title:  # Images of other classes are answered as before.
                rows = np.flatnonzero(before.profile.labels == number)
                broken = before.with_images(rows, broken)
            found.append((broken.profile, before.profile))
        yield f"one class of 20: {title.format('…')}", found


def wrong_images(tables: Path) -> Iterator[tuple[str, list[Pair]]]:
    """One image of 50 answered wrongly under everything, each in turn that was right."""
    for name, change in MOVED_ON.items():
        with suppress(FileNotFoundError):
            wrong = Measured.load(tables, name)
            before = Measured.load(tables, f"{change.base}, baseline")
            right = np.flatnonzero(before.logits[0].argmax(axis=1) == before.profile.labels)
            pool, found = np.arange(50), []
            for image in right[right < 50]:
                broken = before.with_images(np.array([image]), wrong)
                found.append((broken.profile.take(pool), before.profile.take(pool)))
            yield f"one image of 50 wrong: {change.base}", found


def whole_changes(tables: Path) -> Iterator[tuple[str, list[Pair]]]:
    """The same model computed otherwise, and changes that every image meets."""
    chosen = {**SAME, **{name: CHOSEN_ON[name] for name in WHOLE}}
    for name, change in chosen.items():
        with suppress(FileNotFoundError):
            candidate = Measured.load(tables, name).profile
            before = Measured.load(tables, f"{change.base}, baseline").profile
            yield name, [(candidate, before)]


UNCHANGED = "reader, reordered"
LOCAL = {
    broken_classes: ("one-class-gates", "with one class of 20 broken"),
    wrong_images: ("one-image-gates", "with one image of 50 answered wrongly"),
}
"""Of changes that few images meet, what pages call the number of gates, and what was done."""


def auto_and_fixed(tables: Path) -> None:
    """Verdicts and images of both, of local changes and of those that every image meets."""
    print('\n## samples="auto" beside all images\n')
    print(
        "How many gates say what. Auto draws the images of one pair in several orders; it looks at"
    )
    print("the game alone to stop, and compares the answers to all images.\n")
    lines = []
    for kind in (broken_classes, wrong_images, whole_changes):
        verdicts: list[str] = []
        for title, pairs in kind(tables):
            fixed = [gate(*pair) for pair in pairs]
            verdicts += [verdict for verdict, _ in fixed]
            orders = max(1, GATES // len(pairs))
            lines.append([title, "all", *_counted(fixed), str(len(pairs[0][0]))])
            told, used = zip(
                *(auto_gate(*pair, seed) for pair in pairs for seed in range(orders)), strict=True
            )
            lines.append([title, "auto", *_counted(list(told)), _spread(used)])
            if title == UNCHANGED:
                what = 'images that samples="auto" took for an unchanged digit reader'
                found = f"{_spread(used)} of {len(pairs[0][0])}"
                value("auto-samples", found, "images", what)
        if kind in LOCAL:
            green = sum(verdict in GREEN for verdict in verdicts)
            what = f"gates on a model {LOCAL[kind][1]}; {green or 'none'} of them green"
            value(LOCAL[kind][0], str(len(verdicts)), "gates", what)
            value(f"{LOCAL[kind][0]}-green", str(green), "gates", f"green {what.partition(';')[0]}")
    head = ["change", "samples", *VERDICTS, "decides", "images"]
    what = 'How many gates say what, with all images and with samples="auto"'
    print_table(head, lines, name="samples-auto", what=what)


def _counted(told: list[Told]) -> list[str]:
    counts = Counter(verdict for verdict, _ in told)
    usual = counts.most_common(1)[0][0]
    return [*(str(counts[each]) for each in VERDICTS), usual_check(told, usual)]


def _spread(used: tuple[int, ...]) -> str:
    """The mean, and the least to the most where they differ."""
    least, most = min(used), max(used)
    return str(least) if least == most else f"{np.mean(used):.0f} ({least}–{most})"

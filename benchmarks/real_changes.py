"""What the default gate says of real changes of real models, against what they cost elsewhere.

    python benchmarks/real_changes.py --photographs FOLDER --labels CSV [--tables FOLDER]

Every model is measured once on a pool of images, and the measurement kept on disk. A simulated
gate draws K images of the pool, without replacement, and compares the models on them by default
settings. The truth is measured on other images, under corruptions that are not in the panel;
beside it stands what the panel itself says of these images.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from common.auto_samples import auto_and_fixed
from common.change_sets import (
    CHOSEN_ON,
    FRESH,
    MOVED_ON,
    ONE_CLASS,
    PHOTOGRAPHS,
    SAME,
    SET_ASIDE,
    Named,
    baseline,
)
from common.changes import PHOTO_MEAN, PHOTO_STD
from common.gates import GREEN, VERDICTS, Told, gates, shares, usual_check
from common.images_to_pass import images_to_pass, passes_of_noise
from common.interval import over_models
from common.measured import (
    TRUTH,
    Measured,
    Pool,
    digit_pool,
    measure_all,
    photograph_pool,
    twenty_pool,
)
from common.saved import kept, table, value
from common.side_by_side import machine, print_table

from pytest_iaside import Classifier, compare, measure
from pytest_iaside.measure.panel import PANEL

SHARED = Path(__file__).parents[2] / "shared" / "imagenet100"
TABLES = Path(tempfile.gettempdir()) / "iaside-real-changes"


@dataclass(frozen=True, eq=False)
class Row:
    """A change: what it does on other images, and what gates of 50 and 100 images say of it.

    Accuracy points that are gained, and their standard errors over images: ``elsewhere`` under
    TRUTH, ``clean`` as they are, ``panel`` under the panel; ``pool`` of the pool, under the panel.
    ``log_likelihood`` in nats, at each model's own temperature, under TRUTH, and
    ``panel_log_likelihood`` under the panel.
    """

    name: str
    elsewhere: tuple[float, float]
    clean: tuple[float, float]
    panel: tuple[float, float]
    pool: float
    log_likelihood: float
    panel_log_likelihood: float
    at: dict[int, list[Told]]

    @property
    def kind(self) -> str:
        """What the change is: worse, harmless, better, or neither of these.

        Harmless alone is one that loses nothing under the panel on the other images, either.
        """
        gain, error = self.elsewhere
        if gain <= -WORSE:
            return "worse"
        if gain > _noise(error) and self.clean[0] > -1:
            return "better"
        small = all(abs(by) < _noise(error) for by, error in (self.elsewhere, self.clean))
        if not small or abs(self.log_likelihood) >= NATS:
            return ""
        gain, error = self.panel
        lost = gain <= -_noise(error) or self.panel_log_likelihood <= -NATS
        return HARMLESS_ELSEWHERE if lost else HARMLESS


def _noise(error: float) -> float:
    return max(1, 2 * error)


WORSE = 5
"""Accuracy points."""
NATS = 0.05
HARMLESS, HARMLESS_ELSEWHERE = "harmless", "harmless elsewhere"
GROUPS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "worse": (("worse",), GREEN),
    "harmless elsewhere": ((HARMLESS, HARMLESS_ELSEWHERE), ("drift",)),
    "harmless elsewhere and under the panel on other images": ((HARMLESS,), ("drift",)),
    "better": (("better",), ("drift",)),
}
"""Kinds of change that belong together, and the verdicts that are wrong about them."""
SHORT = dict(
    zip(
        GROUPS,
        (
            "worse by 5 points or more",
            "harmless elsewhere",
            "and on other images under the panel, too",
            "better",
        ),
        strict=True,
    )
)
COUNTS = (50, 100)
SETS: dict[str, tuple[str, str, Named]] = {
    "chosen": (
        "Changes that the limits were chosen on",
        "the limits were chosen on them",
        CHOSEN_ON,
    ),
    "aside": ("Changes set aside", "set aside", SET_ASIDE),
    "late": (
        "Changes set aside after the limits were chosen, looked at once",
        "set aside after the limits were chosen",
        FRESH,
    ),
}
"""Of each set of changes its title, the same in few words, and the changes."""


@dataclass(frozen=True)
class Group:
    """What gates say of changes that belong together: how many changes, and the shares of
    VERDICTS in percent by the number of images, of each change (N, 4) and their mean (4,)."""

    size: int
    each: dict[int, np.ndarray]

    @property
    def shares(self) -> dict[int, np.ndarray]:
        return {count: found.mean(axis=0) for count, found in self.each.items()}

    def red(self, count: int) -> str:
        """The red gates in percent, with an interval over changes."""
        share = float(self.shares[count][0])
        low, high = over_models(self.each[count][:, 0] / 100, share / 100)
        return f"{_percent(share)} ({_percent(100 * low)}–{_percent(100 * high)})"


def row_of(name: str, tables: Path, base: str, draws: int) -> Row:
    """The change ``name`` of the model ``base``; FileNotFoundError where either was left out."""
    candidate, before = Measured.load(tables, name), Measured.load(tables, f"{base}, baseline")
    points, nats = (
        100 * (candidate.hits - before.hits),
        candidate.log_likelihood - before.log_likelihood,
    )
    truth, panel = slice(1, 1 + len(TRUTH)), slice(1 + len(TRUTH), None)
    right = [each.logits.argmax(axis=2) == each.profile.labels for each in (candidate, before)]
    return Row(
        name=name,
        elsewhere=_mean(points[truth].mean(axis=0)),
        clean=_mean(points[0]),
        panel=_mean(points[panel].mean(axis=0)),
        pool=100 * (right[0][1:].mean() - right[1][1:].mean()),
        log_likelihood=nats[truth].mean(),
        panel_log_likelihood=nats[panel].mean(),
        at={count: gates(candidate, before, count, draws) for count in COUNTS},
    )


def _mean(values: np.ndarray) -> tuple[float, float]:
    return values.mean(), values.std(ddof=1) / np.sqrt(len(values))


# ------------------------------------------------------------------- tables


def real_changes(name: str, tables: Path, draws: int) -> dict[str, Group]:
    """A row a change, and how well gates tell those that are worse from harmless ones."""
    title, _, changes = SETS[name]
    rows, missing = [], []
    for each, change in changes.items():
        try:
            rows.append(row_of(each, tables, change.base, draws))
        except FileNotFoundError:
            missing.append(each)
    rows.sort(key=lambda row: row.elsewhere)
    print(f"\n## {title}\n\n{draws} gates a row; at 100 photographs one, they are the whole pool.")
    print(f"Verdicts in %: {' / '.join(VERDICTS)}\n")
    if missing:
        print(f"Not measured: {'; '.join(missing)}\n")
    head = ["change", "", "elsewhere", "log-lik.", "clean", "panel", "pool"]
    head += [each for count in COUNTS for each in (f"{count} images", "decides")]
    lines = []
    for row in rows:
        line = [row.name, row.kind, "{:+.1f} ± {:.1f}".format(*row.elsewhere)]
        line += [f"{row.log_likelihood:+.2f}", f"{row.clean[0]:+.1f}"]
        line += ["{:+.1f} ± {:.1f}".format(*row.panel), f"{row.pool:+.1f}"]
        for drawn in row.at.values():
            found = shares(drawn)
            line += [" / ".join(f"{share:.0f}" for share in found)]
            line += [usual_check(drawn, VERDICTS[int(found.argmax())])]
        lines.append(line)
    what = f"{title}: verdicts in % ({' / '.join(VERDICTS)}), {draws} gates a row"
    print_table(head, lines, name=f"changes-{name}", what=what)
    groups = {group: group_of(rows, kinds) for group, (kinds, _) in GROUPS.items()}
    lines = []
    for group, (kinds, wrong) in GROUPS.items():
        chosen = [row for row in rows if row.kind in kinds]
        for count in COUNTS if chosen else ():
            found = groups[group].shares[count]
            names = [
                f"{row.name} ({usual_check(row.at[count], *wrong)})"
                for row in chosen
                if any(verdict in wrong for verdict, _ in row.at[count])
            ]
            told = [*found, found[2:].sum()]
            line = [group, str(len(chosen)), str(count), *(f"{share:.1f}" for share in told)]
            lines.append([*line, "; ".join(names)])
    head = ["changes", "how many", "images", *VERDICTS, "green", "red, or green where worse"]
    what = f"{title}: verdicts in %, mean over changes; changes of which some gates are wrong"
    print_table(head, lines, name=f"groups-of-{name}", what=what)
    if name == "late":
        keep_missed(rows)
    return groups


def group_of(rows: list[Row], kinds: tuple[str, ...]) -> Group:
    """What gates say of the changes of these kinds, each change alike."""
    chosen = [row for row in rows if row.kind in kinds]
    found = {
        count: np.array([shares(row.at[count]) for row in chosen])
        for count in (COUNTS if chosen else ())
    }
    return Group(len(chosen), found)


# ------------------------------------------------------------------- what pages show


def keep_missed(rows: list[Row]) -> None:
    """The change that gates miss most, of those that are worse."""
    row = min((row for row in rows if row.kind == "worse"), key=lambda row: shares(row.at[100])[0])
    for name, gain, where in (
        ("missed-elsewhere", row.elsewhere[0], "under corruptions that are not in the panel"),
        ("missed-panel", row.panel[0], "under the panel"),
    ):
        what = f"accuracy gained {where} by the change that gates miss most: {row.name}"
        value(name, f"{gain:+.1f}".replace("-", "−"), "points", what)
    value("missed-change", row.name, "", "the worse change, set aside, that gates miss most")
    value(
        "missed-red-100",
        _percent(shares(row.at[100])[0]),
        "%",
        f"gates of 100 images that are red on that change ({row.name})",
    )


def keep_groups(found: dict[str, dict[str, Group]]) -> None:
    """The error rates of all sets, in one table and by name."""
    lines = []
    for group, short in SHORT.items():
        if group == "better":
            continue
        of_sets = [groups[group] for groups in found.values()]
        cells = [
            " / ".join(_percent(of(each.shares)) if each.size else "–" for each in of_sets) + " %"
            for of in (lambda by: by[50][0], lambda by: by[100][0], lambda by: by[100][2:].sum())
        ]
        sizes = " / ".join(str(each.size) for each in of_sets)
        lines.append([f"{short} ({sizes})", *cells])
    few = " / ".join(short for _, short, _ in SETS.values())
    table(
        "error-rates",
        f"Verdicts of the default gate on changes of real models, photographs and digits ({few})",
        [f"changes ({few})", "red at 50 images", "red at 100", "pass or nothing found at 100"],
        lines,
    )
    for name, (_, short, _) in SETS.items():
        worse, _, harmless, _ = found[name].values()
        for count in COUNTS:
            value(
                f"{name}-worse-green-{count}",
                _percent(worse.shares[count][2:].sum()),
                "%",
                f"gates of {count} images that are green on such changes ({worse.size}, {short})",
            )
            value(
                f"{name}-worse-red-{count}",
                worse.red(count),
                "%",
                f"gates of {count} images that are red on changes that lose 5 points of accuracy "
                f"or more ({worse.size} changes of real models, {short}; interval over changes)",
            )
        for key, told, said in (
            ("red", harmless.red(100), "are red"),
            ("pass", _percent(harmless.shares[100][2:].sum()), "pass, or find nothing,"),
        ):
            value(
                f"{name}-harmless-{key}-100",
                told,
                "%",
                f"gates of 100 images that {said} on harmless changes ({harmless.size} changes of "
                f"real models, {short}{'; interval over changes' * (key == 'red')})",
            )


def _percent(share: float) -> str:
    """A share as pages show it: 0 and 100 are exact."""
    return f"{share:.0f}" if share in (0, 100) else f"{share:.1f}"


def same_models(tables: Path, draws: int) -> None:
    """False alarms: the same function, computed otherwise."""
    print(f"\n## The same model\n\n{draws} gates a row, one at 100 photographs; in %\n")
    lines = []
    for name, change in SAME.items():
        with suppress(FileNotFoundError):
            pair = Measured.load(tables, name), Measured.load(tables, f"{change.base}, baseline")
            for count in (24, 50, 100):
                found = shares(gates(*pair, count, draws))
                lines.append([name, str(count), *(f"{share:.1f}" for share in found)])
    what = f"The same model, computed otherwise: verdicts in % of {draws} gates of K images"
    print_table(["change", "K", *VERDICTS], lines, name="changes-same", what=what)


def cost(pools: dict[str, Pool], count: int = 50) -> None:
    """Seconds and forward passes of the default gate without and with the panel."""
    print(f"\n## What the default gate costs\n\n{count} images, {machine()}\n")
    lines = []
    for base, kind in (("reader", "digits"), ("Lite0", "photographs")):
        if kind not in pools:
            continue
        normal = {"mean": PHOTO_MEAN, "std": PHOTO_STD} if base in PHOTOGRAPHS else {}
        classifier = Classifier(baseline(base), **normal)
        sample = pools[kind].sample.take(range(count))
        for panel in ((), PANEL):
            began = time.perf_counter()
            profile = measure(classifier, sample, panel=panel)
            compare(profile, profile)
            seconds = time.perf_counter() - began
            lines.append([base, str(len(panel)), f"{seconds:.1f}", f"{profile.forward_passes:,}"])
    head = ["model", "perturbations", "seconds", "passes"]
    what = f"What measuring {count} images costs, without and with the panel"
    print_table(head, lines, name="cost-of-panel", what=what)


def print_tables(tables: Path, draws: int = 40) -> None:
    """Every table that the measurements in ``tables`` give."""
    keep_groups({name: real_changes(name, tables, draws) for name in SETS})
    same_models(tables, 5 * draws)
    passes_of_noise(tables, draws)
    images_to_pass(tables)
    auto_and_fixed(tables)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--photographs", type=Path, default=SHARED if SHARED.is_dir() else None)
    parser.add_argument("--labels", default=SHARED / "labels.csv" if SHARED.is_dir() else "folder")
    parser.add_argument("--tables", type=Path, default=TABLES, help="where measurements are kept")
    parser.add_argument("--gates", type=int, default=40, help="simulated for each change")
    arguments = parser.parse_args()
    pools = {"digits": digit_pool(), "twenty": twenty_pool()}
    if arguments.photographs:
        pools["photographs"] = photograph_pool(arguments.photographs, arguments.labels)
    arguments.tables.mkdir(parents=True, exist_ok=True)
    for changes in (CHOSEN_ON, SET_ASIDE, FRESH, SAME, MOVED_ON, ONE_CLASS):
        measure_all(arguments.tables, pools, changes)
    print_tables(arguments.tables, arguments.gates)
    cost(pools)


if __name__ == "__main__":
    with kept(__file__):
        main()

"""The figures of a gate: charts of its spectral profiles, or of the change of its quantities."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

from pytest_iaside.compare.check_order import order
from pytest_iaside.compare.words import NATS, confidence
from pytest_iaside.report.charts import gate as charts
from pytest_iaside.report.charts.gate import Series
from pytest_iaside.report.figures import (
    MOVED,
    Figure,
    Table,
    change_cells,
    in_the_unit,
    interval_text,
)
from pytest_iaside.report.gates import VERDICTS, Gate, signed_src_score
from pytest_iaside.report.numbers import finite, finite_list, fixed, share, signed
from pytest_iaside.report.origin_figures import interaction_figures, loss_figures, trade_figure
from pytest_iaside.report.record import (
    ComparisonRecord,
    LimitRecord,
    QuantityRecord,
    SpectralRecord,
)
from pytest_iaside.report.spectrum import spectrum_figures
from pytest_iaside.stats.score import src_range

Profiles = Mapping[str, SpectralRecord]
NO_LIMIT: LimitRecord = {"change": None, "bound": None}


def gate_figures(gate: Gate, ident: str) -> list[Figure]:
    """Every figure of ``gate``; ``ident`` begins the charts' own identifiers."""
    found: list[Figure] = []
    if profiles := gate.profiles:
        found += [
            *_answer_figures(gate, ident),
            _score_figure(gate, f"{ident}-src", profiles),
            *_band_figures(gate, ident, profiles),
            _size_figure(f"{ident}-size", profiles),
            *interaction_figures(gate, f"{ident}-interactions"),
            _convergence_figure(f"{ident}-convergence", profiles),
        ]
    elif gate.comparison:
        quantities = gate.comparison["quantities"]
        for family in sorted({each["family"] for each in quantities}):
            some = [each for each in quantities if each["family"] == family]
            found.append(_changes_figure(f"{ident}-{family}", family, some, gate.comparison))
    found += _effective_figures(gate, f"{ident}-effective")
    for number, loss in enumerate(gate.record["losses"] or ()):
        found += loss_figures(f"{ident}-loss-{number}", loss)
    if gate.comparison:
        found += [trade_figure(each) for each in gate.comparison["trades"]]
    if spectrum := gate.record["spectrum"]:
        found += spectrum_figures(spectrum, ident)
    unit = gate.comparison["candidate"]["model"]["unit"] if gate.comparison else NATS
    return [in_the_unit(each, unit) for each in found]


# How the figure begins that shows a check of bands.
SHOWN_BY = {
    "src": "Spectral robustness score",
    "min_src": "Spectral robustness score",
    "sid": "Spectral importance",
    "value": "Raw ψ",
    "band": "Raw ψ",
    "upper": "Raw ψ",
}


def leading(gate: Gate, figures: Sequence[Figure]) -> Figure | None:
    """The figure of what failed, of a failed gate: the one picture that is looked at first."""
    worst = next((word for word in VERDICTS if any(c["verdict"] == word for c in gate.checks)), "")
    deciding = [check for check in gate.checks if check["verdict"] == worst]
    if not gate.failed or not figures or not deciding:
        return None
    check = min(deciding, key=lambda each: order(each["name"]))
    begins = SHOWN_BY.get(check["name"], "")
    if not begins:
        told = [
            each
            for each in figures
            if each.table and any(row[0].text == check["where"] for row in each.table.rows)
        ]
        return told[0] if told else figures[0]
    return next((each for each in figures if each.title.startswith(begins)), figures[0])


def _answer_figures(gate: Gate, ident: str) -> list[Figure]:
    """How right images are answered, clean and under each perturbation: a figure for each way."""
    if gate.comparison is None:
        return []
    found = []
    for number, title in enumerate(("accuracy", "log-likelihood", "probability", "score")):
        some = [e for e in gate.comparison["answers"] if e["family"].endswith(f" {title}")]
        if some:
            figure = _changes_figure(
                f"{ident}-answers-{number}", f"mean {title}", some, gate.comparison
            )
            what = "probability of the label" if title == "probability" else title
            own = "" if title == "score" else ", at each model's own temperature"
            lines = "lines are" if gate.comparison["direction"] == "any" else "line is"
            about = (
                f"The paired change of the {what}, image by image{own}; the {lines} what is "
                "allowed of the images as they are and of the mean, twice as much under a single "
                "perturbation."
            )
            found.append(replace(figure, title=f"Answers: {what}", about=about))
    return found


def _effective_figures(gate: Gate, ident: str) -> list[Figure]:
    """What accuracies changed by under perturbations that clean accuracy does not explain."""
    if gate.comparison is None or not (some := gate.comparison["effective"]):
        return []
    figure = _changes_figure(ident, "effective", some, gate.comparison)
    about = (
        "How far the accuracy under each perturbation changed beyond what the change of clean "
        "accuracy explains, along a line of log-odds: the baseline's own where it holds three "
        "trainings or more, else of slope 1. Baseline and candidate are the accuracies themselves."
    )
    return [replace(figure, title="Beyond what clean accuracy explains", about=about)]


def _score_figure(gate: Gate, ident: str, profiles: Profiles) -> Figure:
    points, rows = {}, []
    for role, profile in profiles.items():
        value, bounds = finite(profile["signed_src"]), profile["intervals"]["signed_src"]
        points[role] = (value, finite(bounds["low"]), finite(bounds["high"]))
        interval = interval_text(bounds["low"], bounds["high"])
        rows.append([role, fixed(value), interval, fixed(profile["src"])])
    about = "The score on the range that any SID can attain, with its interval over images."
    score = signed_src_score(gate.comparison, gate.profiles.get("candidate"))
    base, change, low, high = map(finite, (score.before, score.change, score.low, score.high))
    if base is not None and change is not None and low is not None and high is not None:
        points["paired"] = (base + change, base + low, base + high)
        rows.append(["paired change", signed(change), interval_text(low, high, signed)])
        about += (
            " The row “paired” decides: the change image by image, drawn from the baseline's score."
        )
    thresholds, most = {}, None
    if gate.comparison:
        limit = gate.comparison["limits"].get("src", NO_LIMIT)
        if base is not None and limit["change"] is not None:
            thresholds["allowed down to"] = base - limit["change"]
            if gate.comparison["direction"] == "any":
                most = base + limit["change"]
        if limit["bound"] is not None:
            thresholds["min_src"] = limit["bound"]
    rows += [[name, fixed(limit)] for name, limit in thresholds.items()]
    attainable = src_range(len(_any(profiles)["psi"]))
    rows.append(["attainable", f"{fixed(attainable[0])}…{fixed(attainable[1])}"])
    return Figure(
        "Spectral robustness score",
        about,
        Table(("", "signed SRC", confidence(_any(profiles)["level"]), "SRC (the paper's)"), rows),
        charts.score_chart(ident, points, thresholds, attainable, most=most),
        "point",
    )


def _band_figures(gate: Gate, ident: str, profiles: Profiles) -> tuple[Figure, Figure]:
    """The SID and the raw ψ of each band."""
    edges = _any(profiles)["band_edges"]
    series = _series(profiles, "sid")
    sid = Figure(
        "Spectral importance distribution (SID)",
        "How importance is shared among bands; the least important one counts as 0. The more lies "
        "on the left, the higher the score.",
        _band_table(profiles, series),
        charts.sid_chart(f"{ident}-sid", edges, series),
        "bar",
    )
    series = _series(profiles, "psi")
    table = _band_table(profiles, series)
    bands: Sequence[QuantityRecord] = ()
    allowed = None
    about = "What each band adds to the log-likelihood of the label; below 0 it harms."
    if comparison := gate.comparison:
        bands = comparison["quantities"]
        # The limit of a band is a share of the baseline's v(all).
        limit = comparison["limits"].get("band", NO_LIMIT)["change"]
        value = finite(profiles["baseline"]["value"])
        allowed = -limit * value if limit is not None and value and value > 0 else None
        table = Table(
            (*table.head, "change", f"{confidence(comparison['level'])}, all bands", *MOVED),
            [[*row, *change_cells(band)] for row, band in zip(table.rows, bands, strict=True)],
        )
        about += (
            " Below, the paired change on a larger scale: a triangle marks a band whose change "
            "noise does not explain, pointing down where its ψ fell."
        )
    chart = charts.psi_chart(f"{ident}-psi", edges, series, bands, allowed)
    return sid, Figure("Raw ψ, in nats", about, table, chart, "point")


def _size_figure(ident: str, profiles: Profiles) -> Figure:
    series = [Series(role, finite_list(profile["by_size"])) for role, profile in profiles.items()]
    rows = [
        [str(size), *(fixed(one.values[size]) for one in series)]
        for size in range(len(series[0].values))
    ]
    return Figure(
        "v(S) by coalition size",
        "Mean log-likelihood of the label over the coalitions of so many bands, in nats; from left "
        "to right it rises by v(all).",
        Table(("bands", *profiles), rows),
        charts.size_chart(ident, series),
        "point",
    )


def _convergence_figure(ident: str, profiles: Profiles) -> Figure:
    """How far ψ has settled, how far it may be off, and what the model finds of the labels."""
    rows = []
    # Nobody knows the entropy of what a score is of.
    scored = _any(profiles)["unit"] != NATS
    for role, profile in profiles.items():
        entropy, found = profile["label_entropy"], profile["information_bound"]
        part = (finite(found) or 0.0) / entropy if entropy and finite(found) is not None else None
        last = profile["convergence"][-1] if profile["convergence"] else None
        bounds = (fixed(each) for each in profile["error_bounds"])
        of_labels = [] if scored else [fixed(entropy), fixed(found), share(part)]
        rows.append([role, fixed(last, 4), *bounds, *of_labels])
    head = ("", "last step", "bound (paper)", "bound that suffices", "H(Y)", "found of it", "share")
    about = (
        "How far ψ moved with the next image, the mean over bands, in nats: what still falls has "
        "not settled. Below, bounds on the error of ψ, the paper's and the one that suffices (the "
        "intervals above are the error itself)"
    )
    if not scored:
        about += (
            "; the entropy of the labels, and what the model finds of it at least, which is below "
            "0 where it is more sure than right"
        )
    return Figure(
        "Convergence" if scored else "Convergence and information",
        f"{about}.",
        Table(head[: len(rows[0])], rows),
        charts.convergence_chart(
            ident,
            {
                role: list(zip(each["convergence_at"], each["convergence"], strict=True))
                for role, each in profiles.items()
            },
        ),
        "point",
    )


def _changes_figure(
    ident: str, family: str, quantities: Sequence[QuantityRecord], comparison: ComparisonRecord
) -> Figure:
    limit, better = comparison["limits"].get(family, NO_LIMIT)["change"], quantities[0]["better"]
    allowed = -limit if limit is not None and better == "higher" else limit
    rows = [
        [each["name"], fixed(each["baseline"]), fixed(each["candidate"]), *change_cells(each)]
        for each in quantities
    ]
    level = comparison["level"]
    if quantities[0] in (*comparison["answers"], *comparison["effective"]):
        level = comparison["answers_level"]
    head = ("quantity", "baseline", "candidate", "change", confidence(level), *MOVED)
    title = {"mpe": "mPE", "mce": "mCE", "lost": "score lost"}.get(family, family)
    together = f" Intervals hold for all {len(quantities)} together." * (len(quantities) > 1)
    return Figure(
        f"Change of {title}",
        f"The paired change, image by image; {better} is better.{together}",
        Table(head, rows),
        charts.changes_chart(ident, quantities, allowed, either=comparison["direction"] == "any"),
    )


def _band_table(profiles: Profiles, series: Sequence[Series]) -> Table:
    first = _any(profiles)
    head = ["band", "cycles/pixel"]
    for role in profiles:
        head += [role, confidence(first["level"])]
    rows = []
    for band, label in enumerate(first["band_labels"]):
        row = [str(band), label.removesuffix(" cycles/px")]
        for one in series:
            row += [fixed(one.values[band]), interval_text(*one.interval(band))]
        rows.append(row)
    return Table(head, rows)


def _series(profiles: Profiles, what: Literal["sid", "psi"]) -> list[Series]:
    """The values of each band under each model, with their intervals."""
    found = []
    for role, profile in profiles.items():
        values, bounds = profile[what], profile["intervals"][what]
        found.append(Series(role, *map(finite_list, (values, bounds["low"], bounds["high"]))))
    return found


def _any(profiles: Profiles) -> SpectralRecord:
    return next(iter(profiles.values()))

"""Figures that say where a change comes from: pairs of bands, losses by band, trade-offs."""

from itertools import zip_longest
from typing import Literal

from pytest_iaside.compare.words import confidence
from pytest_iaside.report.charts import gate as charts
from pytest_iaside.report.charts.gate import Series
from pytest_iaside.report.charts.interactions import interaction_chart
from pytest_iaside.report.figures import MOVED, Figure, Table, change_cells, interval_text
from pytest_iaside.report.gates import Gate
from pytest_iaside.report.numbers import finite, finite_list, fixed, signed
from pytest_iaside.report.record import LossRecord, TradeRecord


def interaction_figures(gate: Gate, ident: str) -> list[Figure]:
    """How much pairs of bands need each other, where both models' coalitions are known."""
    if gate.comparison is None or not (pairs := gate.comparison["interactions"]):
        return []
    bands = len(next(iter(gate.profiles.values()))["psi"])
    head = ("pair", "baseline", "candidate", "change", confidence(gate.comparison["level"]), *MOVED)
    rows = [
        [
            each["name"].removeprefix("bands "),
            fixed(each["baseline"]),
            fixed(each["candidate"]),
            *change_cells(each),
        ]
        for each in sorted(pairs, key=lambda each: finite(each["p_value"]) or 0.0)
    ]
    return [
        Figure(
            "Which bands need each other",
            "What two bands are worth together beyond what each is worth alone (Shapley "
            "interaction, in nats). Filled: they need each other. Hollow: each replaces the other. "
            "Shaded: the change is more than noise; intervals hold for all pairs together.",
            Table(head, rows),
            interaction_chart(ident, bands, pairs),
        )
    ]


def loss_figures(ident: str, loss: LossRecord) -> list[Figure]:
    """Through which bands a perturbation costs both models, over where it lies itself."""
    name, edges, level = loss["perturbation"], loss["band_edges"], confidence(loss["level"])
    roles: tuple[Literal["baseline", "candidate"], ...] = ("baseline", "candidate")
    series = [
        Series(role, *(finite_list(loss[role][each]) for each in ("values", "low", "high")))
        for role in roles
    ]
    moved, rows = loss["bands"], []
    for band, label in enumerate(loss["band_labels"]):
        interval = interval_text(moved["low"][band], moved["high"][band], signed)
        both = [fixed(one.values[band]) for one in series]
        share_of_it = f"{100 * (finite(loss['energy'][band]) or 0.0):.1f}%"
        where = [str(band), label.removesuffix(" cycles/px")]
        rows.append([*where, *both, signed(moved["values"][band]), interval, share_of_it])
    head = ("band", "cycles/pixel", *roles, "change", f"{level}, all bands", "its energy")
    whole = f"{signed(loss['change'])} ({level} {interval_text(loss['low'], loss['high'], signed)})"
    return [
        Figure(
            f"What {name} costs, band by band",
            f"The loss of log-likelihood in nats, divided among the bands that it came through, on "
            f"{loss['images']} images; in all it is {whole} nats more than the baseline's.",
            Table(head, rows),
            charts.psi_chart(
                ident, edges, series, title=f"Loss under {name} by band", axis="loss in nats"
            ),
            "point",
        ),
        Figure(
            f"Where {name} lies",
            "The share of its own energy in each band, the mean over images.",
            None,
            charts.sid_chart(
                f"{ident}-energy",
                edges,
                [Series("candidate", finite_list(loss["energy"]))],
                title=f"Energy of {name} by band",
                axis="share of its energy",
            ),
        ),
    ]


def trade_figure(trade: TradeRecord) -> Figure:
    """What was gained and what was lost, side by side."""
    sides = [
        [[each["name"], f"{signed(each['change'])}{trade['unit']}"] for each in some]
        for some in (trade["gained"], trade["lost"])
    ]
    rows = zip_longest(*sides, fillvalue=["", ""])
    return Figure(
        f"A trade-off in {trade['what']}",
        "What moved beyond noise, for the better on the left, for the worse on the right.",
        Table(("gained", "", "lost", ""), [[*gained, *lost] for gained, lost in rows]),
    )

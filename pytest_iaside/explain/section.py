"""The report's section on the explained images of a red gate."""

from itertools import zip_longest

from pytest_iaside.compare.words import confidence
from pytest_iaside.explain.records import ExplanationRecord, LevelRecord, PictureRecord, moved
from pytest_iaside.report.figures import Cell, Table, moved_cell
from pytest_iaside.report.numbers import count, percent, share
from pytest_iaside.report.pictures import Picture
from pytest_iaside.report.wings import ReportSection

TITLES = {"wcam": "WCAM", "spatial": "WCAM in place", "sl2": "SpectralLens", "arglens": "ArgLens"}


def explanation_section(
    record: ExplanationRecord, pictures: list[PictureRecord] | None
) -> ReportSection:
    """What ``record`` says, with ``pictures`` where there is room for them."""
    images, level = record["images"], record["level"] or 0.95
    several = len(images) > 1
    return ReportSection(
        title="Where, and at which scale",
        template="explanation.html.j2",
        content={
            "about": _about(record),
            "finding": _finding(record) if several else "",
            # Mean shares of the explained images, where there are several.
            "levels": level_table(record["levels"], level) if several else None,
            "images": [
                {
                    "name": image["name"],
                    "sentence": image["sentence"],
                    "levels": level_table(image["levels"], level),
                    "picture": Picture("image", drawn["image"], image["name"]) if drawn else None,
                    "maps": _maps(image["name"], drawn) if drawn else {},
                }
                for image, drawn in zip_longest(images, pictures or [])
            ],
        },
    )


def _maps(name: str, pictures: PictureRecord) -> dict[str, list[Picture]]:
    roles = {"baseline": pictures.get("baseline"), "candidate": pictures.get("candidate")}
    return {
        role: [Picture(TITLES[x], maps[x], f"{role}, {name}: {TITLES[x]}") for x in maps]
        for role, maps in roles.items()
        if maps
    }


def _finding(record: ExplanationRecord) -> str:
    if record["baseline"] is None:
        return ""
    over = f"Over these {len(record['images'])} images"
    told = [
        f"{each['title']} {share(each['baseline'])} → {share(each['candidate'])}"
        for each in record["levels"]
        if moved(each)
    ]
    if told:
        return f"{over} the answer's sources moved: {'; '.join(told)}."
    return (
        f"{over} no level's share changed by more than its interval: the change is one of "
        "strength, not of scale, as far as this can tell."
    )


def _about(record: ExplanationRecord) -> str:
    if record["why_not"]:
        return f"Not explained: {record['why_not']}."
    both = "of both models" if record["baseline"] else "of the candidate alone"
    text = (
        f"What the label's probability comes from, {both}: wavelet cells "
        f"({record['grid']}×{record['grid']}, WCAM, arXiv 2305.14979) and gradients over scales of "
        f"noise (SpectralLens, arXiv 2508.10595); {count(record['forward_passes'])} forward "
        "passes. WCAM: light cells count, the coarsest top left, on a logarithmic scale; single "
        "ones are about 40% uncertain. SpectralLens: light where gradients are strong; ArgLens: "
        "light where they are strongest under much noise, where the model is smooth. Intervals "
        "are about the drawn masks, for these very images."
    )
    if record["no_lens_because"]:
        text += f" No lens: {record['no_lens_because']}."
    return text


def level_table(levels: list[LevelRecord], level: float) -> Table:
    """The share of each wavelet level in an image's answer, and its change where there is one."""
    if all(each["baseline"] is None for each in levels):
        rows = [[f"{each['level']}: {each['title']}", share(each["candidate"])] for each in levels]
        return Table(("level", "candidate"), rows)
    head = ("level", "baseline", "candidate", "change", confidence(level), "")
    changes: list[list[str | Cell]] = [
        [
            f"{each['level']}: {each['title']}",
            share(each["baseline"]),
            share(each["candidate"]),
            percent(each["change"]),
            f"{percent(each['low'])}…{percent(each['high'])}",
            moved_cell(each["change"], moved(each)),
        ]
        for each in levels
    ]
    return Table(head, changes)

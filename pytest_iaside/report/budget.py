"""What fits into a report: verdicts and checks always, charts and pictures in turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pytest_iaside.report.gates import Gate
from pytest_iaside.report.sections import Detail

LIMIT_MB = 3.0

LEAN = Detail(charts=False, diagnosis=False, thumbnails=False, examples=False)
CHARTS = Detail(diagnosis=False, thumbnails=False, examples=False)
DIAGNOSIS = Detail(thumbnails=False, examples=False)
THUMBNAILS = Detail(examples=False)
WHOLE = Detail()


def fitted(
    gates: Sequence[Gate], room: int, draw: Callable[[int, Detail], str]
) -> tuple[list[str], list[str]]:
    """The article of each of ``gates``, drawn with as much detail as fits into ``room`` bytes.

    Failed gates go before others, worse ones before better. Returns also what was left out, in
    words.
    """
    articles = [draw(number, LEAN) for number in range(len(gates))]
    given = [LEAN] * len(gates)
    taken = sum(map(_size, articles))
    failed = [number for number, gate in enumerate(gates) if gate.failed]
    others = [number for number, gate in enumerate(gates) if not gate.failed]
    for number, detail in [
        *((number, CHARTS) for number in failed),
        *((number, DIAGNOSIS) for number in failed),
        *((number, THUMBNAILS) for number in failed),
        *((number, CHARTS) for number in others),
        *((number, THUMBNAILS) for number in others),
        *((number, WHOLE) for number in failed + others),
    ]:
        if not _has(gates[number], detail):
            continue
        article = draw(number, detail)
        taken += _size(article) - _size(articles[number])
        if taken > room:
            # The next one might fit, but the order is by how much a gate matters.
            break
        articles[number], given[number] = article, detail
    missing = {
        what: sum(
            _has(gate, detail) and not getattr(had, name)
            for gate, had in zip(gates, given, strict=True)
        )
        for what, name, detail in (
            ("the charts", "charts", CHARTS),
            ("the maps", "diagnosis", DIAGNOSIS),
            ("the small pictures", "thumbnails", THUMBNAILS),
            ("the example pictures", "examples", WHOLE),
        )
    }
    return articles, [
        f"{what} of {count} gate{'' if count == 1 else 's'}"
        for what, count in missing.items()
        if count
    ]


def _has(gate: Gate, detail: Detail) -> bool:
    """Whether ``gate`` has what ``detail`` adds."""
    if detail == CHARTS:
        return gate.profile is not None or gate.readings is not None
    if detail == DIAGNOSIS:
        return bool(gate.record["diagnosis_pictures"])
    return bool(gate.record["pictures"])


def _size(text: str) -> int:
    return len(text.encode())

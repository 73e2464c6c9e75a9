"""The session as a JSON document, for machines; session.schema.json describes it."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pytest_iaside.report.gates import gates, tally
from pytest_iaside.report.record import GateRecord, MetaRecord, SessionRecord

# Fields of a record that are for the HTML report alone.
NOT_IN_JSON = ("pictures", "section_pictures")


def json_document(records: Sequence[GateRecord], *, meta: MetaRecord) -> SessionRecord:
    """The session in plain JSON values, worst gate first; NaN and infinity become null."""
    found = gates(records)
    document = {
        "format": "iaside-report/3",
        "schema": "urn:pytest-iaside:session:3",
        "meta": meta,
        "failed": any(gate.failed for gate in found),
        "counts": tally(found),
        "gates": [
            {name: value for name, value in gate.record.items() if name not in NOT_IN_JSON}
            for gate in found
        ],
    }
    plain: SessionRecord = _plain(document)
    return plain


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {_plain(str(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        # A lone surrogate, as in the name of a file that is not UTF-8, cannot be written.
        return value.encode("utf-8", "backslashreplace").decode()
    return value

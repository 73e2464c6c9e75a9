"""Results as HTML for notebooks: a caption and a table, everything escaped."""

from collections.abc import Iterable, Sequence
from html import escape


def as_html(caption: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of texts under ``caption``; the first cell of each row is its name."""
    body = "".join(
        _row([_cell("th", name), *(_cell("td", each) for each in others)]) for name, *others in rows
    )
    heads = _row([_cell("th", each) for each in head])
    table = f"<table><thead>{heads}</thead><tbody>{body}</tbody></table>"
    return f"<div>{_cell('p', caption)}{table}</div>"


def _row(cells: Iterable[str]) -> str:
    return f"<tr>{''.join(cells)}</tr>"


def _cell(tag: str, text: str) -> str:
    return f"<{tag}>{escape(text)}</{tag}>"

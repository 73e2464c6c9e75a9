"""The site: what it generates is true, and it builds without a warning and without a lost link."""

from __future__ import annotations

import importlib
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pages import ROOT

sys.path.append(str(ROOT / "docs"))
import links
import site_parts

from pytest_iaside import settings
from pytest_iaside.thresholds import Thresholds

DOCS = ROOT / "docs"
PAGES = {
    str(page.relative_to(DOCS)): page.read_text(encoding="utf-8")
    for page in sorted(DOCS.rglob("*.md"))
    if not {"_build", "_extra"} & set(page.relative_to(DOCS).parts)
}
MEASURED = site_parts.measured()
RECORDED = re.compile(r"(?:benchmarks/\w+\.py|tests/[\w/]+\.py|docs/\w+\.md|make \w+)")


# ------------------------------------------------------------------------------ measured numbers


@pytest.mark.parametrize("kind", ["values", "tables"])
def test_every_number_says_where_it_is_from(kind: str) -> None:
    for name, entry in MEASURED[kind].items():
        assert all(entry[key] for key in (*site_parts.ORIGIN, "what")), name
        benchmark = entry["benchmark"]
        assert RECORDED.fullmatch(benchmark), name
        assert benchmark.startswith("make ") or (ROOT / benchmark).is_file(), name


def test_tables_are_whole() -> None:
    for name, entry in MEASURED["tables"].items():
        assert {len(row) for row in entry["rows"]} == {len(entry["columns"])}, name


def test_pages_name_numbers_that_are_there() -> None:
    """Every other one stands on the page of all numbers."""
    text = "\n".join(PAGES.values())
    assert set(site_parts.VALUE.findall(text)) <= set(MEASURED["values"])
    assert set(site_parts.TABLE.findall(text)) <= set(MEASURED["tables"])
    everything = site_parts.all_numbers()
    for kind in ("values", "tables"):
        assert all(entry["what"] in everything for entry in MEASURED[kind].values())


def test_a_name_that_is_not_there_is_refused() -> None:
    with pytest.raises(KeyError, match="nowhere"):
        site_parts.replaced("{{ nowhere }}")


def test_a_value_and_a_table_are_put_in() -> None:
    entry = MEASURED["values"]["chosen-harmless-red-100"]
    assert (
        site_parts.replaced("a {{ chosen-harmless-red-100 }} b") == f"a {entry['value']}\u00a0% b"
    )
    shown = site_parts.replaced("<!-- table: cure -->").splitlines()
    columns, rows = MEASURED["tables"]["cure"]["columns"], MEASURED["tables"]["cure"]["rows"]
    assert [cell.strip() for cell in shown[0].split("|")[1:-1]] == columns
    assert [cell.strip() for cell in shown[3].split("|")[1:-1]] == rows[1]


# ------------------------------------------------------------------------------ generated pages


def test_every_setting_is_told_with_its_default() -> None:
    text = site_parts.settings()
    for name in (*settings.SETTINGS, *(f"iaside_{name}" for name in settings.INI_ONLY)):
        assert f"| `{name}` |" in text
    rows = dict(re.findall(r"^\| `(\w+)` \| `([^`]*)` \|", text, re.MULTILINE))
    assert rows["bands"] == "8"
    assert rows["partition"] == "linf"
    assert rows["samples"] == "none"
    assert rows["max_src_drop"] == str(Thresholds().max_src_drop)
    assert rows["min_src"] == "none"
    assert rows["cache"] == "true"
    assert rows["fail_on"] == "drift"
    assert rows["level"] == "0.95"
    assert rows["budget"] == "decided"


def test_the_page_of_thresholds_has_their_defaults() -> None:
    text = PAGES["how-to/thresholds.md"]
    rows = dict(re.findall(r"^\| `(m\w+|direction)` \| `?([\w.]+)`? \|", text, re.MULTILINE))
    found = {name: site_parts.default(name) for name in settings.THRESHOLDS}
    assert rows == found


def test_every_option_of_pytest_is_told() -> None:
    told = dict(site_parts.options_of_pytest())
    assert "--iaside-update=new\\|changed\\|all\\|add" in told
    assert "--iaside-report[=PATH]" in told
    assert not any("--iaside-budget" in option for option in told)  # it is a setting


def test_every_command_has_its_help() -> None:
    text = site_parts.command_line()
    for command in ("measure", "compare", "baseline add", "study correlation", "track", "rank"):
        assert f"## iaside {command}\n" in text
        assert f"usage: iaside {command} " in text


def test_every_public_name_is_told() -> None:
    text = site_parts.api()
    for module in site_parts.MODULES:
        found = importlib.import_module(module)
        for name in found.__all__:
            if not inspect.ismodule(getattr(found, name)):
                assert re.search(rf":: pytest_iaside(\.\w+)?\.{name}$", text, re.MULTILINE), name


def test_every_object_and_field_of_the_schema_is_told() -> None:
    path = ROOT / "pytest_iaside" / "report" / "session.schema.json"
    schema: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    text = site_parts.schema()
    for name, entry in schema["$defs"].items():
        section = text.partition(f"## {name}\n")[2].partition("\n## ")[0]
        for field in entry["properties"]:
            assert f"| `{field}`" in section


def test_docstrings_are_plain_text() -> None:
    text = "P(y|x) of ``a*b_`` and *this* _ name_"
    assert site_parts.plain(text) == r"P(y\|x) of ``a*b_`` and \*this\* _ name\_"


def test_every_page_is_found_from_the_start() -> None:
    """Sphinx says so, too; this one needs no Sphinx."""
    listed = {"index.md"}
    for page, text in PAGES.items():
        folder = Path(page).parent
        for block in re.findall(r"```\{toctree\}\n(.*?)```", text, re.DOTALL):
            for line in block.splitlines():
                if line and not line.startswith(":"):
                    pattern = (DOCS / folder / f"{line}.md").resolve()
                    found = sorted(pattern.parent.glob(pattern.name))
                    assert found, f"{page}: {line}"
                    listed |= {str(each.relative_to(DOCS.resolve())) for each in found}
    assert listed == set(PAGES)


# --------------------------------------------------------------------------------- the built site


def test_links_that_lead_nowhere_are_found(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text('<a href="b.html#here">b</a><img src="none.png">')
    (tmp_path / "b.html").write_text('<p id="there">c</p><a href="https://example.org">d</a>')
    assert list(links.broken(tmp_path)) == [
        "a.html: b.html#here: there is no such place in the page",
        "a.html: none.png: there is no such file",
    ]
    other = tmp_path / "other"
    other.mkdir()
    (other / "c.html").write_text('<a href="../b.html">b</a>')
    assert list(links.broken(other)) == ["c.html: ../b.html: it leads out of the site"]


def test_it_builds_without_a_warning_or_a_lost_link(tmp_path: Path) -> None:
    for needed in ("sphinx", "myst_parser", "furo", "sphinx_copybutton", "sphinx_design"):
        pytest.importorskip(needed, reason="the extra docs is not installed")
    site = tmp_path / "site"
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-W",
        "--keep-going",
        "-n",
        "-q",
        str(DOCS),
        str(site),
    ]
    doctrees = ["-d", str(tmp_path / "doctrees")]
    done = subprocess.run([*command, *doctrees], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    # Reports of the gallery are written by make docs alone.
    lost = [told for told in links.broken(site) if not told.startswith("gallery.html: gallery/")]
    assert lost == []
    settings_page = (site / "reference" / "settings.html").read_text(encoding="utf-8")
    assert "max_upper_band_change" in settings_page
    assert "<!-- generated" not in settings_page
    assert "{{ " not in (site / "index.html").read_text(encoding="utf-8")


def test_the_pictures_are_as_they_would_be_drawn_now() -> None:
    for needed in ("skimage", "mlxtend"):
        pytest.importorskip(needed, reason="the extra example is not installed")
    import pictures

    assert pictures.stale() == [], "run: python docs/pictures.py"


def test_a_picture_that_changed_is_noticed(tmp_path: Path) -> None:
    import pictures

    path = tmp_path / "a.svg"
    path.write_bytes(b'<line x="10.0"/>')
    assert pictures.alike(path, b'<line x="10.2"/>')
    assert not pictures.alike(path, b'<line x="10.4"/>')
    assert not pictures.alike(path, b'<text x="10.0"/>')
    assert not pictures.alike(tmp_path / "none.svg", b"")

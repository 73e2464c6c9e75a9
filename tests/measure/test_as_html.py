"""What notebooks show: the numbers of a result, and nothing of a user's taken for markup."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

from profiles import make_profile

from pytest_iaside import compare


def cells(html: str) -> list[list[str]]:
    """The texts of each row; the page must be well formed."""
    return [
        ["".join(cell.itertext()) for cell in row]
        for row in ElementTree.fromstring(html).iter("tr")
    ]


def test_a_profile_shows_its_bands() -> None:
    profile = make_profile()
    head, *rows = cells(profile._repr_html_())
    assert head == ["band", "frequencies", "ψ (nats)", "± se", "SID"]
    assert len(rows) == 8
    assert rows[0][2:] == [
        f"{profile.psi[0]:.3f}",
        f"{profile.standard_error[0]:.3f}",
        f"{profile.sid[0]:.3f}",
    ]


def test_a_comparison_shows_its_checks() -> None:
    profile = make_profile()
    found = compare(profile, profile)
    html = found._repr_html_()
    assert cells(html)[1:] == [[c.name, c.verdict, c.sentence] for c in found.checks]
    caption = ElementTree.fromstring(html).find("p")
    assert caption is not None and caption.text == f"pass: {found.summary()}"


def test_answers_show_their_means_and_names_are_escaped() -> None:
    profile = make_profile()
    named = replace(profile, model=replace(profile.model, name="<b>net</b>"))
    assert "&lt;b&gt;net&lt;/b&gt;" in named._repr_html_() and "<b>" not in named._repr_html_()
    answers = compare(profile, profile).candidate.answers
    if answers is not None:
        head, first, *_ = cells(answers._repr_html_())
        assert head[:2] == ["quantity", "mean"] and first[0] == answers.quantities[0].name

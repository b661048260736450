"""The linter refuses promises and numbers without their companions, and lets honest sentences pass."""

from __future__ import annotations

import pytest

from privacy.assessment.wording import lint, lint_html, passages


@pytest.mark.parametrize(
    "sentence",
    [
        "The data are anonymous.",
        "Anonymised records are used.",
        "The update is anonymized first.",
        "Secure aggregation guarantees privacy.",
        "Your privacy is guaranteed.",
        "No personal data leaves the hospital.",
        "Patient data never leaves the site.",
        "The run has epsilon 3.",
        "epsilon = 3.0 at delta 1e-5 per patient",
        "ε 1.0 at δ 1e-5, add/remove",
        "The run spent an epsilon of about 2.5 per patient, add/remove.",
        "The attack reached AUC 0.51.",
    ],
)
def test_refuses(sentence: str) -> None:
    assert lint(sentence)


@pytest.mark.parametrize(
    "sentence",
    [
        "Epsilon 3.0 at delta 1e-5 for adding or removing one patient (add/remove).",
        "k-anonymity with k = 5 gives no formal bound.",
        "Epsilon is recomputed from the ledger.",
        "The attack reached AUC 0.51 (95 % interval 0.48 to 0.54).",
        "What leaves the hospital is a masked vector.",
    ],
)
def test_lets_pass(sentence: str) -> None:
    assert not lint(sentence)


def test_a_table_is_read_with_its_caption() -> None:
    table = "<table><caption>Loss of one patient, add/remove</caption><tr><th>epsilon</th><td>3.0</td><th>{}</th></tr></table>"
    assert not lint_html(table.format("delta 1e-5"))
    assert lint_html(table.format("other"))


def test_a_caption_elsewhere_does_not_help() -> None:
    assert lint_html("<p>delta 1e-5, one patient, add/remove</p><p>epsilon 3.0</p>")


def test_quoted_text_is_its_authors_and_styles_are_not_text() -> None:
    page = '<style>p:after{content:"anonymous"}</style><p>Title: <q class="quoted">An anonymous survey</q> as given</p>'
    assert not lint_html(page)
    assert list(passages(page)) == ["Title: as given"]
    assert lint_html(page.replace(' class="quoted"', ""))

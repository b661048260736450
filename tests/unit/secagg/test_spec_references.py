"""Sections of SPEC.md that comments and tests cite exist, and the modules that it names do too."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SPEC = (ROOT / "secagg" / "SPEC.md").read_text()
SECTIONS = set(re.findall(r"^#{2,3} ([0-9]+(?:\.[0-9]+)?)[. ]", SPEC, re.MULTILINE))
CITED = re.compile(r"SPEC(?:\.md)?,?\s+(?:section\s+)?([0-9]+(?:\.[0-9]+)?)")
SOURCES = [
    path
    for folder in ("secagg", "coordinator", "hospital_node", "privacy", "threat_model", "deploy", "tests")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.suffix in (".py", ".proto", ".md", ".json") and path.name != Path(__file__).name
]


def citations() -> list[tuple[str, str]]:
    """(file, section) of every citation."""
    return [
        (str(path.relative_to(ROOT)), section)
        for path in SOURCES
        for section in CITED.findall(path.read_text(errors="ignore"))
    ]


def test_sections_are_numbered_without_gaps() -> None:
    whole = sorted(int(section) for section in SECTIONS if "." not in section)
    assert whole == list(range(1, len(whole) + 1))
    assert len(citations()) >= 5


@pytest.mark.parametrize(("file", "section"), sorted(set(citations())))
def test_cited_section_exists(file: str, section: str) -> None:
    assert section in SECTIONS, f"{file} cites section {section}"


def test_rules_that_the_page_names_exist() -> None:
    """Sections 7.3, 7.4 and, for the sparse graph, 10.4 name the function of each rule."""
    agree = SPEC.partition("### 7.3")[2].partition("### 7.5")[0]
    agree += SPEC.partition("### 10.4")[2].partition("### 10.5")[0]
    rules = (ROOT / "secagg" / "rules.py").read_text()
    named = re.findall(r"`(?:rules\.)?([a-z_]+)`", agree)
    assert {name for name in named if name != "sealing"} == set(
        re.findall(r"^def ((?!read_header|one_share_kind)[a-z_]+)", rules, re.MULTILINE)
    )


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`(tests/[a-z_/0-9]+\.py)`", SPEC))))
def test_files_that_the_page_names_exist(path: str) -> None:
    assert (ROOT / path).exists()

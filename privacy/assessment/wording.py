"""Words that an assessment may not use, because they promise what nobody can show.

Refused: "anonymous" and its kin, "guarantees privacy", "no personal data leaves", an epsilon without delta, unit and
adjacency beside it, an AUC without its interval. "k-anonymity" is the name of a measurement and stays allowed.
Text that people wrote (titles, purposes, answers) is quoted in elements of class ``quoted`` and is theirs, not ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser

_REFUSED: tuple[tuple[str, re.Pattern[str]], ...] = (
    (
        "nothing derived from patients is anonymous by declaration; say what was removed",
        re.compile(r"\banonym(?:ous|ously|i[sz]ed?|i[sz]es|i[sz]ing)\b", re.IGNORECASE),
    ),
    (
        "privacy is bounded, not guaranteed; print the bound",
        re.compile(
            r"\b(?:guarante\w+ (?:full |total |complete )?privacy|privacy (?:is|are) guaranteed)\b",
            re.IGNORECASE,
        ),
    ),
    (
        "updates and sums are personal data until shown otherwise; say what leaves",
        re.compile(
            r"\bno (?:personal|patient) (?:data|information) (?:ever )?leaves?\b"
            r"|\b(?:personal|patient) (?:data|information) (?:never|does not|do not) leaves?\b",
            re.IGNORECASE,
        ),
    ),
)
_EPSILON = re.compile(r"(?:\bepsilon\b|ε)[^.;]{0,60}?\d", re.IGNORECASE)
_COMPANIONS = (
    ("delta", re.compile(r"\bdelta\b|δ", re.IGNORECASE)),
    ("unit", re.compile(r"\bpatients?\b", re.IGNORECASE)),
    ("adjacency", re.compile(r"add/remove|replac|adding or removing", re.IGNORECASE)),
)
_AUC = re.compile(r"\bAUC\b[^.;]{0,40}?\d", re.IGNORECASE)
_INTERVAL = re.compile(r"\binterval\b|\bCI\b|±|\bto\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Finding:
    """A passage that may not be printed, and why."""

    passage: str
    why: str


class WordingError(ValueError):
    """The assessment would say something that the evidence cannot carry."""

    def __init__(self, findings: tuple[Finding, ...]) -> None:
        first = findings[0]
        super().__init__(f"the assessment may not say {first.passage!r}: {first.why}")
        self.findings = findings


def lint(text: str) -> tuple[Finding, ...]:
    """Findings in one passage: a sentence, a paragraph, or a whole table with its caption."""
    findings = [
        Finding(match.group(0), why) for why, pattern in _REFUSED for match in [pattern.search(text)] if match
    ]
    epsilon = _EPSILON.search(text)
    if epsilon:
        absent = [name for name, pattern in _COMPANIONS if not pattern.search(text)]
        if absent:
            findings.append(
                Finding(epsilon.group(0), f"epsilon is printed without its {' and '.join(absent)}")
            )
    auc = _AUC.search(text)
    if auc and not _INTERVAL.search(text):
        findings.append(Finding(auc.group(0), "an AUC is printed without its interval"))
    return tuple(findings)


def lint_html(page: str) -> tuple[Finding, ...]:
    """Findings in a page: tables, figures and sections of numbers are read as one passage with their caption."""
    return tuple(finding for passage in passages(page) for finding in lint(passage))


def passages(page: str) -> Iterator[str]:
    """The readable text of a page, passage by passage, without quoted text, styles and markup."""
    parser = _Passages()
    parser.feed(page)
    parser.close()
    return iter(parser.found)


_WHOLE = frozenset({"table", "figure"})
_BLOCK = frozenset(
    {"p", "li", "h1", "h2", "h3", "h4", "dt", "dd", "div", "section", "header", "footer", "title"}
)
_SILENT = frozenset({"style", "script"})
_VOID = frozenset({"br", "hr", "img", "meta", "link", "input", "col", "wbr", "source", "area", "base"})


class _Passages(HTMLParser):
    """Collects text; a stack of open elements tells when a passage ends and what is quoted."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[str] = []
        self._text: list[str] = []
        self._open: list[tuple[str, bool]] = []
        self._whole = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _VOID:
            return
        classes = (dict(attrs).get("class") or "").split()
        self._open.append((tag, tag in _SILENT or "quoted" in classes))
        if tag in _WHOLE:
            self._end_passage()
            self._whole += 1
        elif tag in _BLOCK and not self._whole:
            self._end_passage()

    def handle_endtag(self, tag: str) -> None:
        while self._open:
            last, _ = self._open.pop()
            if last in _WHOLE:
                self._whole -= 1
            if last in _WHOLE | _BLOCK and not self._whole:
                self._end_passage()
            if last == tag:
                break

    def handle_data(self, data: str) -> None:
        if not any(silent for _, silent in self._open):
            self._text.append(data)

    def close(self) -> None:
        super().close()
        self._end_passage()

    def _end_passage(self) -> None:
        passage = " ".join(" ".join(self._text).split())
        self._text.clear()
        if passage:
            self.found.append(passage)

"""Cells that are not of the declared type: what kind of mistake they look like, and how many; never their text."""

import re
from collections import Counter

import pandas as pd

from hospital_node.findings import about
from privacy.patients.field import Field

# In the order in which they are looked for; the first that fits names the cell.
_MONTHS = "jan|feb|mar|mär|apr|may|mai|jun|jul|aug|sep|oct|okt|nov|dec|dez"
_KINDS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("spreadsheet error", re.compile(r"^#(N/A|REF!|DIV/0!|VALUE!|NAME\?|NUM!|NULL!)$", re.IGNORECASE)),
    ("decimal comma", re.compile(r"^[+-]?\d{1,15}(\.\d{3})*,\d+$")),
    ("thousands", re.compile(r"^[+-]?\d{1,3}([, '\u202f]\d{3})+(\.\d+)?$")),
    ("date", re.compile(r"^\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([ T].*)?$")),
    (
        "date",
        re.compile(rf"^(\d{{1,2}}\.?[- ])?({_MONTHS})[a-zé]*\.?[- ]\d{{2,4}}$", re.IGNORECASE),
    ),
    ("date", re.compile(rf"^\d{{1,2}}\.?[- ]({_MONTHS})[a-zé]*\.?$", re.IGNORECASE)),
    ("bound", re.compile(r"^[<>≤≥=]+ ?[+-]?\d+([.,]\d+)?$")),
    ("unit", re.compile(r"^[+-]?\d+([.,]\d+)? ?(%|[a-zA-Zµμ°/²]{1,12}\d?)$")),
    ("encoding", re.compile(r".*(\ufffd|Ã[\u0080-\u00bf]|Â[\u0080-\u00bf]).*")),
)
_ANY_TYPE = frozenset({"spreadsheet error", "encoding"})


def kinds_of(field: Field, wrong: pd.Series) -> Counter[str]:
    """How many of the cells look like which mistake; "other" for the rest.

    Args:
        field: the column's; a date in a category is one of its unknown texts like any other, except that a
            spreadsheet may have made it.
        wrong: texts of the cells.
    """
    counted: Counter[str] = Counter()
    rest = wrong
    for kind, pattern in _KINDS:
        if rest.empty:
            break
        if field.type == "bool" and kind not in _ANY_TYPE:
            continue
        if field.type == "category" and kind not in _ANY_TYPE | {"date"}:
            continue
        fits = rest.str.match(pattern)
        if fits.any():
            counted[kind] += int(fits.sum())
            rest = rest[~fits]
    if len(rest):
        counted["other"] += len(rest)
    return counted


def problem_of(field: Field, counted: Counter[str]) -> str:
    """One sentence about the most telling of the mistakes, with the number of all of them as a bucket."""
    rows = about(counted.total())
    kind = next((kind for kind, _ in _KINDS if counted[kind]), "other")
    match kind:
        case "spreadsheet error":
            return f"holds a spreadsheet's error text such as #N/A {rows}; correct the formula, or declare the text as missing"
        case "encoding":
            return f"holds characters of a wrong encoding {rows}; export it again with encoding UTF-8"
        case "date" if field.type == "category":
            return f"has a date where a category is declared {rows} (a spreadsheet makes dates of texts like 1-2); recode it"
    if field.type == "category":
        return f"has a category that the study does not list {rows}; recode it or mark it as missing"
    if field.type == "bool":
        return f"is not 0/1, true/false or yes/no {rows}; recode it"
    match kind:
        case "decimal comma":
            return f"has a decimal comma {rows}; export numbers with a decimal point"
        case "thousands":
            return f"has a mark between thousands {rows}; export plain numbers"
        case "date":
            return f"has a date where a number is declared {rows}; export a number, for a time the days since the start"
        case "bound":
            return f"has a comparison sign before the number {rows} (a detection limit?); decide on a number, or declare it as missing"
        case "unit":
            return f"has text behind the number {rows}; export the number alone, in the study's unit ({field.unit or 'none declared'})"
    if field.type == "int":
        return f"is not a whole number {rows}; correct the extract"
    return f"is not a number {rows}; correct the extract or declare its code as missing"

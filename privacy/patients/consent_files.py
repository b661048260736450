"""Consent records from a CSV table or FHIR Consent resources (R4 `provision`, R5 root `decision`).

A line of a table that is wrong stops the import. A FHIR resource that says something these rules cannot apply becomes a
denial of everything for its patient: not understood means excluded.
"""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from privacy.patients.consent import ANCESTRY, COVERS, EVERYTHING, HEALTH, Choice, ConsentError, Terms

Statement = tuple[str, Terms]

_COLUMNS = (
    "purpose",
    "decision",
    "disease",
    "studies",
    "studies_denied",
    "valid_from",
    "valid_until",
    "reason",
)
# HL7 v3 ActReason codes that hospitals use for research.
_ACT_REASONS = {"HRESCH": HEALTH, "BIORCH": HEALTH, "CLINTRCH": HEALTH, "POARCH": ANCESTRY}
# What a provision may hold beside these narrows it in ways that nothing here can check.
_UNDERSTOOD = {"id", "type", "period", "purpose", "provision"}


def from_csv(text: str, where: str) -> tuple[Statement, ...]:
    """(patient, terms) of each line; columns patient, purpose, decision and optionally the others of `Terms`.

    Several study ids in one cell are separated by spaces.

    Raises:
        ConsentError: a column is missing or unknown, or a line makes no sense: its number and why, never its content.
    """
    reader = csv.DictReader(io.StringIO(text.removeprefix("\ufeff")))
    names = reader.fieldnames or ()
    if not {"patient", "purpose", "decision"} <= set(names) or set(names) - {"patient", *_COLUMNS}:
        raise ConsentError(
            where,
            f"its first line must name patient, purpose, decision and may name {', '.join(_COLUMNS[2:])}",
        )
    found = []
    for row in reader:
        problem = "has more cells than the first line" if None in row else ""
        try:
            cells = {name: (row[name] or "").strip() for name in names}
            patient = cells.pop("patient")
            lists = {name: tuple(cells.pop(name, "").split()) for name in ("studies", "studies_denied")}
            terms = Terms(**cells, **lists)  # type: ignore[arg-type]  # names are checked above, values there
        except ConsentError as error:
            problem = problem or error.problem
        if problem or not patient:
            raise ConsentError(f"{where}, line {reader.line_num}", problem or "names no patient")
        found.append((patient, terms))
    return tuple(found)


def from_fhir(text: str, where: str) -> tuple[Statement, ...]:
    """(patient, terms) of each Consent in a resource, a Bundle, or one resource a line (ndjson).

    Raises:
        ConsentError: no JSON, or a Consent whose patient is not named.
    """
    return tuple(
        statement
        for number, resource in enumerate(_resources(text, where), start=1)
        for statement in _of_resource(resource, f"{where}, consent {number}")
    )


def _resources(text: str, where: str) -> Iterator[Mapping[str, Any]]:
    problem = ""
    held: list[Any] = []
    try:
        held = [json.loads(text)]
    except ValueError:
        try:
            held = [json.loads(line) for line in text.splitlines() if line.strip()]
        except ValueError:
            problem = "is neither JSON nor ndjson"
    if problem:
        raise ConsentError(where, problem)
    for body in held:
        inside = [body]
        if isinstance(body, dict) and body.get("resourceType") == "Bundle":
            inside = [entry.get("resource") for entry in body.get("entry", []) if isinstance(entry, dict)]
        for resource in inside:
            if isinstance(resource, dict) and resource.get("resourceType") == "Consent":
                yield resource


def _of_resource(resource: Mapping[str, Any], where: str) -> Iterator[Statement]:
    subject = resource.get("subject", resource.get("patient"))
    reference = subject.get("reference") if isinstance(subject, dict) else None
    if not isinstance(reference, str) or not reference.rpartition("/")[2]:
        raise ConsentError(where, "names no patient in patient.reference (R4) or subject.reference (R5)")
    patient = reference.rpartition("/")[2]
    terms: tuple[Terms, ...]
    try:
        terms = tuple(_terms(resource))
    except ConsentError as error:
        terms = (Terms(EVERYTHING, "deny", reason=f"not understood: {error.problem}"),)
    for term in terms:
        yield patient, term


def _terms(resource: Mapping[str, Any]) -> Iterator[Terms]:
    if resource.get("status") != "active":
        yield Terms(EVERYTHING, "deny", reason="the consent is not active")
        return
    if resource.get("modifierExtension"):
        raise ConsentError("", "a modifier extension")
    provision = resource.get("provision")
    if "decision" in resource:
        # R5: the root decides, and each provision is an exception to it.
        root, period = _choice(resource["decision"]), resource.get("period")
        exceptions = provision if isinstance(provision, list) else []
        purposes: Any = resource.get("purpose", [])
    elif isinstance(provision, dict):
        root, period = _choice(provision.get("type")), provision.get("period")
        _only_understood(provision)
        exceptions, purposes = provision.get("provision", []), provision.get("purpose", [])
    else:
        raise ConsentError("", "neither a decision (R5) nor a provision (R4)")
    if root == "deny" and not exceptions:
        yield Terms(EVERYTHING, "deny", reason="the patient denies")
        return
    if root == "deny":
        # Everything else is closed: only what an exception opens stays open.
        yield Terms(EVERYTHING, "deny", reason="the patient denies all but exceptions")
    elif purposes:
        yield from _each(purposes, "permit", period)
    elif not exceptions or "decision" not in resource:
        raise ConsentError("", "a permission without a purpose")
    for exception in exceptions:
        if not isinstance(exception, dict):
            raise ConsentError("", "a provision that is no object")
        _only_understood(exception)
        if exception.get("provision"):
            raise ConsentError("", "an exception from an exception")
        # R4 says its type; in R5 an exception is the opposite of the root.
        choice = _choice(exception.get("type", "permit" if root == "deny" else "deny"))
        yield from _each(exception.get("purpose", []), choice, exception.get("period", period))


def _each(purposes: Sequence[Any], choice: Choice, period: Any) -> Iterator[Terms]:
    if not purposes and choice == "deny":
        raise ConsentError("", "a denial of something without a purpose")
    valid_from, valid_until = _period(period)
    for purpose in purposes:
        code = purpose.get("code") if isinstance(purpose, dict) else None
        if not isinstance(code, str):
            raise ConsentError("", "a purpose without a code")
        code = _ACT_REASONS.get(code, code.replace("DUO_", "DUO:"))
        if code not in COVERS:
            raise ConsentError("", "a purpose that is not known here")
        yield Terms(code, choice, valid_from=valid_from, valid_until=valid_until)


def _choice(value: object) -> Choice:
    match value:
        case "permit":
            return "permit"
        case "deny":
            return "deny"
    raise ConsentError("", "neither permit nor deny")


def _period(period: Any) -> tuple[str, str]:
    if period is None:
        return "", ""
    if not isinstance(period, dict) or not all(isinstance(period.get(k, ""), str) for k in ("start", "end")):
        raise ConsentError("", "a period that is none")
    start, end = period.get("start", ""), period.get("end", "")
    # A year or a month alone is a period that these rules would have to guess.
    if any(day and len(day) < 10 for day in (start, end)):
        raise ConsentError("", "a period without days")
    return start[:10], end[:10]


def _only_understood(provision: Mapping[str, Any]) -> None:
    if set(provision) - _UNDERSTOOD:
        raise ConsentError("", "a provision that is narrowed by more than period and purpose")

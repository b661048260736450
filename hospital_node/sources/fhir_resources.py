"""What is read of single FHIR resources, R4 and R5 alike: codes, dates, status, references. Nothing here keeps state.

Rules, where FHIR leaves a choice: an Observation counts when final, amended or corrected; a Condition unless it was
entered in error or refuted; a MedicationRequest when it orders (no proposal, plan or option, nothing that was entered
in error, drafted or cancelled, no doNotPerform); a Procedure when completed or in progress; an Encounter once the
patient has come, each part of a longer stay as its own record. A Condition's day is its onset, a Procedure's the start
of its performance, else the day it was recorded; an Encounter's is the start of its actual period. An Encounter's codes
are those of its class and its type.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from hospital_node.sources.fhir_lines import Resource

RESOURCE_OF = {
    "condition": "Condition",
    "drug": "MedicationRequest",
    "measurement": "Observation",
    "observation": "Observation",
    "procedure": "Procedure",
    "visit": "Encounter",
}
_OBSERVED = frozenset({"final", "amended", "corrected"})
_DONE = frozenset({"completed", "in-progress"})
# R4's words, then those of R5 alone.
_CAME = frozenset(
    [
        "arrived",
        "triaged",
        "in-progress",
        "onleave",
        "finished",
        "on-hold",
        "discharged",
        "completed",
        "discontinued",
    ]
)
# Where the date may stand, the first that is there counts: performed is R4, occurrence and actualPeriod are R5.
_DATES = {
    "Observation": ("effectiveDateTime", "effectiveInstant", "effectivePeriod"),
    "Condition": ("onsetDateTime", "onsetPeriod", "recordedDate"),
    "MedicationRequest": ("authoredOn",),
    "Procedure": (
        "performedDateTime",
        "performedPeriod",
        "occurrenceDateTime",
        "occurrencePeriod",
        "recorded",
    ),
    "Encounter": ("period", "actualPeriod"),
}
# What a message names where none of them is there; otherwise the first.
_UNDATED = {"Procedure": "performed[x] or occurrence[x]", "Encounter": "period or actualPeriod"}
_NOT_CONDITIONS = frozenset({"entered-in-error", "refuted"})
_NOT_ORDERED = frozenset({"entered-in-error", "cancelled", "draft"})
_NO_ORDERS = frozenset({"proposal", "plan", "option"})
# Codes of these systems may stand in a message when they look like what the system issues.
_PUBLIC = {
    "http://snomed.info/sct": r"\d{6,18}",
    "http://loinc.org": r"\d{1,7}-\d|L[AP]\d{1,7}-\d",
    "http://www.nlm.nih.gov/research/umls/rxnorm": r"\d{1,8}",
    "http://www.whocc.no/atc": r"[A-Z](\d{2}([A-Z]([A-Z](\d{2})?)?)?)?",
    "http://hl7.org/fhir/sid/icd-10": r"[A-Z]\d[0-9A-Z](\.\w{1,4})?",
    "http://hl7.org/fhir/sid/icd-10-cm": r"[A-Z]\d[0-9A-Z](\.\w{1,4})?",
    "http://fhir.de/CodeSystem/bfarm/icd-10-gm": r"[A-Z]\d[0-9A-Z](\.\w{1,4})?",
}


def table(value: Any) -> Mapping[str, Any]:
    """The value where it is a JSON object, otherwise an empty one."""
    return value if isinstance(value, dict) else {}


def items(value: Any) -> list[Mapping[str, Any]]:
    """The objects of a JSON list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def text(value: Any) -> str:
    """The value where it is a text, otherwise ""."""
    return value if isinstance(value, str) else ""


def codes_of(concept: Any) -> list[str]:
    """ "system|code" of each coding of a CodeableConcept."""
    return [
        f"{text(coding.get('system'))}|{text(coding.get('code'))}"
        for coding in items(table(concept).get("coding"))
        if text(coding.get("code"))
    ]


def spoken_code(code: str) -> str:
    """The code for a message, or that it is one of a local system."""
    system, _, value = code.rpartition("|")
    pattern = _PUBLIC.get(system)
    return (
        f"code '{code}'"
        if pattern and re.fullmatch(pattern, value)
        else "a code of a system that messages do not repeat"
    )


def counts(resource: Resource) -> bool:
    """Whether the resource is a record, by its status."""
    match resource.get("resourceType"):
        case "Observation":
            return resource.get("status") in _OBSERVED
        case "Condition":
            status = {code.rpartition("|")[2] for code in codes_of(resource.get("verificationStatus"))}
            return not status & _NOT_CONDITIONS
        case "Procedure":
            return resource.get("status") in _DONE
        case "Encounter":
            return resource.get("status") in _CAME
        case _:
            return (
                resource.get("status") not in _NOT_ORDERED
                and resource.get("intent") not in _NO_ORDERS
                and resource.get("doNotPerform") is not True
            )


def date_of(resource: Resource) -> tuple[str, str]:
    """Path and text of the resource's date; the text is "" where it has none."""
    kind = resource["resourceType"]
    for key in _DATES[kind]:
        value = resource.get(key)
        if key.lower().endswith("period"):
            key, value = f"{key}.start", table(value).get("start")
        if text(value):
            return f"{kind}.{key}", text(value)
    return f"{kind}.{_UNDATED.get(kind, _DATES[kind][0])}", ""


@dataclass(frozen=True, slots=True, repr=False)
class Part:
    """A coded part of a resource; never prints.

    Attributes:
        path: of the part. coded: of its codes.
        codes: "system|code" of each.
        holder: the object with the value.
    """

    path: str
    coded: str
    codes: list[str]
    holder: Mapping[str, Any]


def coded_parts(resource: Resource) -> Iterator[Part]:
    """The coded parts of a resource that names its codes itself; of an Observation also its components."""
    kind = resource["resourceType"]
    if kind == "Encounter":
        yield Part(kind, f"{kind}.class or type", _kinds_of_encounter(resource), resource)
        return
    yield Part(kind, f"{kind}.code", codes_of(resource.get("code")), resource)
    if kind == "Observation":
        # The position counts every element, so that the path is the file's.
        listed = resource.get("component")
        for number, component in enumerate(listed if isinstance(listed, list) else []):
            path = f"{kind}.component[{number}]"
            yield Part(path, f"{path}.code", codes_of(table(component).get("code")), table(component))


def _kinds_of_encounter(resource: Resource) -> list[str]:
    """Of its class (R4: one Coding, R5: CodeableConcepts) and its types."""
    class_ = resource.get("class")
    listed = codes_of({"coding": [class_]}) if isinstance(class_, dict) else _codes_of_all(class_)
    return [*listed, *_codes_of_all(resource.get("type"))]


def _codes_of_all(concepts: Any) -> list[str]:
    return [code for concept in items(concepts) for code in codes_of(concept)]


def medication_of(resource: Resource) -> tuple[list[str], str]:
    """Codes of the ordered medication, and the reference where another resource says it: R4 and R5 write it differently."""
    both = table(resource.get("medication"))
    codes = codes_of(resource.get("medicationCodeableConcept")) or codes_of(both.get("concept"))
    reference = table(resource.get("medicationReference")) or table(both.get("reference"))
    target = text(reference.get("reference"))
    if target.startswith("#"):
        inside = contained(resource, target[1:])
        return codes or codes_of(inside.get("code")), ""
    return codes, target


def contained(resource: Resource, id_: str) -> Mapping[str, Any]:
    """The contained resource of that id, or an empty object."""
    return next((item for item in items(resource.get("contained")) if item.get("id") == id_), {})


def target_of(reference: str, kind: str) -> str:
    """The id in "Patient/1", "https://host/fhir/Patient/1/_history/2" or "urn:uuid:..."; "" for other kinds."""
    if reference.startswith(("urn:uuid:", "urn:oid:")):
        return reference.split(":", 2)[2]
    parts = reference.split("/_history/")[0].split("/")
    return parts[-1] if len(parts) >= 2 and parts[-2] == kind else ""


def version_of(resource: Resource) -> tuple[float, int]:
    """Orders versions of one resource: meta.lastUpdated, then meta.versionId."""
    meta = table(resource.get("meta"))
    version = text(meta.get("versionId"))
    try:
        updated = datetime.fromisoformat(text(meta.get("lastUpdated")))
    except ValueError:
        return 0.0, int(version) if version.isdecimal() else 0
    moment = updated if updated.tzinfo is not None else updated.replace(tzinfo=UTC)
    return moment.timestamp(), int(version) if version.isdecimal() else 0

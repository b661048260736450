"""Patients of a FHIR export, and whom a reference means.

Of two versions of a patient the newer counts. A patient whose link says "replaced-by" is the other one: its records
are counted to that one, so that nobody is in the table twice.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hospital_node.sources.dates import DateFault, Moment, Partial, parse_moment
from hospital_node.sources.definition import Definition
from hospital_node.sources.facts import NEVER, People, SourceError
from hospital_node.sources.fhir_lines import Place, Resource
from hospital_node.sources.fhir_resources import contained, items, table, target_of, text, version_of


@dataclass(frozen=True, slots=True, repr=False)
class _Patient:
    version: tuple[float, int]
    place: Place
    birth: str
    gender: str
    deceased: str
    is_dead: bool
    identifiers: tuple[str, ...]
    replaced_by: str


class Patients:
    """Everybody in the export; `add` every Patient, then `people` and `find`."""

    def __init__(self) -> None:
        """Nobody yet."""
        self._found: dict[str, _Patient] = {}
        self._position: dict[str, int] = {}
        self._identified: dict[str, int] = {}

    def add(self, place: Place, resource: Resource) -> None:
        """Keep what is needed of a Patient; an older version than the one held is let go."""
        id_, version = text(resource.get("id")), version_of(resource)
        if not id_:
            raise SourceError(f"Patient.id in {place}", "is empty; export it again")
        held = self._found.get(id_)
        if held is not None and held.version > version:
            return
        replaced = [
            text(table(link.get("other")).get("reference"))
            for link in items(resource.get("link"))
            if link.get("type") == "replaced-by"
        ]
        self._found[id_] = _Patient(
            version=version,
            place=place,
            birth=text(resource.get("birthDate")),
            gender=text(resource.get("gender")),
            deceased=text(resource.get("deceasedDateTime")),
            is_dead=resource.get("deceasedBoolean") is True or bool(text(resource.get("deceasedDateTime"))),
            identifiers=tuple(map(_identifier, items(resource.get("identifier")))),
            replaced_by=target_of(replaced[0], "Patient") or replaced[0] if replaced else "",
        )

    def people(self, definition: Definition) -> People:
        """Everybody who is not somebody else.

        Raises:
            SourceError: no patient, a date that cannot be used, a link to nobody.
        """
        if not self._found:
            raise SourceError("Patient", "is not in the export; export it with the other resources")
        own = [id_ for id_ in sorted(self._found) if not self._found[id_].replaced_by]
        self._position = {id_: number for number, id_ in enumerate(own)}
        chosen = [self._found[id_] for id_ in own]
        for id_, patient in self._found.items():
            if patient.replaced_by:
                self._position[id_] = self._final(id_)
        self._identify()
        partial = definition.source.partial_dates
        births = [_day(p.birth, "middle", f"Patient.birthDate in {p.place}") for p in chosen]
        deaths = [_day(p.deceased, partial, f"Patient.deceasedDateTime in {p.place}") for p in chosen]
        death_day = np.array([NEVER if d is None else d.day for d in deaths], dtype=np.int64)
        dead = np.array([p.is_dead for p in chosen], dtype=bool)
        return People(
            ids=np.array(own, dtype=object),
            birth_day=np.array([NEVER if b is None else b.day for b in births], dtype=np.int64),
            death_day=death_day,
            dead_undated=dead & (death_day == NEVER),
            traits={"gender": np.array([p.gender for p in chosen], dtype=object)},
            periods=None,
        )

    def find(self, resource: Resource, key: str = "subject") -> int | None:
        """Position of the patient that a record is about; None where nobody, or not exactly one, fits."""
        reference = table(resource.get(key))
        target = text(reference.get("reference"))
        if target.startswith("#"):
            return self._by_identifiers(contained(resource, target[1:]))
        found = self._position.get(target_of(target, "Patient")) if target else None
        if found is None and target.startswith("urn:"):
            found = self._identified.get(f"urn:ietf:rfc:3986|{target}")
        if found is None and not target:
            found = self._identified.get(_identifier(table(reference.get("identifier"))))
        return None if found == _SEVERAL else found

    def _by_identifiers(self, patient: Mapping[str, Any]) -> int | None:
        if patient.get("resourceType") != "Patient":
            return None
        named = {self._identified.get(_identifier(entry)) for entry in items(patient.get("identifier"))}
        known = named - {None, _SEVERAL}
        return known.pop() if len(known) == 1 else None

    def _identify(self) -> None:
        for id_, patient in self._found.items():
            for identifier in patient.identifiers:
                if identifier == "|":
                    continue
                position = self._position[id_]
                if self._identified.setdefault(identifier, position) != position:
                    self._identified[identifier] = _SEVERAL

    def _final(self, id_: str) -> int:
        """Position of the patient at the end of a chain of replacements."""
        place, seen = self._found[id_].place, {id_}
        while self._found[id_].replaced_by:
            id_ = self._found[id_].replaced_by
            if id_ in seen or id_ not in self._found:
                raise SourceError(
                    f"Patient.link in {place}",
                    "says 'replaced-by' and leads to no patient of the export; export that one too",
                )
            seen.add(id_)
        return self._position[id_]


# An identifier that two patients share names neither.
_SEVERAL = -1


def _identifier(entry: Mapping[str, Any]) -> str:
    return f"{text(entry.get('system'))}|{text(entry.get('value'))}"


def _day(date: str, partial: Partial, where: str) -> Moment | None:
    if not date:
        return None
    match parse_moment(date, partial):
        case DateFault.DROPPED:
            return None
        case DateFault.PARTIAL:
            raise SourceError(
                where, "is a year or a month alone; say by [source] partial_dates what it counts as"
            )
        case DateFault.UNREADABLE:
            raise SourceError(where, "is no FHIR date; correct the export")
        case moment:
            return moment

"""Records of a FHIR R4 or R5 bulk export.

Of two lines with one id the newer version counts (meta.lastUpdated, then versionId, then the later line), and where
that one is retracted, none. Only 8 bytes an id are kept to notice that; the lines are read again if it happens.
"""

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from hospital_node.sources.dates import DateFault, Moment, parse_moment
from hospital_node.sources.definition import Definition
from hospital_node.sources.facts import COLUMNS, Records, Request, SourceError
from hospital_node.sources.fhir_lines import Place, Resource, export_files, resources
from hospital_node.sources.fhir_people import Patients
from hospital_node.sources.fhir_resources import (
    RESOURCE_OF,
    Part,
    coded_parts,
    codes_of,
    counts,
    date_of,
    medication_of,
    target_of,
    text,
    version_of,
)
from hospital_node.sources.fhir_values import Unusable, label_of, number_of


@dataclass(frozen=True, slots=True, repr=False)
class _Hit:
    """One record that a request looks at, or why it cannot be used; raised only if no newer version replaces it."""

    key: str
    place: Place
    row: tuple[int, int, int, int, float, int] | None
    fault: SourceError | None = None


def read_fhir(folder: Path, definition: Definition, requests: Sequence[Request]) -> Records:
    """People and records of the export in `folder`.

    Raises:
        SourceError: a line is no resource, or a record cannot be understood.
    """
    files = export_files(folder)
    patients, medications = Patients(), dict[str, list[str]]()
    for place, resource in resources(files, frozenset({"Patient", "Medication"})):
        if resource["resourceType"] == "Patient":
            patients.add(place, resource)
        else:
            medications[text(resource.get("id"))] = codes_of(resource.get("code"))
    people = patients.people(definition)
    reader = _Reader(definition, requests, patients, medications)
    types = frozenset(RESOURCE_OF[request.domain] for request in requests)
    for place, resource in resources(files, types):
        reader.read(place, resource)
    return Records(people, reader.facts(files, types))


class _Reader:
    """Gathers hits line by line."""

    def __init__(
        self,
        definition: Definition,
        requests: Sequence[Request],
        patients: Patients,
        medications: Mapping[str, list[str]],
    ) -> None:
        self._definition, self._patients, self._medications = definition, patients, medications
        self._hits: dict[str, list[_Hit]] = {request.name: [] for request in requests}
        self._ids = array("q")
        self._codes: dict[str, int] = {}
        self._asked: dict[str, list[Request]] = {}
        for request in requests:
            self._asked.setdefault(RESOURCE_OF[request.domain], []).append(request)

    def read(self, place: Place, resource: Resource) -> None:
        kind, id_ = resource["resourceType"], text(resource.get("id"))
        key = f"{kind}/{id_}" if id_ else ""
        if key:
            self._ids.append(hash(key))
        if not counts(resource):
            return
        for part in self._parts(resource):
            for request in self._asked[kind]:
                matched = [c for c in part.codes if c in request.codes and c not in request.without]
                if matched:
                    hit = self._hit(key, place, resource, request, part, matched)
                    if hit is not None:
                        self._hits[request.name].append(hit)

    def facts(self, files: tuple[Path, ...], types: frozenset[str]) -> dict[str, pd.DataFrame]:
        """Tables of what counts.

        Raises:
            SourceError: the first record that counts and cannot be used.
        """
        newest = self._newest(files, types)
        tables = {}
        for name, hits in self._hits.items():
            kept = [hit for hit in hits if hit.place == newest.get(hit.key, hit.place)]
            for hit in kept:
                if hit.fault is not None:
                    raise hit.fault
            rows = [hit.row for hit in kept if hit.row is not None]
            frame = pd.DataFrame(rows, columns=list(COLUMNS))
            kinds = {column: "float64" if column == "number" else "int64" for column in COLUMNS}
            tables[name] = frame.astype(kinds).drop_duplicates().reset_index(drop=True)
        return tables

    def _newest(self, files: tuple[Path, ...], types: frozenset[str]) -> dict[str, Place]:
        """Of every hit whose id stands on several lines, where the newest version stands."""
        hashes, number = np.unique(np.frombuffer(self._ids, dtype=np.int64), return_counts=True)
        several = set(hashes[number > 1].tolist())
        keys = {
            hit.key for hits in self._hits.values() for hit in hits if hit.key and hash(hit.key) in several
        }
        newest: dict[str, tuple[tuple[float, int], Place]] = {}
        if keys:
            for place, resource in resources(files, types):
                key = f"{resource['resourceType']}/{text(resource.get('id'))}"
                if key in keys and (key not in newest or version_of(resource) >= newest[key][0]):
                    newest[key] = (version_of(resource), place)
        return {key: place for key, (_, place) in newest.items()}

    def _parts(self, resource: Resource) -> Iterator[Part]:
        if resource["resourceType"] != "MedicationRequest":
            yield from coded_parts(resource)
            return
        codes, reference = medication_of(resource)
        codes = codes or self._medications.get(target_of(reference, "Medication"), [])
        yield Part("MedicationRequest", "MedicationRequest.medication[x]", codes, resource)

    def _hit(
        self,
        key: str,
        place: Place,
        resource: Resource,
        request: Request,
        part: Part,
        codes: list[str],
    ) -> _Hit | None:
        try:
            moment = self._moment(resource)
            number, label = np.nan, request.codes[codes[0]]
            if len({request.codes[code] for code in codes}) > 1:
                raise Unusable(
                    part.coded,
                    f"is two categories of {request.name} at once; decide in map which codes count",
                )
            if request.reads == "number":
                number = number_of(part.holder, part.path, request)
            elif request.reads == "code":
                label = label_of(part.holder, part.path, request)
            person = self._patients.find(resource)
            if person is None and self._definition.source.unresolved == "refuse":
                raise Unusable(
                    f"{resource['resourceType']}.subject",
                    "names no patient of the export; export both at once, or say [source] unresolved = 'drop'",
                )
        except Unusable as unusable:
            return _Hit(key, place, None, SourceError(f"{unusable.path} in {place}", unusable.problem))
        dropped = moment is None or person is None or (request.reads == "number" and np.isnan(number))
        if dropped or moment is None or person is None:
            return None
        code = self._codes.setdefault(min(codes), len(self._codes))
        return _Hit(key, place, (person, moment.day, moment.microsecond, code, number, label))

    def _moment(self, resource: Resource) -> Moment | None:
        """None where the definition leaves such a record out."""
        path, date = date_of(resource)
        if not date:
            if self._definition.source.undated == "drop":
                return None
            raise Unusable(
                path,
                "is missing and so is every other date; say [source] undated = 'drop' to leave such records out",
            )
        match parse_moment(date, self._definition.source.partial_dates):
            case DateFault.DROPPED:
                return None
            case DateFault.PARTIAL:
                raise Unusable(
                    path, "is a year or a month alone; say by [source] partial_dates what it counts as"
                )
            case DateFault.UNREADABLE:
                raise Unusable(path, "is no FHIR date; correct the export")
            case found:
                return found

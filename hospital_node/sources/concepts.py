"""OMOP concepts that the definition names: what is below them, which of them a message may name."""

from collections.abc import Sequence

import pandas as pd

from hospital_node.sources.facts import Request, SourceError
from hospital_node.sources.omop_tables import Tables


class Concepts:
    """The vocabulary as far as the requests need it.

    Attributes:
        notes: sentences about declared concepts that deserve a second look.
    """

    def __init__(self, tables: Tables, requests: Sequence[Request]) -> None:
        """Reads `concept` (where there is one) and `concept_ancestor` (where a request looks below a concept).

        Raises:
            SourceError: a table is missing, a declared concept is unknown, or two categories of a field share one.
        """
        self._tables = tables
        self._has_names = tables.has("concept")
        self._below = self._descendants(requests)
        self.notes = self._check_declared(requests) if self._has_names else ()
        self._labels = {request.name: self._resolve(request) for request in requests}

    def wanted(self, asked: Sequence[Request]) -> pd.DataFrame:
        """Columns request (position), concept, label."""
        rows = [
            (number, concept, label)
            for number, request in enumerate(asked)
            for concept, label in self._labels[request.name].items()
        ]
        return pd.DataFrame(rows, columns=["request", "concept", "label"]).astype("int64")

    def unit_code(self, unit_id: str) -> tuple[str, str]:
        """SQL of the unit's own code (UCUM) and the join that it needs."""
        if not self._has_names:
            return "NULL::VARCHAR", ""
        id_, code = (
            self._tables.concept("concept", "concept_id", required=True, alias="n"),
            self._tables.text("concept", "concept_code", required=True, alias="n"),
        )
        return "units.unit_code", (
            f"LEFT JOIN (SELECT DISTINCT {id_} AS id, {code} AS unit_code FROM concept n "
            f"WHERE {id_} IN (SELECT DISTINCT unit_id FROM u)) units ON units.id = {unit_id}"
        )

    def spoken(self, concept: int) -> str:
        """The concept for a message: its id only where the vocabulary lists it."""
        if concept == 0:
            return "concept 0 (no matching concept)"
        if self._has_names and not self._listed([concept]).empty:
            return f"concept {concept}"
        return "a concept that the table 'concept' does not list"

    def _listed(self, ids: Sequence[int]) -> pd.DataFrame:
        id_ = self._tables.concept("concept", "concept_id", required=True)
        standard = self._tables.text("concept", "standard_concept")
        listed = ", ".join(map(str, ids))
        return self._tables.query(
            f"SELECT {id_} AS id, {standard} AS standard FROM concept t WHERE {id_} IN ({listed})", "concept"
        )

    def _check_declared(self, requests: Sequence[Request]) -> tuple[str, ...]:
        owner = {
            int(code): request.name for request in requests for code in (*request.codes, *request.without)
        }
        found = self._listed(sorted(owner))
        unknown = sorted(set(owner) - set(found["id"]))
        if unknown:
            raise SourceError(
                "concept", f"does not list concept {unknown[0]} of {owner[unknown[0]]}; check the id"
            )
        odd = sorted(found.loc[found["standard"].isna(), "id"])
        return tuple(
            f"concept {code} of {owner[code]} is not a standard concept; records carry standard concepts"
            for code in odd
        )

    def _descendants(self, requests: Sequence[Request]) -> dict[int, frozenset[int]]:
        ancestors = sorted({int(code) for request in requests for code in request.descendants})
        if not ancestors:
            return {}
        table = "concept_ancestor"
        if not self._tables.has(table):
            raise SourceError(
                self._tables.folder.name,
                f"holds no table '{table}', which says what is below a concept; export it, or say descendants = false in [concepts.NAME]",
            )
        above = self._tables.concept(table, "ancestor_concept_id", required=True)
        below = self._tables.concept(table, "descendant_concept_id", required=True)
        listed = ", ".join(map(str, ancestors))
        frame = self._tables.query(
            f"SELECT {above} AS above, {below} AS below FROM {table} t WHERE {above} IN ({listed})", table
        ).dropna()
        grouped = frame.astype("int64").groupby("above")["below"]
        return {int(ancestor): frozenset(map(int, ids)) for ancestor, ids in grouped}

    def _resolve(self, request: Request) -> dict[int, int]:
        """Concept -> label; a declared concept keeps its own label below another one."""
        found: dict[int, int] = {}
        for code, label in request.codes.items():
            for concept in self._with_descendants(code, request):
                if found.setdefault(concept, label) != label and str(concept) not in request.codes:
                    raise SourceError(
                        request.name,
                        f"concept {concept} is below concepts of two categories; list it in map itself",
                    )
        found |= {int(code): label for code, label in request.codes.items()}
        for code in request.without:
            for concept in self._with_descendants(code, request):
                found.pop(concept, None)
        return found

    def _with_descendants(self, code: str, request: Request) -> frozenset[int]:
        own = frozenset({int(code)})
        return own | self._below.get(int(code), frozenset()) if code in request.descendants else own

"""What a patient permits: append-only records folded into one decision with its reason.

Purposes are codes of the Data Use Ontology (GA4GH DUO; https://github.com/EBISPOT/DUO). Whatever is unknown, expired or
not understood excludes: a patient takes part only because of a record that says so.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date
from typing import Literal, Self

Choice = Literal["permit", "deny"]

NO_RESTRICTION, GENERAL, HEALTH, DISEASE, ANCESTRY = (
    "DUO:0000004",
    "DUO:0000042",
    "DUO:0000006",
    "DUO:0000007",
    "DUO:0000011",
)
# In a denial only: whatever the purpose.
EVERYTHING = "*"
# A permission for the key's purpose covers a study for these purposes; one for a disease only that disease.
COVERS: Mapping[str, frozenset[str]] = {
    NO_RESTRICTION: frozenset({NO_RESTRICTION, GENERAL, HEALTH, DISEASE, ANCESTRY}),
    GENERAL: frozenset({GENERAL, HEALTH, DISEASE, ANCESTRY}),
    HEALTH: frozenset({HEALTH, DISEASE}),
    DISEASE: frozenset({DISEASE}),
    ANCESTRY: frozenset({ANCESTRY}),
}
_MONDO = re.compile(r"^MONDO:\d{7}$")
_DATE = re.compile(r"^\d{4}-\d{2}-\d{2}$")


class ConsentError(ValueError):
    """A consent record that cannot be understood; never names the patient."""

    exit_code = 2

    def __init__(self, where: str, problem: str) -> None:
        """Message: "where: problem"."""
        super().__init__(f"{where}: {problem}" if where else problem)
        self.where = where
        self.problem = problem


@dataclass(frozen=True, slots=True)
class DataUse:
    """What a study is for, as consent is asked.

    Attributes:
        purpose: a key of `COVERS`. disease: MONDO code, with purpose `DISEASE` only.
        study: its id.
    """

    purpose: str
    disease: str
    study: str


@dataclass(frozen=True, slots=True)
class Terms:
    """One statement about one patient.

    Attributes:
        purpose: a key of `COVERS`, or `EVERYTHING` in a denial. disease: MONDO code, with purpose `DISEASE` only.
        decision: "permit" or "deny"; a withdrawal is a denial.
        studies: ids for which a permission holds, any study where empty. studies_denied: ids for which it does not.
        valid_from, valid_until: ISO dates, both included; "" leaves an end open.
        reason: a sentence for the hospital's own eyes.
    """

    purpose: str
    decision: Choice
    disease: str = ""
    studies: tuple[str, ...] = ()
    studies_denied: tuple[str, ...] = ()
    valid_from: str = ""
    valid_until: str = ""
    reason: str = ""

    def __post_init__(self) -> None:
        """Refuse what no rule could apply.

        Raises:
            ConsentError: an unknown code, a date that is none, a permission for everything.
        """
        problem = self._problem()
        if problem:
            raise ConsentError("", problem)

    def _problem(self) -> str:
        if self.decision not in ("permit", "deny"):
            return "the decision is 'permit' or 'deny'"
        if self.purpose not in COVERS and not (self.purpose == EVERYTHING and self.decision == "deny"):
            return f"the purpose is one of {', '.join(COVERS)}, or '*' to deny everything"
        if (self.purpose == DISEASE) != bool(self.disease) or (
            self.disease and not _MONDO.match(self.disease)
        ):
            return f"a disease as in MONDO:0005109 belongs to purpose {DISEASE}, and only to it"
        for day in (self.valid_from, self.valid_until):
            if day and not _is_date(day):
                return "a date is written YYYY-MM-DD"
        return ""

    def touches(self, use: DataUse) -> bool:
        """Whether the purpose is the study's, or wider."""
        if self.purpose == EVERYTHING:
            return True
        if use.purpose not in COVERS[self.purpose]:
            return False
        return self.purpose != DISEASE or self.disease == use.disease

    def to_json(self) -> dict[str, object]:
        """All fields by name."""
        body = {field.name: getattr(self, field.name) for field in fields(self)}
        return body | {"studies": list(self.studies), "studies_denied": list(self.studies_denied)}

    @classmethod
    def from_json(cls, body: Mapping[str, object]) -> Self:
        """Inverse of `to_json`; every key but purpose and decision may be left out.

        Raises:
            ConsentError: an unknown key, a wrong type, or terms that no rule could apply.
        """
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(body) - known)
        if unknown:
            raise ConsentError("", f"unknown key; known are {', '.join(sorted(known))}")
        if not {"purpose", "decision"} <= set(body):
            raise ConsentError("", "purpose and decision are missing")
        values: dict[str, object] = {}
        for name, value in body.items():
            if name in ("studies", "studies_denied"):
                if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
                    raise ConsentError("", f"{name} is a list of study ids")
                values[name] = tuple(value)
            elif isinstance(value, str):
                values[name] = value
            else:
                raise ConsentError("", f"{name} is a text")
        return cls(**values)  # type: ignore[arg-type]  # the names and types were just checked


@dataclass(frozen=True, slots=True)
class Entry:
    """Terms in the register.

    Attributes:
        seq: position in the register. recorded: RFC 3339 by the hospital's clock.
        terms: what was said. source: SHA-256 of what it was read from, hexadecimal.
        supersedes: seq of the entry about the same purpose that it replaces; 0 for none.
    """

    seq: int
    recorded: str
    terms: Terms
    source: str
    supersedes: int


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether one patient takes part, and why; for the hospital's own eyes."""

    permitted: bool
    reason: str


def decide(entries: Sequence[Entry], use: DataUse, today: date) -> Decision:
    """The decision for one patient.

    The latest entry for a purpose is the one in force; a denial of everything ends all before it. A denial in force
    that touches the use excludes, whatever else is permitted.

    Args:
        entries: of this patient, in the order of the register.
        use: what is asked.
        today: by the hospital's clock.
    """
    now = _in_force(entries)
    if not entries:
        return Decision(False, "no record")
    touching = [terms for terms in now if terms.touches(use)]
    if any(terms.decision == "deny" and _denies(terms, today) for terms in touching):
        return Decision(False, "denied or withdrawn")
    permits = [terms for terms in touching if terms.decision == "permit"]
    if not permits:
        return Decision(False, "not permitted for this purpose")
    current = [terms for terms in permits if _is_valid(terms, today)]
    if not current:
        return Decision(False, "expired or not yet valid")
    # A study that one permission rules out by name is out, however wide another one is.
    if any(use.study in terms.studies_denied for terms in current):
        return Decision(False, "this study is ruled out by name")
    if not any(not terms.studies or use.study in terms.studies for terms in current):
        return Decision(False, "permitted for other studies")
    return Decision(True, "permitted")


def _in_force(entries: Iterable[Entry]) -> tuple[Terms, ...]:
    held: dict[tuple[str, str], Terms] = {}
    for entry in sorted(entries, key=lambda e: e.seq):
        terms = entry.terms
        if terms.purpose == EVERYTHING:
            held.clear()
        else:
            # A later word on one purpose stands beside nothing but later words.
            held.pop((EVERYTHING, ""), None)
        held[terms.purpose, terms.disease] = terms
    return tuple(held.values())


def _denies(terms: Terms, today: date) -> bool:
    """A denial holds from its first day; its end, if it has one, is honored."""
    return _is_valid(terms, today)


def _is_valid(terms: Terms, today: date) -> bool:
    day = today.isoformat()
    return (not terms.valid_from or terms.valid_from <= day) and (
        not terms.valid_until or day <= terms.valid_until
    )


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return bool(_DATE.match(text))

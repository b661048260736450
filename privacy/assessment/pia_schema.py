"""The machine-readable assessment, ``pia.json``: what it may hold, field by field.

The page is made from this document and from nothing else. ``pia.schema.json`` beside this module is `schema_text()`; a
test compares the two.
"""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from privacy.assessment.evidence import CodeIdentity, HumanQuestion, RoundRecord

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Basis = Literal[
    "proof",
    "statistical_test",
    "deterministic_test",
    "configuration",
    "party_attestation",
    "human_statement",
    "none",
]


class Status(StrEnum):
    """How a claim is known. Order in the class is from best to worst; a section has the worst of its claims."""

    NOT_APPLICABLE = "NOT_APPLICABLE"
    VERIFIED = "VERIFIED"
    ATTESTED = "ATTESTED"
    STATED = "STATED"
    NOT_TESTED = "NOT_TESTED"
    STALE = "STALE"
    UNDEFINED = "UNDEFINED"
    GAP = "GAP"
    FAILED = "FAILED"


def worst(statuses: list[Status]) -> Status:
    """The worst of some statuses; NOT_APPLICABLE where there are none."""
    order = list(Status)
    return max(statuses, key=order.index, default=Status.NOT_APPLICABLE)


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Claim(_Part):
    """One statement with its status, the evidence behind it and its limits.

    The lattice is enforced here: only what anyone can compute again may be VERIFIED, what only a party knows is
    ATTESTED at best, what people say is STATED, and a GAP has no basis.
    """

    id: str
    section: str
    text: str
    status: Status
    basis: Basis
    evidence: tuple[str, ...] = ()
    limits: str = Field(min_length=1)
    recheck: str = ""
    threats: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _status_fits_basis(self) -> Self:
        bases = {
            Status.VERIFIED: ("proof", "statistical_test", "deterministic_test", "configuration"),
            Status.ATTESTED: ("party_attestation",),
            Status.STATED: ("human_statement",),
            Status.GAP: ("none",),
        }.get(self.status)
        if bases is not None and self.basis not in bases:
            raise ValueError(f"{self.id}: a claim that is {self.status} cannot rest on {self.basis}")
        if self.status in (Status.VERIFIED, Status.ATTESTED) and not self.evidence:
            raise ValueError(f"{self.id}: a claim that is {self.status} names its evidence")
        if self.status is Status.VERIFIED and not self.recheck:
            raise ValueError(f"{self.id}: a verified claim says how to check it again")
        return self


class Alert(_Part):
    """What a reader must know before anything else; ``quote`` is text of others, printed as theirs."""

    kind: Literal[
        "no_guarantee",
        "failed",
        "missing_hospital",
        "aborted_round",
        "missing_ledger",
        "simulation",
        "unreadable",
    ]
    text: str
    quote: str = ""


class Gap(_Part):
    """Something that is not there, and who can provide it."""

    id: str
    kind: Literal[
        "human_missing", "evidence_missing", "undefined", "test_not_run", "switched_off", "not_built"
    ]
    text: str
    owner: str
    blocks_approval: bool


class Party(_Part):
    """A member of the roster."""

    id: str
    role: str
    identity_key_sha256: Sha256
    certificate_sha256: Sha256
    n_public: int | None


class DataItem(_Part):
    """One field of the study's dictionary."""

    name: str
    type: str
    roles: tuple[str, ...]
    purpose: str
    unit: str
    bounds: str
    source: str


class Study(_Part):
    """What the agreement says, in the words of the study file."""

    agreement_sha256: Sha256
    id: str
    title: str
    purpose: str
    mode: str
    stage: str
    stage_k: int | None
    family: str
    recipe: str
    strategy: str
    horizon_days: float
    intervals: int
    data_items: tuple[DataItem, ...]


class CurvePoint(_Part):
    delta: float
    epsilon: float


class TradeoffPoint(_Part):
    """Of any test with this false positive rate, the largest possible true positive rate."""

    fpr: float
    tpr_max: float


class View(_Part):
    """An epsilon with everything that gives it meaning. ``epsilon`` is None where it is UNDEFINED."""

    view: str
    epsilon: float | None
    delta: float | None
    unit: str
    adjacency: str
    sampling: str
    accountant: str
    note: str = ""


class CumulativePoint(_Part):
    """Epsilon of everything charged up to and including this many charges."""

    charges: int
    epsilon: float


class HospitalPrivacy(_Part):
    """One ledger: what the run cost, what all runs on the same patients cost together."""

    hospital: str
    status: Status
    note: str
    ledger_head: str | None
    entries: int
    reserved_only: int
    releases: int
    epsilon_run: float | None
    epsilon_cumulative: float | None
    delta: float | None
    budget_epsilon: float | None
    cumulative: tuple[CumulativePoint, ...]


class Dp(_Part):
    """Differential privacy of the run. ``reason`` says why there is none where ``kind`` is "none"."""

    kind: Literal["dp", "none"]
    reason: str
    views: tuple[View, ...]
    curve: tuple[CurvePoint, ...]
    tradeoff: tuple[TradeoffPoint, ...]
    tradeoff_curve: tuple[TradeoffPoint, ...]
    releases: tuple[dict[str, str | int | float], ...]
    per_hospital: tuple[HospitalPrivacy, ...]


class SecAgg(_Part):
    """Who was summed in which round; ``graph`` describes a sparse graph, and is empty for the complete one."""

    hospitals: int
    threshold: int | None
    colluding: int | None
    graph: str = ""
    rounds: tuple[RoundRecord, ...]
    participation_rank: int
    isolable_hospitals: tuple[str, ...]


class ControlState(_Part):
    """A control in this run: was it on, was it tested at this commit."""

    id: str
    title: str
    on: Literal["ON", "OFF", "NOT_BUILT", "UNKNOWN"]
    tested: Literal["PASS", "FAIL", "NOT_RUN", "NO_TEST", "STALE", "NOT_BUILT"]
    setting: str
    code: tuple[str, ...]
    tests: tuple[str, ...]


class ThreatState(_Part):
    """A threat with the state of its controls; ``status`` is the worst of them."""

    id: str
    title: str
    priority: Literal["must", "should"]
    attack: str
    residual: str
    status: Literal["FAILED", "NOT_BUILT", "OFF", "UNKNOWN", "PARTLY", "NOT_TESTED", "TESTED"]
    controls: tuple[ControlState, ...]


class Section(_Part):
    """A chapter with the worst status of its claims."""

    id: str
    title: str
    status: Status
    claims: tuple[str, ...]
    questions: tuple[str, ...]


class EvidenceFile(_Part):
    """One file of the evidence folder and its digest."""

    path: str
    sha256: Sha256
    producer: str


class Measure(_Part):
    """Scores of one model on held-out patients, as printed."""

    name: str
    c_index: str
    ibs: str


class Pia(_Part):
    """The whole assessment. It says INCOMPLETE or READY_FOR_REVIEW; approval is for people."""

    schema_version: Literal["1.0"] = "1.0"
    pia_id: str
    generator_status: Literal["INCOMPLETE", "READY_FOR_REVIEW"]
    headline: str
    alerts: tuple[Alert, ...]
    gaps: tuple[Gap, ...]
    study: Study | None
    code: CodeIdentity | None
    finished_at: str | None
    parties: tuple[Party, ...]
    sections: tuple[Section, ...]
    claims: tuple[Claim, ...]
    human_inputs: tuple[HumanQuestion, ...]
    dp: Dp
    secagg: SecAgg
    results: tuple[Measure, ...]
    threats: tuple[ThreatState, ...]
    assumptions: tuple[dict[str, str], ...]
    evidence: tuple[EvidenceFile, ...]


def schema_text() -> str:
    """The JSON schema of ``pia.json``, as kept in ``pia.schema.json``."""
    return json.dumps(Pia.model_json_schema(), indent=1, sort_keys=True) + "\n"

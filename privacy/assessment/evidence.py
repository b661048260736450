"""The evidence folder of a bundle as typed values: bytes in, records out, nothing judged here.

A bundle is a folder (or zip) written by the coordinator::

    pia.json  pia.html  manifest.json  model.json  result.json
    evidence/agreement.json  evidence/roster.json  evidence/rounds.jsonl  evidence/receipts/<round>.bin
    evidence/ledger/<hospital>.jsonl  evidence/result.json  evidence/threats.json  evidence/human.json
    evidence/packages.json  evidence/tests.json (optional)  evidence/budgets.json (optional)
    evidence/simulation.json (simulation and demo only)

A file that is absent stays ``None`` or an empty mapping, a file that does not parse becomes a ``Problem``: both are
findings about the run and end up on page 1 of the assessment, so neither raises.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from privacy.assessment.threat_schema import Register
from privacy.link.canonical import NotCanonicalError, each_line, parse_canonical
from privacy.studies.agreement import Agreement, AgreementError, from_bytes
from privacy.studies.refusals import StudyError
from secagg.errors import SecAggError
from secagg.roster import SignedRoster, parse_signed_roster

AGREEMENT = "evidence/agreement.json"
ROSTER = "evidence/roster.json"
ROUNDS = "evidence/rounds.jsonl"
RECEIPTS = "evidence/receipts/"
LEDGERS = "evidence/ledger/"
RESULT = "evidence/result.json"
THREATS = "evidence/threats.json"
TESTS = "evidence/tests.json"
PACKAGES = "evidence/packages.json"
HUMAN = "evidence/human.json"
BUDGETS = "evidence/budgets.json"
SIMULATION = "evidence/simulation.json"
#: Beside the evidence folder, where its users look for it.
MODEL = "model.json"

#: Files without which an assessment is incomplete.
REQUIRED = (AGREEMENT, ROSTER, ROUNDS, RESULT, THREATS, PACKAGES, HUMAN)

Hex32 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
T = TypeVar("T")


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Missing(_Record):
    """A hospital that did not finish a round, and the step at which it fell silent."""

    hospital: str
    step: str


class RoundRecord(_Record):
    """One line of ``rounds.jsonl``, written by the coordinator when the round is over.

    ``answered`` are the hospitals in the sum, none for an aborted round; ``noise_removed`` those of them whose spare noise was taken out.
    """

    round: int = Field(ge=0)
    task: str
    status: Literal["done", "aborted"]
    reason: str = ""
    order_hash: Hex32
    answered: tuple[str, ...] = ()
    noise_removed: tuple[str, ...] = ()
    missing: tuple[Missing, ...] = ()
    threshold: int = Field(ge=1)
    seconds: float = Field(ge=0)
    finished_at: str | None = None


class CodeIdentity(_Record):
    """Which code ran: ``commit`` is None where the code was installed without its history."""

    version: str
    commit: str | None = Field(default=None, pattern="^[0-9a-f]{40}$")
    dirty: bool | None = None


class Packages(_Record):
    """``packages.json``: the code and the installed distributions of the coordinator's process."""

    code: CodeIdentity
    python: str
    packages: dict[str, str]


class TestRecord(_Record):
    """One test outcome, written by tests/threat_plugin.py."""

    __test__ = False

    id: str
    outcome: Literal["passed", "failed", "skipped"]
    controls: tuple[str, ...]


class TestEvidence(_Record):
    """``tests.json``: a test run, the commit it ran at and whether the tree had uncommitted changes."""

    __test__ = False

    commit: str | None = Field(default=None, pattern="^[0-9a-f]{40}$")
    dirty: bool | None = None
    tests: tuple[TestRecord, ...]


class HumanQuestion(_Record):
    """A question that only people can answer; ``hospital`` is an id or ``joint``."""

    id: str
    section: str
    question: str
    owner: str
    hospital: str
    state: Literal["MISSING", "DRAFT", "FINAL"] = "MISSING"
    answer: str | None = None
    by: str | None = None
    at: str | None = None


class Budget(_Record):
    """What a hospital's policy file allows on the same patients over all studies, as told by that hospital."""

    epsilon_total: float = Field(gt=0)
    delta_total: float = Field(gt=0, lt=1)


class Score(BaseModel):
    """How well a model orders (``c_index``) and predicts (``ibs``, lower is better) held-out patients."""

    model_config = ConfigDict(frozen=True)

    c_index: float
    ibs: float | None = None
    n: int | None = None


class Simulation(BaseModel):
    """``simulation.json``: scores measured on data that one machine could see. Never present in a real study."""

    model_config = ConfigDict(frozen=True)

    label: str = Field(pattern="^simulation only")
    test: Score
    baselines: dict[Literal["pooled_cox", "local_only"], Score] = {}


class StatedGuarantee(BaseModel):
    """The guarantee as the result file prints it."""

    model_config = ConfigDict(frozen=True)

    kind: Literal["dp", "none"]
    epsilon: float | None = None
    delta: float | None = None
    unit: str | None = None
    adjacency: str | None = None
    reason: str = ""


class StatedHospital(BaseModel):
    """What the result file prints about one hospital."""

    model_config = ConfigDict(frozen=True)

    epsilon: float | None = None
    epsilon_all_studies: float | None = None
    n_public: int | None = None


class StatedMissing(BaseModel):
    """A hospital that the result names as missing."""

    model_config = ConfigDict(frozen=True)

    hospital: str


class StatedCohort(BaseModel):
    """Who is in the last sum, and who was missing at some time, as the result file prints it."""

    model_config = ConfigDict(frozen=True)

    answered: tuple[str, ...]
    missing: tuple[StatedMissing, ...]


class StatedCoefficient(BaseModel):
    """One coefficient as the result file prints it."""

    model_config = ConfigDict(frozen=True)

    name: str
    scale: str = ""
    log_hr: float
    log_hr_scaled: float | None = None
    se: float | None = None
    ci95: tuple[float, float] | None = None


class Result(BaseModel):
    """The parts of ``result.json`` that the assessment checks; other keys are the users' and are not read.

    ``transport`` says whether a network was between the parties; without it network controls are UNKNOWN.
    """

    model_config = ConfigDict(frozen=True)

    study: str
    mode: str
    hospitals: tuple[str, ...]
    rounds: int
    guarantee: StatedGuarantee
    guarantee_planned: StatedGuarantee
    cohort: StatedCohort
    per_hospital: dict[str, StatedHospital]
    status: Literal["done", "failed"] = "done"
    coefficients: tuple[StatedCoefficient, ...] = ()
    coefficients_limit: str = ""
    analysis: dict[str, Any] | None = None
    transport: Literal["mutual_tls_1_3", "in_process"] | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """A file of the bundle that could not be read as what it should be."""

    path: str
    text: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything a bundle's evidence folder says, parsed; the raw bytes stay for hashes and signatures."""

    files: Mapping[str, bytes] = field(repr=False)
    agreement: Agreement | None
    roster: SignedRoster | None
    rounds: tuple[RoundRecord, ...] | None
    result: Result | None
    register: Register | None
    packages: Packages | None
    tests: TestEvidence | None
    human: tuple[HumanQuestion, ...] | None
    budgets: Mapping[str, Budget]
    simulation: Simulation | None
    problems: tuple[Problem, ...]

    def receipt(self, round_number: int) -> bytes | None:
        """The receipt of a round as received, None where the bundle has none."""
        return self.files.get(f"{RECEIPTS}{round_number}.bin")

    def ledger(self, hospital: str) -> bytes | None:
        """A hospital's ledger export as received, None where the bundle has none."""
        return self.files.get(f"{LEDGERS}{hospital}.jsonl")


@dataclass(frozen=True, slots=True)
class _Kept(Mapping[str, bytes]):
    """Those files of a bundle that the evidence is of; nothing is read before it is asked for."""

    whole: Mapping[str, bytes]

    def __getitem__(self, path: str) -> bytes:
        if path not in self:
            raise KeyError(path)
        return self.whole[path]

    def __contains__(self, path: object) -> bool:
        return isinstance(path, str) and _is_evidence(path) and path in self.whole

    def __iter__(self) -> Iterator[str]:
        return filter(_is_evidence, self.whole)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _is_evidence(path: str) -> bool:
    return path.startswith("evidence/") or path == MODEL


def load(files: Mapping[str, bytes]) -> Evidence:
    """Read the evidence of a bundle.

    Args:
        files: path inside the bundle (forward slashes) to content; only the model and what lies under ``evidence/`` is read. A mapping
            that reads where it is asked serves long receipts one at a time: none is kept here.

    Returns:
        The parsed evidence; what is absent is None or empty, what does not parse is listed in ``problems``.
    """
    kept = _Kept(files)
    problems: list[Problem] = []

    def read(path: str, parse: Callable[[bytes], T]) -> T | None:
        if path not in kept:
            return None
        try:
            return parse(kept[path])
        except (
            AgreementError,
            StudyError,
            SecAggError,
            NotCanonicalError,
            ValidationError,
            UnicodeDecodeError,
            json.JSONDecodeError,
        ) as error:
            problems.append(Problem(path, _first_line(error)))
            return None

    return Evidence(
        files=kept,
        agreement=read(AGREEMENT, from_bytes),
        roster=read(ROSTER, parse_signed_roster),
        rounds=read(ROUNDS, _rounds),
        result=read(RESULT, Result.model_validate_json),
        register=read(THREATS, Register.model_validate_json),
        packages=read(PACKAGES, Packages.model_validate_json),
        tests=read(TESTS, TestEvidence.model_validate_json),
        human=read(HUMAN, TypeAdapter(tuple[HumanQuestion, ...]).validate_json),
        budgets=read(BUDGETS, TypeAdapter(dict[str, Budget]).validate_json) or {},
        simulation=read(SIMULATION, Simulation.model_validate_json),
        problems=tuple(problems),
    )


def _rounds(data: bytes) -> tuple[RoundRecord, ...]:
    """The lines of ``rounds.jsonl``, each canonical; rounds must rise, so that none can hide behind another."""
    records = tuple(RoundRecord.model_validate(parse_canonical(line)) for line in each_line(data))
    numbers = [record.round for record in records]
    if numbers != sorted(set(numbers)):
        raise NotCanonicalError("the rounds do not rise line by line")
    return records


def _first_line(error: Exception) -> str:
    """One line about what is wrong; pydantic's message without the input that it quotes."""
    if isinstance(error, ValidationError):
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        return f"{place}: {first['msg']}" if place else first["msg"]
    return str(error).splitlines()[0]

"""The evidence folder of a bundle as typed values: bytes in, records out, nothing judged here.

A bundle is a folder (or zip) written by the coordinator::

    pia.json  pia.html  manifest.json
    evidence/agreement.json  evidence/roster.json  evidence/rounds.jsonl  evidence/receipts/<round>.bin
    evidence/ledger/<hospital>.jsonl  evidence/result.json  evidence/threats.json  evidence/human.json
    evidence/packages.json  evidence/tests.json (optional)  evidence/simulation.json (simulation and demo only)

A file that is absent stays ``None`` or an empty mapping, a file that does not parse becomes a ``Problem``: both are
findings about the run and end up on page 1 of the assessment, so neither raises.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

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
SIMULATION = "evidence/simulation.json"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Missing(_Record):
    """A hospital that did not finish a round, and the step at which it fell silent."""

    hospital: str
    step: str


class RoundRecord(_Record):
    """One line of ``rounds.jsonl``, written by the coordinator when the round is over."""

    round: int = Field(ge=0)
    task: str
    status: Literal["done", "aborted"]
    reason: str = ""
    order_hash: str = Field(pattern="^[0-9a-f]{64}$")
    answered: tuple[str, ...]
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


@dataclass(frozen=True, slots=True)
class Problem:
    """A file of the bundle that could not be read as what it should be."""

    path: str
    text: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything a bundle's evidence folder says, parsed; the raw bytes stay for hashes and signatures."""

    files: Mapping[str, bytes] = field(repr=False)
    rounds: tuple[RoundRecord, ...]
    result: Mapping[str, Any] | None
    simulation: Mapping[str, Any] | None
    packages: Packages | None
    tests: TestEvidence | None
    human: tuple[HumanQuestion, ...]
    problems: tuple[Problem, ...]


def load(files: Mapping[str, bytes]) -> Evidence:
    """Read the evidence of a bundle.

    Args:
        files: path inside the bundle (forward slashes) to content.

    Returns:
        The parsed evidence; what is absent is None or empty, what does not parse is listed in ``problems``.
    """
    raise NotImplementedError

"""policy.toml: a hospital's limits, parsed strictly."""

import tomllib
from datetime import date
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from privacy.studies.refusals import nearest

Mode = Literal["local", "distributed", "none"]
SyntheticGate = Literal["measure", "stop"]


class PolicyFileError(Exception):
    """A policy file that cannot be used: where, what, and the remedy."""

    exit_code: ClassVar[int] = 2

    def __init__(self, where: str, problem: str) -> None:
        """Keep both parts; the message is "where: problem"."""
        super().__init__(f"{where}: {problem}")
        self.where = where
        self.problem = problem


class Policy(BaseModel):
    """policy.toml.

    Attributes:
        epsilon_total: budget of one data epoch over all studies, add/remove one patient.
        epsilon_study: ceiling for what one study may promise; no ceiling but the budget where it is left out.
        data_epoch: which table this policy is about; the ledger must be in the same epoch (privacy/ledgers/data_epoch.py).
        delta_total: the one delta at which it is read, in (0, 1).
        minimum_noise_multiplier: floor for every release, per row's clip.
        minimum_threshold: floor for t, the hospitals that must survive a round.
        minimum_cohort: floor for the number of hospitals in a study.
        colluding_minimum: floor for T, the hospitals assumed to collude with the coordinator.
        families, stages, purposes, modes: what is permitted; purposes may be ["*"], any stated purpose.
        allow_mode_none: permit training without noise as well (mode "none" must then be in modes too).
        allow_sparse_graph: permit studies over the sparse graph of secure aggregation, which hides one hospital but for a small chance, and not at all from
            a coordinator that can choose whom to break into once the graph is known; false where the file does not say.
        aborted_rounds_maximum: a study with more aborted rounds than this goes no further.
        expires: last day on which this policy permits anything.
        consent_register: patients take part only if the hospital's consent register permits it; a study then has to
            name its purpose as a code ([study] duo).
        field_purposes: per field the purposes for which it may be asked, as the study states them; "*" as a field
            stands for every other, as a purpose for any. Empty: fields are not limited.
        analyses: kinds of [analysis] that a study may ask: "survival", "count", "mean", "histogram", "quantile", "evaluation", or
            "*" for any; none where the file does not say.
        minimum_cell: floor for [analysis] minimum_cell, which rules what is printed in mode none.
        synthetic_gate: what a synthetic table that does not pass its quality gate means: "measure" reports it, "stop" holds the
            table back, which others can see and no number covers; decided before anybody looks.
        record_releases: keep a copy of each release in the hospital's own journal.
        journal_anchor: file of the journal's last hash, from the home folder if not absolute; beside the journal where it is left out,
            and then a whole volume that comes back from a copy is not noticed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    epsilon_total: float = Field(gt=0, allow_inf_nan=False)
    delta_total: float = Field(gt=0, lt=1)
    minimum_noise_multiplier: float = Field(ge=0, allow_inf_nan=False)
    minimum_threshold: int = Field(ge=2)
    minimum_cohort: int = Field(ge=2)
    colluding_minimum: int = Field(ge=0)
    epsilon_study: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    data_epoch: str = Field(default="", max_length=40)
    families: tuple[str, ...]
    stages: tuple[str, ...]
    purposes: tuple[str, ...]
    modes: tuple[Mode, ...]
    allow_mode_none: bool = False
    allow_sparse_graph: bool = False
    aborted_rounds_maximum: int = Field(ge=0)
    expires: date
    consent_register: bool = False
    field_purposes: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    analyses: tuple[str, ...] = ()
    minimum_cell: int = Field(default=5, ge=1)
    synthetic_gate: SyntheticGate = "measure"
    record_releases: bool = False
    journal_anchor: str = ""


def read_policy(path: Path) -> Policy:
    """The policy of a hospital's home folder.

    Raises:
        PolicyFileError: there is none yet, or as `parse_policy`.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise PolicyFileError(
            str(path),
            "is not there; check --home, or write what this hospital permits, after deploy/actg175_policy.toml",
        ) from None
    except UnicodeDecodeError:
        raise PolicyFileError(str(path), "is not UTF-8; save it again with that encoding") from None
    return parse_policy(text, str(path))


def parse_policy(text: str, where: str) -> Policy:
    """The policy in a TOML text.

    Args:
        text: contents of policy.toml.
        where: file name for messages.

    Raises:
        PolicyFileError: no TOML, an unknown key (with the nearest known one), a missing or wrong value.
    """
    try:
        body = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PolicyFileError(where, f"is not TOML: {error}") from None
    for key in body:
        if key not in Policy.model_fields:
            raise PolicyFileError(where, f"unknown key '{key}'; {nearest(key, Policy.model_fields)}")
    lists = {key: _tuples(value) for key, value in body.items()}
    try:
        return Policy.model_validate(lists)
    except ValidationError as error:
        lacking = [
            str(one["loc"][0]) for one in error.errors(include_input=False) if one["type"] == "missing"
        ]
        if lacking:
            raise PolicyFileError(
                where, f"lacks {', '.join(lacking)}; deploy/actg175_policy.toml has every key with a comment"
            ) from None
        first = error.errors(include_input=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise PolicyFileError(where, f"{key}: {first['msg']}") from None


def _tuples(value: object) -> object:
    """TOML's lists as the tuples of a frozen policy, in a table too."""
    match value:
        case list():
            return tuple(value)
        case dict():
            return {key: _tuples(inner) for key, inner in value.items()}
    return value

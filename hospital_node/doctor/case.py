"""What is being examined: what the operator typed, the machine, and what earlier checks found out for later ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from hospital_node.clock import Clock
from hospital_node.home import Home
from hospital_node.proxy_route import Route
from hospital_node.reach import Shown
from privacy.ledgers.policy_file import Policy
from privacy.link.inquiry import Standing
from privacy.link.member_keys import MemberKeys
from privacy.link.roster_file import TrustedRoster
from privacy.studies.study import Study

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Heard:
    """The coordinator's answer.

    Attributes:
        standing: None where it admitted this hospital and did not know the question.
        middle: this machine's wall clock halfway between question and answer.
        margin_s: half the time between the two.
    """

    standing: Standing | None
    middle: datetime
    margin_s: float


@dataclass(slots=True)
class Case:
    """One examination; the second half is filled by the checks that others name as needed.

    Attributes:
        study_file, data, coordinator: None where the option was not given.
        environment: of this process.
        system: folder with /proc and /sys.
    """

    home: Home
    study_file: Path | None
    data: Path | None
    coordinator: str | None
    drop_undeclared: bool
    environment: Mapping[str, str]
    clock: Clock
    system: Path = Path("/")
    keys: MemberKeys | None = None
    roster: TrustedRoster | None = None
    policy: Policy | None = None
    study: Study | None = None
    route: Route | None = None
    shown: Shown | None = None
    heard: Heard | None = None


def held(value: T | None) -> T:
    """What an earlier check left; a check that calls this names that one in `needs`."""
    assert value is not None, "the check that finds this out is missing in `needs`"
    return value

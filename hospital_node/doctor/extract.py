"""Does the study fit this hospital and its policy, and the table the study? Nothing of the table is shown, not how long it is either."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from hospital_node.doctor.case import Case, held
from hospital_node.doctor.finding import Check, Finding, failed, not_asked, ok, warn
from hospital_node.epoch_marks import EpochMarks, who_is_in
from hospital_node.findings import DataError
from hospital_node.stated_terms import stated_terms
from privacy.ledgers.policy_lists import check_rules
from privacy.ledgers.policy_refusal import PolicyRefusal
from privacy.link.roster_file import TrustedRoster
from privacy.studies.study import Study, load_study

DATA_CHECK = (
    "wardround-hospital data check --study {study} --data {data} says everything that is wrong with it"
)
# A table of a million rows takes about so long; the rest of the examination has its own time.
READ_S = 8.0
# How many rows a fault is in, as `findings.about` says it.
ROWS = re.compile(r" in (fewer than )?[\d,]+ rows( or more)?")


def look_at_study(case: Case) -> Finding:
    if case.study_file is None:
        return not_asked("no --study was given", "give --study study.toml to have it looked at")
    case.study = load_study(case.study_file)
    return judge_study(case.study, case.roster)


def judge_study(study: Study, roster: TrustedRoster | None) -> Finding:
    """Args: `roster` is None where this hospital has none yet."""
    if roster is not None and study.hospitals != roster.roster.ids:
        return failed(
            f"{study.id} is for {', '.join(study.hospitals)}, the signed roster has {', '.join(roster.roster.ids)}",
            "ask the coordinator for the roster of this study, or for the study of this roster",
        )
    return ok(f"{study.id}: {study.title}")


def look_at_permission(case: Case) -> Finding:
    check_rules(held(case.policy), stated_terms(held(case.study)), case.clock.now())
    return ok("the rules of policy.toml permit it; what is left of the budget `study show` says")


def look_at_data(case: Case) -> Finding:
    if case.data is None:
        return not_asked("no --data was given", "give --data extract.csv to have it read")
    # pandas takes a second to import.
    from hospital_node.table import read_table

    study = held(case.study)
    try:
        frame = read_table(case.data, study.dictionary, drop_undeclared=case.drop_undeclared)
    except DataError as problem:
        return failed(ROWS.sub("", str(problem)), DATA_CHECK)
    if case.policy is not None:
        epoch = case.policy.data_epoch
        try:
            EpochMarks(case.home.epochs).check(epoch, who_is_in(frame, study, case.data))
        except PolicyRefusal:
            # Its own words say how many.
            return failed(
                f"somebody in {case.data.name} was in the table of another data epoch than {epoch!r} of policy.toml, whose budget it counts in",
                "correct data_epoch in policy.toml, or leave out whoever belongs to the other one",
            )
    return judge_access(case.data, os.stat(case.data).st_mode, study.id)


def judge_access(path: Path, mode: int, study: str) -> Finding:
    """Of a table that fits: who else may read it. Args: `mode` is st_mode."""
    if mode & stat.S_IROTH:
        return warn(
            f"{path.name} fits {study}, and every user of this machine may read it (mode {stat.S_IMODE(mode):04o})",
            f"chmod 640 {path}",
        )
    return ok(f"{path.name} is readable and fits the dictionary of {study}")


STUDY = Check(
    "study",
    look_at_study,
    remedy="check --study, or ask the statistician for the file; `wardround-study lint` says what is wrong with it",
)
PERMISSION = Check(
    "permission",
    look_at_permission,
    needs=("policy", "study"),
    remedy="whoever answers for policy.toml decides; the node would refuse this study",
)
DATA = Check("data", look_at_data, needs=("study",), remedy=DATA_CHECK, limit_s=READ_S, late="skipped")

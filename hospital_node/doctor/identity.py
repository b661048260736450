"""How far is this hospital on its way into the consortium, and are its keys its own alone?"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hospital_node import enrolment
from hospital_node import keys as key_folder
from hospital_node.doctor.case import Case, held
from hospital_node.doctor.finding import Check, Finding, failed, ok, warn
from privacy.link.certificates import fingerprint_groups
from privacy.link.member_keys import IDENTITY_KEY, TLS_KEY

INIT = "wardround-hospital init <id of this hospital> --home {home} --contact 'name, phone'"
LOST = "restore the folder keys/ from its offline copy; or make new keys with `init` in an empty folder and enrol again"


@dataclass(frozen=True, slots=True)
class Access:
    """Who may do what with a file: st_mode and the numbers of owner and of this process."""

    path: Path
    mode: int
    owner: int
    process: int


def look_at_home(case: Case) -> Finding:
    root = case.home.root
    if not root.is_dir():
        return failed(
            f"there is no folder {root}",
            "check --home; a new hospital begins with: " + INIT,
        )
    if not (case.home.keys / IDENTITY_KEY).exists():
        return failed(
            f"no keys were made in {case.home.keys} yet",
            "check --home; a new hospital begins with: " + INIT,
        )
    return ok(str(root.resolve()))


def look_at_keys(case: Case) -> Finding:
    private = [case.home.keys / name for name in (IDENTITY_KEY, TLS_KEY)]
    if case.home.consents.key.exists():
        private.append(case.home.consents.key)
    wrong = judge_access([access(case.home.keys, os.geteuid()), *(access(p, os.geteuid()) for p in private)])
    if wrong is not None and wrong.result == "failed":
        return wrong
    case.keys = key_folder.load(case.home.keys)
    return wrong or ok(f"of {case.keys.id}, readable by their owner alone")


def access(path: Path, process: int) -> Access:
    """As the file system says it."""
    status = path.stat()
    return Access(path, status.st_mode, status.st_uid, process)


def judge_access(held_by: Sequence[Access]) -> Finding | None:
    """The first file that is open to others, then the first that is somebody else's; None where there is none."""
    for one in held_by:
        mode = stat.S_IMODE(one.mode)
        if stat.S_ISDIR(one.mode) and mode & 0o022:
            return failed(
                f"{one.path} can be written by other users (mode {mode:04o}), who could put other keys there",
                f"chmod 700 {one.path}",
            )
        if not stat.S_ISDIR(one.mode) and mode & 0o077:
            return failed(
                f"{one.path} is open to other users (mode {mode:04o})",
                f"chmod 600 {one.path}; and make new keys if somebody may have read it",
            )
    for one in held_by:
        if one.owner != one.process and one.process != 0:
            return failed(
                f"{one.path} belongs to user {one.owner}, and this process runs as {one.process}",
                "run the node and this command as the user who ran `init`",
            )
        if one.owner != one.process:
            return warn(
                f"{one.path} belongs to user {one.owner}, and you are root, who may read everything",
                f"run this command as the user who runs the node, as: sudo -u '#{one.owner}' wardround-hospital doctor ...",
            )
    return None


def look_at_roster(case: Case) -> Finding:
    folder, own = case.home.keys, held(case.keys)
    if not (folder / enrolment.CONSORTIUM).exists():
        return not_yet(own.id, folder, (folder / f"{own.id}.signature.json").exists())
    case.roster = enrolment.load_roster(folder)
    roster = case.roster.roster
    return ok(
        f"{own.id} is one of {len(roster.hospitals)} hospitals; roster {fingerprint_groups(roster.hash)[:19]} ..., signed by all"
    )


def not_yet(hospital: str, folder: Path, signed: bool) -> Finding:
    """The next step of a hospital that made its keys."""
    if signed:
        return failed(
            f"{hospital} signed the draft of the roster, and the complete one is not here yet",
            f"send {folder / hospital}.signature.json to the coordinator; what comes back when all signed is kept by: "
            "wardround-hospital enrol consortium.json --home {home}",
        )
    return failed(
        f"{hospital} is not enrolled yet: no roster is here",
        f"send {folder / enrolment.ENROLMENT} to the coordinator (nothing in it is secret); sign the draft that comes back with: "
        "wardround-hospital enrol consortium.draft.json --home {home}",
    )


HOME = Check(
    "home",
    look_at_home,
    remedy="check --home; and run this as the user who ran `init`, who alone may read that folder",
)
KEYS = Check("keys", look_at_keys, needs=("home",), remedy=LOST)
ROSTER = Check(
    "roster",
    look_at_roster,
    needs=("keys",),
    remedy="ask the coordinator for the complete consortium.json, and keep it with: wardround-hospital enrol consortium.json --home {home}",
)

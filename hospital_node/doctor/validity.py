"""Are the two certificates of this hospital's link valid, and for how long yet?"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from hospital_node.doctor.case import Case, held
from hospital_node.doctor.finding import Check, Finding, failed, ok, warn
from privacy.link.certificates import (
    Certificate,
    CertificateProblem,
    check_valid_at,
    expires_soon,
    read_certificate,
)

REMEDY = "its owner makes new keys with `init` in an empty folder and enrols them, and every hospital signs the new roster"


def look(case: Case) -> Finding:
    roster = held(case.roster)
    coordinator = roster.roster.coordinator.id
    return judge(
        {
            "this hospital": held(case.keys).certificate,
            "the coordinator": read_certificate(roster.certificates[coordinator]),
        },
        case.clock.now(),
    )


def judge(certificates: Mapping[str, Certificate], now: datetime) -> Finding:
    """Args: `certificates` by whose they are, as a sentence names them."""
    for owner, certificate in certificates.items():
        try:
            check_valid_at(certificate, now, owner)
        except CertificateProblem as problem:
            # Its remedy is written for a node that dials.
            found = str(problem).rsplit(": ", 1)[0]
            if problem.kind == "expired":
                return failed(found, REMEDY)
            return failed(
                found, "set this machine's clock by NTP; if it is right, ask whose certificate it is"
            )
    soon = {owner: c for owner, c in certificates.items() if expires_soon(c, now)}
    if soon:
        said = " and ".join(
            f"the certificate of {owner} expires on {c.not_after:%Y-%m-%d}, in {(c.not_after - now).days} days"
            for owner, c in soon.items()
        )
        return warn(said, f"before that, {REMEDY}")
    first = min(c.not_after for c in certificates.values())
    return ok(
        f"{' and '.join(certificates)}: the first expires on {first:%Y-%m-%d}, in {(first - now).days} days"
    )


CHECK = Check("certificates", look, needs=("roster",), remedy=REMEDY)

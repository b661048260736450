"""One constructor for each status a claim can have, so that status and basis cannot drift apart."""

from __future__ import annotations

from privacy.assessment.pia_schema import Claim, Status

RECHECK = "wardround-dpo verify"


def verified(
    identifier: str,
    section: str,
    text: str,
    evidence: tuple[str, ...],
    limits: str,
    threats: tuple[str, ...] = (),
) -> Claim:
    """Anyone can compute it again from the bundle, and verification does."""
    return _claim(identifier, section, text, Status.VERIFIED, evidence, limits, threats)


def attested(
    identifier: str,
    section: str,
    text: str,
    evidence: tuple[str, ...],
    limits: str,
    threats: tuple[str, ...] = (),
) -> Claim:
    """Only one party can know it, and that party signed or wrote it."""
    return _claim(identifier, section, text, Status.ATTESTED, evidence, limits, threats)


def stated(
    identifier: str,
    section: str,
    text: str,
    evidence: tuple[str, ...],
    limits: str,
    threats: tuple[str, ...] = (),
) -> Claim:
    """Somebody says so; nobody signed it."""
    return _claim(identifier, section, text, Status.STATED, evidence, limits, threats)


def failed(
    identifier: str, section: str, text: str, evidence: tuple[str, ...], threats: tuple[str, ...] = ()
) -> Claim:
    """The evidence contradicts it."""
    limits = "Nothing that builds on this can be relied on until it is explained."
    return _claim(identifier, section, text, Status.FAILED, evidence, limits, threats)


def gap(
    identifier: str,
    section: str,
    text: str,
    limits: str = "Nothing is claimed.",
    threats: tuple[str, ...] = (),
) -> Claim:
    """The evidence for it is not in the bundle."""
    return _claim(identifier, section, text, Status.GAP, (), limits, threats)


def undefined(
    identifier: str, section: str, text: str, evidence: tuple[str, ...], threats: tuple[str, ...] = ()
) -> Claim:
    """There is no such number."""
    limits = "Nothing bounds what can be learned about one patient."
    return _claim(identifier, section, text, Status.UNDEFINED, evidence, limits, threats)


def not_tested(
    identifier: str,
    section: str,
    text: str,
    limits: str,
    evidence: tuple[str, ...] = (),
    threats: tuple[str, ...] = (),
    *,
    stale: bool = False,
) -> Claim:
    """Nobody has tried, or (stale) somebody tried with other code."""
    status = Status.STALE if stale else Status.NOT_TESTED
    return _claim(identifier, section, text, status, evidence, limits, threats)


def not_applicable(identifier: str, section: str, text: str, limits: str) -> Claim:
    """The question does not arise in this run."""
    return _claim(identifier, section, text, Status.NOT_APPLICABLE, (), limits, ())


def _claim(
    identifier: str,
    section: str,
    text: str,
    status: Status,
    evidence: tuple[str, ...],
    limits: str,
    threats: tuple[str, ...],
) -> Claim:
    checked = status in (Status.VERIFIED, Status.FAILED)
    return Claim(
        id=identifier,
        section=section,
        text=text,
        status=status,
        basis="party_attestation"
        if status is Status.ATTESTED
        else "deterministic_test"
        if checked
        else "human_statement"
        if status is Status.STATED
        else "none",
        evidence=evidence,
        limits=limits,
        recheck=RECHECK if checked else "",
        threats=threats,
    )

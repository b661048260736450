"""Claims about members, the agreement, the code that ran, its tests, audits, and cost against alternatives."""

from __future__ import annotations

from collections.abc import Iterator

from privacy.assessment.evidence import AGREEMENT, PACKAGES, ROSTER, SIMULATION, TESTS, THREATS, Evidence
from privacy.assessment.pia_schema import Claim
from privacy.assessment.recompute import Facts
from privacy.assessment.statements import attested, failed, gap, not_tested, verified
from privacy.assessment.threat_states import tests_are_current, threat_states
from privacy.studies.study import Study


def parties(evidence: Evidence, facts: Facts) -> Iterator[Claim]:
    """The roster's signatures, and that it is the roster of this study."""
    threats = ("FL-06", "FL-13")
    if evidence.roster is None:
        yield gap(
            "P-ROSTER",
            "parties",
            "The signed list of members is not in the bundle or cannot be read.",
            threats=threats,
        )
        return
    if facts.roster_problem:
        text = f"The list of members does not verify: {facts.roster_problem}."
        yield failed("P-ROSTER", "parties", text, (ROSTER,), threats)
        return
    yield verified(
        "P-ROSTER",
        "parties",
        f"All {len(evidence.roster.roster.hospitals)} hospitals signed the same list of members; keys and certificates on it are pairwise distinct.",
        (ROSTER,),
        "Whether the keys belong to the institutions was checked by people over a second channel, or was not.",
        threats,
    )
    if evidence.agreement is None:
        return
    if evidence.roster.roster.ids != evidence.agreement.study.hospitals:
        text = "The list of members and the study agreement name different hospitals."
        yield failed("P-MEMBERS", "parties", text, (ROSTER, AGREEMENT), threats)
    else:
        yield verified(
            "P-MEMBERS",
            "parties",
            "The members are the hospitals of the study agreement.",
            (ROSTER, AGREEMENT),
            "Roles in the legal sense are a question for people.",
            threats,
        )


def description(evidence: Evidence, facts: Facts) -> Iterator[Claim]:
    """The agreement, its data items, the code."""
    agreement = evidence.agreement
    if agreement is None:
        yield gap(
            "D-AGREEMENT",
            "description",
            "The study agreement is not in the bundle or cannot be read.",
            threats=("FL-16",),
        )
    elif not _named(facts):
        yield gap(
            "D-AGREEMENT",
            "description",
            "No receipt and no ledger in the bundle names the agreement: that it is the one that ran is not shown.",
            threats=("FL-10", "FL-16"),
        )
    if agreement is not None and _named(facts):
        yield verified(
            "D-AGREEMENT",
            "description",
            "Every setting of the agreement follows from the study file by the public rules; receipts and ledgers name its hash.",
            (AGREEMENT,),
            "That the study file is the approved one is for people to compare.",
            ("FL-10", "FL-16"),
        )
    if agreement is not None:
        unsourced = agreement.study.dictionary.unsourced()
        if unsourced:
            text = f"The public source of the bounds is not stated for: {', '.join(unsourced)}."
            yield gap(
                "D-BOUNDS",
                "description",
                text,
                "Bounds read off the data would be an unpaid release.",
                ("FL-27",),
            )
        else:
            yield verified(
                "D-BOUNDS",
                "description",
                "Every data item has a purpose, and every bound names a public source.",
                (AGREEMENT,),
                "That the source says so, and that the item is needed, is for people to read.",
                ("FL-27",),
            )
        yield _fields(agreement.study)
    yield _code(evidence)


def _named(facts: Facts) -> bool:
    """Whether anything signed names the agreement's hash."""
    signed = any(item.receipt is not None for item in facts.rounds)
    return signed or any(ledger.named_rounds for ledger in facts.ledgers)


def _fields(study: Study) -> Claim:
    """Minimization: what is used against what there was."""
    used = [field.name for field in study.fields]
    unused = [name for name in study.about.available if name not in used]
    if not study.about.available:
        return not_tested(
            "D-FIELDS",
            "description",
            f"The study uses {len(used)} columns: {', '.join(used)}. Which others hospitals could have given is not stated.",
            "Name them in [study] available; each hospital's policy can limit fields by purpose (field_purposes).",
        )
    rest = f"not used: {', '.join(unused)}" if unused else "none is left out"
    return verified(
        "D-FIELDS",
        "description",
        f"The study uses {len(used)} of {len(study.about.available)} available columns: {', '.join(used)}; {rest}.",
        (AGREEMENT,),
        "That each is needed for its purpose is for people to judge; what is available is the study file's word.",
    )


def _code(evidence: Evidence) -> Claim:
    threats = ("FL-34",)
    if evidence.packages is None:
        return gap("D-CODE", "description", "Which code ran is not recorded in the bundle.", threats=threats)
    code = evidence.packages.code
    if code.commit is None or code.dirty is None:
        text = f"Version {code.version} ran from an installation without history: no commit identifies it."
        return gap("D-CODE", "description", text, threats=threats)
    if code.dirty:
        text = "The code that ran had uncommitted changes: no commit describes it, and no test run counts for it."
        return gap("D-CODE", "description", text, threats=threats)
    return attested(
        "D-CODE",
        "description",
        f"The coordinator ran version {code.version}, commit {code.commit[:12]}, without uncommitted changes, with {len(evidence.packages.packages)} recorded packages.",
        (PACKAGES,),
        "Told by the coordinator about itself; each hospital runs its own installation.",
        threats,
    )


def necessity(evidence: Evidence) -> Iterator[Claim]:
    """The measured price of privacy, where there was data to measure it on."""
    if evidence.simulation is None:
        yield not_tested(
            "N-COST",
            "necessity",
            "The utility of this run was not compared with pooled or local-only analysis: no party may see the data that takes.",
            "A simulation on public data shows what to expect.",
        )
        return
    yield attested(
        "N-COST",
        "necessity",
        "The federated model was scored on held-out patients beside its alternatives. Simulation only.",
        (SIMULATION,),
        "One run on demonstration data, figures without intervals.",
    )


def audits() -> Iterator[Claim]:
    """Attacks that were tried on this run."""
    yield not_tested(
        "A-AUDITS",
        "audits",
        "No attack was tried on this run: no canary, membership, inversion or attribute inference audit.",
        "The bound above is an upper bound from mathematics; nothing here measures a lower bound.",
        threats=("FL-01", "FL-02", "FL-29"),
    )


def threats(evidence: Evidence) -> Iterator[Claim]:
    """The register, the controls, and the tests behind them."""
    if evidence.register is None:
        yield gap(
            "T-REGISTER",
            "threats",
            "The threat register is not in the bundle or cannot be read.",
            threats=("FL-36",),
        )
        return
    states = threat_states(evidence)
    controls = {control.id: control for state in states for control in state.controls}
    wrong = sorted(name for name, control in controls.items() if control.tested == "FAIL")
    passed = [name for name, control in controls.items() if control.tested == "PASS"]
    built = [name for name, control in controls.items() if control.on != "NOT_BUILT"]
    off = sorted(name for name, control in controls.items() if control.on == "OFF")
    if wrong:
        text = f"Tests of controls failed at this commit: {', '.join(wrong)}."
        yield failed("T-TESTS", "threats", text, (TESTS, THREATS), ("FL-36",))
    elif evidence.tests is None:
        yield not_tested(
            "T-TESTS", "threats", "No test run is in the bundle.", "No control counts as tested.", (THREATS,)
        )
    elif not tests_are_current(evidence):
        yield not_tested(
            "T-TESTS",
            "threats",
            "The test run in the bundle was made with other code than ran here, or with uncommitted changes.",
            "No control counts as tested.",
            (TESTS, THREATS),
            stale=True,
        )
    elif len(passed) < len(built):
        yield not_tested(
            "T-TESTS",
            "threats",
            f"{len(passed)} of {len(built)} built controls have passing tests at the commit that ran.",
            "The others are listed below.",
            (TESTS, THREATS),
        )
    else:
        yield attested(
            "T-TESTS",
            "threats",
            f"All {len(built)} built controls have tests that passed at the commit that ran, in a clean tree.",
            (TESTS, THREATS),
            "A test shows that a control works where it was tried.",
        )
    if off:
        text = f"Switched off by the settings of this run: {', '.join(off)}."
        yield not_tested(
            "T-OFF", "threats", text, "Threats that rely on them are marked OFF.", (THREATS, AGREEMENT)
        )

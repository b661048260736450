"""What a study names, against what a policy lists: neither its plan nor the ledger is looked at."""

from collections.abc import Sequence
from datetime import datetime

from privacy.ledgers.policy_file import Policy
from privacy.ledgers.policy_refusal import PolicyRefusal
from privacy.ledgers.study_terms import StudyTerms

ANY = "*"


def check_rules(policy: Policy, terms: StudyTerms, now: datetime) -> None:
    """Everything that a study names and a policy lists; neither its plan nor the ledger is looked at.

    Raises:
        PolicyRefusal: exit code 1.
    """
    check_expiry(policy, now)
    if terms.mode == "none" and not policy.allow_mode_none:
        raise PolicyRefusal("allow_mode_none", "training without noise", "false")
    if terms.sparse and not policy.allow_sparse_graph:
        asked = "secure aggregation over the sparse graph, which may fail by a small chance and assumes that nobody is broken into once it is drawn"
        raise PolicyRefusal("allow_sparse_graph", asked, "false")
    named = (
        ("modes", terms.mode, policy.modes),
        ("families", terms.family, policy.families),
        ("stages", terms.stage, policy.stages),
    )
    for rule, asked, permitted in named:
        if asked not in permitted:
            raise PolicyRefusal(rule, repr(asked), _listed(permitted))
    if not terms.purpose.strip() or not {ANY, terms.purpose} & set(policy.purposes):
        raise PolicyRefusal("purposes", repr(terms.purpose), _listed(policy.purposes))
    _check_fields(policy, terms)
    for analysis in terms.analyses:
        if not {ANY, analysis} & set(policy.analyses):
            raise PolicyRefusal("analyses", repr(analysis), _listed(policy.analyses))
    if policy.consent_register and not terms.duo:
        raise PolicyRefusal(
            "consent_register", "a study without [study] duo", "a purpose that patients can permit"
        )
    floors = (
        ("minimum_threshold", terms.threshold, policy.minimum_threshold),
        ("minimum_cohort", terms.n, policy.minimum_cohort),
        ("colluding_minimum", terms.colluding, policy.colluding_minimum),
        ("minimum_cell", terms.minimum_cell or policy.minimum_cell, policy.minimum_cell),
    )
    for rule, number, floor in floors:
        if number < floor:
            raise PolicyRefusal(rule, str(number), f"at least {floor}")


def check_expiry(policy: Policy, now: datetime) -> None:
    """Refuses after the policy's last day."""
    if now.date() > policy.expires:
        raise PolicyRefusal(
            "expires",
            now.date().isoformat(),
            f"until {policy.expires.isoformat()}",
            remedy="the policy is out of date whatever is studied: let the hospital's data protection officer look at it again",
        )


def _check_fields(policy: Policy, terms: StudyTerms) -> None:
    """Minimization: no field for a purpose that this hospital does not give it for."""
    if not policy.field_purposes:
        return
    for name, purpose in terms.fields:
        permitted = policy.field_purposes.get(name, policy.field_purposes.get(ANY, ()))
        if not {ANY, purpose} & set(permitted):
            raise PolicyRefusal("field_purposes", f"field {name!r} for {purpose!r}", _listed(permitted))


def _listed(permitted: Sequence[str]) -> str:
    return ", ".join(repr(item) for item in permitted) or "nothing"

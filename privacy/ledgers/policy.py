"""What a hospital permits (policy.toml), checked before its data is read; a study cannot loosen it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from privacy.guarantees.accounting import renyi_epsilon
from privacy.guarantees.guarantee import Guarantee, rounded_up
from privacy.guarantees.plan import Charge, DpPlan, Release, vectors
from privacy.guarantees.stage_release import StageRelease, VoidRelease
from privacy.ledgers.budget import decisive_epsilon, filter_order, noise_epsilon, over_budget
from privacy.ledgers.charges import charged, cumulative, drawn
from privacy.ledgers.data_epoch import in_epoch
from privacy.ledgers.ledger import Entry, account_of, fold
from privacy.ledgers.ledger_rules import check_aborts, check_epoch, check_lost, check_name
from privacy.ledgers.policy_file import Policy as Policy
from privacy.ledgers.policy_lists import check_expiry, check_rules
from privacy.ledgers.policy_refusal import EXIT_BUDGET
from privacy.ledgers.policy_refusal import PolicyRefusal as PolicyRefusal
from privacy.ledgers.study_terms import StudyTerms as StudyTerms
from privacy.synthesis.charges import DerivedRelease, SynthesisRelease


@dataclass(frozen=True, slots=True)
class Permit:
    """A study that may go on, with the account that permitted it.

    Attributes:
        before: what is charged already, at the policy's delta.
        after: the same with the rest of the study.
        filter_epsilon: Renyi epsilon of `after` at `filter_order`, what the filter for adaptive studies compares.
        filter_order: the one order of this policy's filter.
    """

    before: Guarantee
    after: Guarantee
    filter_epsilon: float
    filter_order: int


def check(policy: Policy, terms: StudyTerms, entries: Sequence[Entry], now: datetime) -> Permit:
    """Permit a whole study, before any data is read.

    A study on untouched data is admitted by its exact composition: its plan was fixed before anything was released.
    Once something was released, plans may depend on it, and the Renyi filter decides (Feldman & Zrnic 2021); the
    exact composition is reported beside it. Epsilons are never added.

    Args:
        policy: the hospital's.
        terms: the study's.
        entries: the whole ledger.
        now: by the hospital's clock.

    Raises:
        PolicyRefusal: exit code 1 for a rule, 4 for the budget.
    """
    if (terms.plan is None) != (terms.mode == "none"):
        raise PolicyRefusal(
            "modes", f"mode {terms.mode!r} with the plan of another", "one plan unless mode is 'none'"
        )
    check_rules(policy, terms, now)
    account = account_of(entries)
    check_epoch(policy, terms, account)
    check_name(terms, entries)
    check_aborts(policy, terms, account)
    earlier = _charged_beside(terms, entries)
    if terms.plan is not None:
        _check_plan(policy, terms, terms.plan)
    planned = _planned(policy, terms, entries)
    order = filter_order(policy)
    beside = [e for e in in_epoch(entries) if e.record.study_hash != terms.study_hash]
    before = cumulative(beside, policy.delta_total)
    after = cumulative(beside, policy.delta_total, planned)
    renyi = renyi_epsilon((*earlier, *planned), policy.delta_total, order)
    decisive = decisive_epsilon(policy, earlier, planned)
    if planned and decisive > policy.epsilon_total:
        raise over_budget(policy, decisive, earlier, planned if earlier else ())
    return Permit(before, after, renyi, order)


def _planned(policy: Policy, terms: StudyTerms, entries: Sequence[Entry]) -> tuple[Charge, ...]:
    """What the plan adds: its stage is drawn once, so one that an earlier study drew is charged already."""
    if terms.plan is None:
        return ()
    others = [entry for entry in in_epoch(entries) if entry.record.study_hash != terms.study_hash]
    stage = terms.plan.stage
    if stage is None or not shares_drawing(policy, stage) or not drawn(others, stage):
        return terms.plan.charges
    return terms.plan.releases


def shares_drawing(policy: Policy, stage: StageRelease) -> bool:
    """Whether this hospital's studies with equal stages have one drawing.

    A synthetic table stands for the patients who permitted one study, and where a consent register is asked others may permit the next:
    each study then draws its own, whoever permitted what.
    """
    return not (policy.consent_register and isinstance(stage, SynthesisRelease))


def check_round(
    policy: Policy,
    terms: StudyTerms,
    entries: Sequence[Entry],
    release: Charge | None,
    now: datetime,
    finished: Collection[int] = (),
) -> None:
    """Permit one more round, before it is reserved: expiry, rounds that came to nothing, the plan and the budget with this round in it.

    Args:
        policy: the hospital's.
        terms: the study's.
        entries: the whole ledger; this round is not in it yet.
        release: what the round would be charged; None exactly in mode "none".
        now: by the hospital's clock.
        finished: rounds of this study that are not counted as lost: those with a receipt, and the one under way.

    Raises:
        PolicyRefusal: exit code 1 for a rule, 4 for the budget.
    """
    check_expiry(policy, now)
    account = account_of(entries)
    check_epoch(policy, terms, account)
    check_aborts(policy, terms, account)
    check_lost(policy, terms, account, finished)
    if terms.plan is None or release is None:
        if terms.plan is not None or release is not None:
            raise PolicyRefusal("modes", "a round with the noise of another mode", "the agreement's own")
        return
    if isinstance(terms.plan.stage, SynthesisRelease):
        _check_derived(terms.plan.stage, terms, entries, release)
        return
    planned = terms.plan.release(release.name)
    if not isinstance(release, Release):
        raise PolicyRefusal("plan", f"a round of {release.name!r} without noise", "the plan's own")
    _check_planned(planned, release)
    steps = account.charged.get((terms.study_hash, release.name), 0)
    if steps + release.steps > planned.steps:
        # What the study promises is its plan; room in the hospital's total does not stretch it.
        raise PolicyRefusal(
            "plan",
            f"{steps + release.steps} steps of {release.name!r} over all sessions",
            f"the {planned.steps} that epsilon {terms.epsilon} was promised for",
            f"{steps} steps",
            EXIT_BUDGET,
        )
    if all(study == terms.study_hash for study, _ in account.charged):
        # Part of the plan that was fixed beforehand, and cheaper than the whole of it.
        decisive = noise_epsilon(terms.plan.charges, policy.delta_total)
        filtered: tuple[Charge, ...] = ()
    else:
        # Other studies released something: this one may have been chosen after it.
        filtered = (release,)
        decisive = renyi_epsilon(
            (*charged(in_epoch(entries)), release), policy.delta_total, filter_order(policy)
        )
    if decisive > policy.epsilon_total:
        raise over_budget(policy, decisive, charged(in_epoch(entries)), filtered)


def _check_plan(policy: Policy, terms: StudyTerms, plan: DpPlan) -> None:
    """The plan must keep what the study promises, with noise above the floor and delta within the total."""
    if (terms.epsilon, terms.delta) != (plan.epsilon, plan.delta):
        raise PolicyRefusal("epsilon_total", f"epsilon {terms.epsilon}", f"the plan's own {plan.epsilon}")
    if policy.epsilon_study is not None and plan.epsilon > policy.epsilon_study:
        raise PolicyRefusal("epsilon_study", f"epsilon {plan.epsilon:g}", f"{policy.epsilon_study:g} a study")
    if plan.delta > policy.delta_total:
        raise PolicyRefusal("delta_total", f"{plan.delta:g}", f"{policy.delta_total:g}")
    for release in vectors(plan.charges):
        if release.noise_multiplier < policy.minimum_noise_multiplier:
            raise PolicyRefusal(
                "minimum_noise_multiplier",
                f"{release.noise_multiplier:g} for {release.name!r}",
                f"at least {policy.minimum_noise_multiplier:g}",
            )
    if isinstance(plan.stage, VoidRelease) and not policy.allow_mode_none:
        raise PolicyRefusal("allow_mode_none", f"stage {plan.stage.stage!r}, which has no guarantee", "false")
    cost = noise_epsilon(plan.charges, plan.delta)
    if cost > plan.epsilon:
        raise PolicyRefusal(
            "epsilon_total", f"a plan that costs {rounded_up(cost, 4)}", f"the {plan.epsilon:g} it promises"
        )


def _check_planned(planned: Release, release: Release) -> None:
    """A round may release a share of what the plan says and nothing else."""
    if planned.steps % release.steps or planned.split(planned.steps // release.steps) != release:
        raise PolicyRefusal(
            "plan", f"a round of {release.name!r} with other noise, clip, rate or rows", "the plan's own"
        )


def _check_derived(
    stage: SynthesisRelease, terms: StudyTerms, entries: Sequence[Entry], release: Charge
) -> None:
    """What is made of a synthetic table costs nothing: of the plan's own, which was drawn and paid in this epoch."""
    if not isinstance(release, DerivedRelease) or release.source != stage:
        raise PolicyRefusal("plan", f"a round of {release.name!r} on other patients", "the plan's own")
    if not drawn(in_epoch(entries), stage):
        raise PolicyRefusal(
            "plan",
            f"a round of study {terms.study_id!r} on a synthetic table",
            "one that this ledger was charged for",
        )


def _charged_beside(terms: StudyTerms, entries: Sequence[Entry]) -> tuple[Charge, ...]:
    """What is charged beyond this study's plan.

    Of this study itself nothing is: its rounds are numbered once for all sessions, an aborted one is not run again
    under the same number, and `check_round` counts the steps of all of them against the plan.
    """
    return tuple(state.release for key, state in fold(in_epoch(entries)).items() if not _is_own(terms, key))


def _is_own(terms: StudyTerms, key: tuple[str, str, int]) -> bool:
    return key[0] == terms.study_hash

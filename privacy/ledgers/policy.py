"""What a hospital permits (policy.toml), checked before its data is read; a study cannot loosen it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import log, log1p

from privacy.guarantees.accounting import renyi_epsilon, spent
from privacy.guarantees.composition import gdp_mu
from privacy.guarantees.guarantee import Guarantee, rounded_up
from privacy.guarantees.plan import Charge, DpPlan, Release, vectors
from privacy.guarantees.stage_release import StageRelease, VoidRelease
from privacy.ledgers.charges import cumulative, drawn
from privacy.ledgers.data_epoch import before_epoch, epoch_name, in_epoch
from privacy.ledgers.ledger import Entry, fold
from privacy.ledgers.policy_file import Mode
from privacy.ledgers.policy_file import Policy as Policy
from privacy.synthesis.charges import DerivedRelease, SynthesisRelease

EXIT_REFUSED = 1
EXIT_BUDGET = 4
ANY = "*"


class PolicyRefusal(Exception):
    """The hospital's policy does not permit what a study asks.

    Attributes:
        rule: the key of policy.toml that decides.
        asked: what the study asks.
        limit: what the policy allows.
        spent: what earlier releases took, or "" where nothing is spent.
        exit_code: 1 for a rule, 4 for the budget.
    """

    def __init__(
        self, rule: str, asked: str, limit: str, spent: str = "", exit_code: int = EXIT_REFUSED
    ) -> None:
        """Build the sentence from the parts."""
        before = f", {spent} is spent" if spent else ""
        super().__init__(
            f"policy.toml refuses by {rule}: asked {asked}, limit {limit}{before}; "
            "change the study, or let the hospital's data protection officer change the policy"
        )
        self.rule = rule
        self.asked = asked
        self.limit = limit
        self.spent = spent
        self.exit_code = exit_code


@dataclass(frozen=True, slots=True)
class StudyTerms:
    """What a policy needs to know of a study.

    Attributes:
        mode, family, stage, purpose: as in the study file.
        plan: None exactly in mode "none".
        threshold: t. colluding: T. n: number of hospitals in the study.
        epsilon, delta: what the study promises; None in mode "none".
        study_id: its name; one agreement a name.
        study_hash: SHA-256 of the agreement, hexadecimal.
        fields: (name, purpose) of each field that the study asks for.
        duo: code of the purpose, what a consent register is asked.
        analyses: kinds of what is asked beside a model.
        minimum_cell: smallest count that is printed where nothing is noised; None where noise covers counts, or none are asked.
        sparse: secure aggregation runs over the sparse graph.
    """

    mode: Mode
    plan: DpPlan | None
    family: str
    stage: str
    purpose: str
    threshold: int
    colluding: int
    n: int
    epsilon: float | None
    delta: float | None
    study_id: str
    study_hash: str
    fields: tuple[tuple[str, str], ...] = ()
    duo: str = ""
    analyses: tuple[str, ...] = ()
    minimum_cell: int | None = None
    sparse: bool = False


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


def filter_order(policy: Policy) -> int:
    """The Renyi order of this policy's filter: the best for one Gaussian that would use the whole budget.

    It depends on nothing but the policy, as the filter's theorem demands.
    """
    mu, delta = gdp_mu(policy.epsilon_total, policy.delta_total), policy.delta_total

    def epsilon(order: int) -> float:
        return order * mu**2 / 2 + log1p(-1 / order) - log(delta * order) / (order - 1)

    return min(range(2, 257), key=epsilon)


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
    _check_epoch(policy, terms, entries)
    _check_name(terms, entries)
    _check_aborts(policy, terms, entries)
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
        raise _over_budget(policy, decisive, earlier, planned if earlier else ())
    return Permit(before, after, renyi, order)


def decisive_epsilon(policy: Policy, earlier: Sequence[Charge], planned: Sequence[Charge]) -> float:
    """What is held to the budget: the exact composition of a plan on untouched data, else the filter for adaptively chosen studies.

    Behind a stage without guarantee the noise alone is held to it; its permission is a rule.
    """
    if earlier:
        return renyi_epsilon((*earlier, *planned), policy.delta_total, filter_order(policy))
    return _number(planned, policy.delta_total)


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
    _check_expiry(policy, now)
    _check_epoch(policy, terms, entries)
    _check_aborts(policy, terms, entries)
    _check_lost(policy, terms, entries, finished)
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
    rounds = fold(in_epoch(entries))
    before = tuple(state.release for state in rounds.values())
    steps = sum(
        state.release.steps
        for key, state in rounds.items()
        if isinstance(state.release, Release) and _is_own(terms, key) and state.release.name == release.name
    )
    if steps + release.steps > planned.steps:
        # What the study promises is its plan; room in the hospital's total does not stretch it.
        raise PolicyRefusal(
            "plan",
            f"{steps + release.steps} steps of {release.name!r} over all sessions",
            f"the {planned.steps} that epsilon {terms.epsilon} was promised for",
            f"{steps} steps",
            EXIT_BUDGET,
        )
    if all(_is_own(terms, key) for key in rounds):
        # Part of the plan that was fixed beforehand, and cheaper than the whole of it.
        decisive = _number(terms.plan.charges, policy.delta_total)
        filtered: tuple[Charge, ...] = ()
    else:
        # Other studies released something: this one may have been chosen after it.
        filtered = (release,)
        decisive = renyi_epsilon((*before, release), policy.delta_total, filter_order(policy))
    if decisive > policy.epsilon_total:
        raise _over_budget(policy, decisive, before, filtered)


def _number(charges: Sequence[Charge], delta: float) -> float:
    """Epsilon of the charges, of their noise alone where a stage has no guarantee: never less than was paid."""
    found = spent(charges, delta)
    return found.epsilon if found.epsilon is not None else spent(vectors(charges), delta).number()


def _over_budget(
    policy: Policy, asked: float, before: Sequence[Charge], filtered: Sequence[Charge]
) -> PolicyRefusal:
    """The refusal; where the filter decided about `filtered`, its figure stands beside that of the exact composition, and why they differ."""
    past, figure = _number(before, policy.delta_total), f"epsilon {rounded_up(asked, 4)} in all"
    if filtered:
        exact = _number((*before, *filtered), policy.delta_total)
        figure += (
            " by the filter, which holds also where this study was chosen by the results of earlier ones "
            f"(the exact composition, in which spent is counted, says {rounded_up(exact, 4)}, and holds only where it was not)"
        )
    return PolicyRefusal(
        "epsilon_total",
        figure,
        f"{policy.epsilon_total:g} at delta {policy.delta_total:g}",
        f"epsilon {rounded_up(past, 4)}",
        EXIT_BUDGET,
    )


def check_rules(policy: Policy, terms: StudyTerms, now: datetime) -> None:
    """Everything that a study names and a policy lists; neither its plan nor the ledger is looked at.

    Raises:
        PolicyRefusal: exit code 1.
    """
    _check_expiry(policy, now)
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


def _check_name(terms: StudyTerms, entries: Sequence[Entry]) -> None:
    """One accepted study file is one agreement: what differs only in its noise is not run beside it."""
    for record in (entry.record for entry in entries):
        released = record.release is not None or record.round > 0
        if released and record.study_id == terms.study_id and record.study_hash != terms.study_hash:
            raise PolicyRefusal(
                "study_id",
                f"study {terms.study_id!r} under agreement {terms.study_hash[:16]}",
                f"agreement {record.study_hash[:16]}, under which it released before; another study needs another id",
            )


def _check_fields(policy: Policy, terms: StudyTerms) -> None:
    """Minimization: no field for a purpose that this hospital does not give it for."""
    if not policy.field_purposes:
        return
    for name, purpose in terms.fields:
        permitted = policy.field_purposes.get(name, policy.field_purposes.get(ANY, ()))
        if not {ANY, purpose} & set(permitted):
            raise PolicyRefusal("field_purposes", f"field {name!r} for {purpose!r}", _listed(permitted))


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
    cost = _number(plan.charges, plan.delta)
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


def _check_expiry(policy: Policy, now: datetime) -> None:
    if now.date() > policy.expires:
        raise PolicyRefusal("expires", now.date().isoformat(), f"until {policy.expires.isoformat()}")


def _check_epoch(policy: Policy, terms: StudyTerms, entries: Sequence[Entry]) -> None:
    """The table that the policy is about is the one whose budget is asked, and a study stays within one epoch."""
    present = epoch_name(entries)
    if policy.data_epoch != present:
        raise PolicyRefusal(
            "data_epoch",
            f"data of epoch {policy.data_epoch!r}",
            f"epoch {present!r} of the ledger; if no patient is in an earlier table, begin the epoch with `wardround-hospital epoch`",
        )
    if any(entry.record.study_hash == terms.study_hash for entry in before_epoch(entries)):
        raise PolicyRefusal(
            "data_epoch", f"study {terms.study_id!r}, begun in an earlier epoch", "a study of one data epoch"
        )


def _check_aborts(policy: Policy, terms: StudyTerms, entries: Sequence[Entry]) -> None:
    """Rounds of this study that were reserved and came to nothing, over all its sessions."""
    aborted = sum(state.kind == "ABORT" for key, state in fold(entries).items() if key[0] == terms.study_hash)
    if aborted > policy.aborted_rounds_maximum:
        raise PolicyRefusal(
            "aborted_rounds_maximum", str(aborted), f"at most {policy.aborted_rounds_maximum}"
        )


def _check_lost(
    policy: Policy, terms: StudyTerms, entries: Sequence[Entry], finished: Collection[int]
) -> None:
    """Rounds of this study that were reserved, or noted in mode none, and have no receipt though a later one was begun, whether or not anybody said so."""
    begun = {
        entry.record.round
        for entry in entries
        if entry.record.study_hash == terms.study_hash and entry.kind in ("RESERVE", "NOTE")
    }
    # The latest may have a receipt on its way, or one that a broken connection swallowed.
    lost = begun - {0, max(begun, default=0), *finished}
    if len(lost) > policy.aborted_rounds_maximum:
        raise PolicyRefusal(
            "aborted_rounds_maximum",
            f"{len(lost)} rounds without a receipt",
            f"at most {policy.aborted_rounds_maximum}",
        )


def _charged_beside(terms: StudyTerms, entries: Sequence[Entry]) -> tuple[Charge, ...]:
    """What is charged beyond this study's plan.

    Of this study itself nothing is: its rounds are numbered once for all sessions, an aborted one is not run again
    under the same number, and `check_round` counts the steps of all of them against the plan.
    """
    return tuple(state.release for key, state in fold(in_epoch(entries)).items() if not _is_own(terms, key))


def _is_own(terms: StudyTerms, key: tuple[str, str, int]) -> bool:
    return key[0] == terms.study_hash


def _listed(permitted: Sequence[str]) -> str:
    return ", ".join(repr(item) for item in permitted) or "nothing"

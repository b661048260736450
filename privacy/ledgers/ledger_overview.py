"""A ledger as its owner reads it: study by study, what all of them add up to, and what one more would cost.

Three figures, each with its use: the exact composition of what was charged (the figure), the Renyi filter that admits later studies (they may
have been chosen after earlier results), and what adding the studies' epsilons would have said, which is never used.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from privacy.guarantees.accounting import CURVE_DELTAS, curve, renyi_epsilon, spent
from privacy.guarantees.guarantee import Guarantee
from privacy.guarantees.plan import Charge
from privacy.ledgers.budget import decisive_epsilon, filter_order
from privacy.ledgers.charges import charged, cumulative, without_noise
from privacy.ledgers.data_epoch import epoch_name, in_epoch
from privacy.ledgers.drawn_before import reused
from privacy.ledgers.ledger import Entry, RoundState, fold
from privacy.ledgers.policy_file import Policy


@dataclass(frozen=True, slots=True)
class StudyLine:
    """One study in the ledger.

    Attributes:
        study_id, study_hash: as charged.
        first_iso, last_iso: times of its first and last entry.
        charged, aborted, without_noise: rounds that were charged, that came to nothing (charged all the same), and of mode none.
        closed: nothing more of it can be released.
        alone: all its charges, and the drawing of another study that it says it uses.
        cumulative: these and everything charged before, in the order in which studies began.
    """

    study_id: str
    study_hash: str
    first_iso: str
    last_iso: str
    charged: int
    aborted: int
    without_noise: int
    closed: bool
    alone: Guarantee
    cumulative: Guarantee


@dataclass(frozen=True, slots=True)
class OneMore:
    """A study with the charges of the latest one, again.

    Attributes:
        like: the study it is like.
        after: the exact composition with it.
        filter_epsilon: what decides.
        fits: whether the budget has room for it.
    """

    like: str
    after: Guarantee
    filter_epsilon: float
    fits: bool


@dataclass(frozen=True, slots=True)
class Overview:
    """What `wardround-hospital ledger` shows, of the present data epoch.

    Attributes:
        epoch: its name; "" where none was begun.
        studies: in the order in which they began.
        total: exact composition at the policy's delta.
        ever: the same over all epochs.
        filter_epsilon, filter_order: Renyi epsilon of everything, and the policy's order.
        added: sum of the studies' epsilons, each at an equal share of the policy's delta; None where one has no number.
        limit: the policy's budget.
        curve: pairs (delta, epsilon) of the total.
        one_more: None where nothing was charged yet.
    """

    epoch: str
    studies: tuple[StudyLine, ...]
    total: Guarantee
    ever: Guarantee
    filter_epsilon: float
    filter_order: int
    added: float | None
    limit: float
    curve: tuple[tuple[float, float], ...]
    one_more: OneMore | None

    def to_json(self) -> dict[str, object]:
        """Everything by name."""
        return {
            "data_epoch": self.epoch,
            "studies": [
                {
                    "study_id": line.study_id,
                    "study_hash": line.study_hash,
                    "first": line.first_iso,
                    "last": line.last_iso,
                    "rounds_charged": line.charged,
                    "rounds_aborted": line.aborted,
                    "rounds_without_noise": line.without_noise,
                    "closed": line.closed,
                    "alone": line.alone.to_json(),
                    "cumulative": line.cumulative.to_json(),
                }
                for line in self.studies
            ],
            "cumulative": self.total.to_json(),
            "all_epochs": self.ever.to_json(),
            "filter": {"epsilon": self.filter_epsilon, "order": self.filter_order},
            "added_epsilons": self.added,
            "epsilon_total": self.limit,
            "curve": [{"delta": delta, "epsilon": epsilon} for delta, epsilon in self.curve],
            "one_more": None
            if self.one_more is None
            else {
                "like": self.one_more.like,
                "after": self.one_more.after.to_json(),
                "filter_epsilon": self.one_more.filter_epsilon,
                "fits": self.one_more.fits,
            },
        }


def overview(entries: Sequence[Entry], policy: Policy) -> Overview:
    """The account of a whole, verified ledger."""
    present, delta = in_epoch(entries), policy.delta_total
    everything, order = charged(present), filter_order(policy)
    lines = _studies(present, delta)
    total = cumulative(present, delta)
    exact = bool(without_noise(present))
    alone = [
        spent(own, delta / len(lines)).epsilon
        for line in lines
        if (own := _charges(present, line.study_hash))
    ]
    numbers = [epsilon for epsilon in alone if epsilon is not None]
    return Overview(
        epoch_name(entries),
        lines,
        total,
        cumulative(entries, delta),
        renyi_epsilon(everything, delta, order),
        order,
        sum(numbers) if len(numbers) == len(alone) and not exact else None,
        policy.epsilon_total,
        () if exact else tuple(curve(everything, CURVE_DELTAS)),
        _one_more(present, lines, policy),
    )


def _studies(entries: Sequence[Entry], delta: float) -> tuple[StudyLine, ...]:
    """One line a study that charged or noted a round."""
    rounds: dict[str, list[RoundState]] = {}
    for key, state in fold(entries).items():
        rounds.setdefault(key[0], []).append(state)
    named: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry.record.study_id:
            named.setdefault(entry.record.study_hash, []).append(entry)
    lines: list[StudyLine] = []
    before: list[Entry] = []
    for study_hash, own in named.items():
        states = rounds.get(study_hash, [])
        before.extend(own)
        lines.append(
            StudyLine(
                own[0].record.study_id,
                study_hash,
                own[0].record.time_iso,
                own[-1].record.time_iso,
                len(states),
                sum(state.kind == "ABORT" for state in states),
                len({e.record.round for e in own if e.kind == "NOTE" and e.record.round > 0}),
                any(entry.kind == "CLOSE" for entry in own),
                cumulative(own, delta, reused(entries, study_hash)),
                cumulative(before, delta),
            )
        )
    return tuple(lines)


def _one_more(entries: Sequence[Entry], lines: tuple[StudyLine, ...], policy: Policy) -> OneMore | None:
    latest = next((line for line in reversed(lines) if line.charged), None)
    if latest is None:
        return None
    earlier, again = charged(entries), _charges(entries, latest.study_hash)
    renyi = renyi_epsilon((*earlier, *again), policy.delta_total, filter_order(policy))
    decisive = decisive_epsilon(policy, earlier, again)
    after = cumulative(entries, policy.delta_total, again)
    return OneMore(latest.study_id, after, renyi, decisive <= policy.epsilon_total)


def _charges(entries: Sequence[Entry], study_hash: str) -> tuple[Charge, ...]:
    return charged(entry for entry in entries if entry.record.study_hash == study_hash)

"""What one round asks of a hospital beside the protocol: check the order, charge the ledger, compute the vector."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hospital_node.admission import Admitted
from hospital_node.clock import Clock
from hospital_node.flower_link import FlowerTraining
from hospital_node.ledger_store import LedgerStore
from hospital_node.sending_edge import TaggedVector
from hospital_node.sums import Sums
from privacy.guarantees.plan import Charge, Release
from privacy.ledgers import participation
from privacy.ledgers.ledger import Entry, fold
from privacy.ledgers.policy import Policy, check_round
from privacy.studies import exchange
from privacy.studies.next_model import Match
from secagg.agreed_set import member_headers, read_set
from secagg.fixed_point import from_ring
from secagg.masks import Ring
from secagg.states import Agreed, HospitalState, Joining, Ordered
from secagg.wire.records import Abort, RoundOrder


class RoundRefused(Exception):
    """An order that the agreement does not allow, or a model that does not follow from the last signed sum."""


@dataclass(frozen=True, slots=True)
class RoundWork:
    """The rounds of one admitted study."""

    admitted: Admitted
    me: str
    training: FlowerTraining
    policy: Policy
    sums: Sums

    @property
    def is_over(self) -> bool:
        """Whether the receipt of the last planned round was seen."""
        return exchange.total_rounds(self.admitted.agreement) in self.sums.receipted

    def model(self, told: RoundOrder) -> NDArray[np.float64]:
        """The order's model, (parameters,), with what else its task carries behind it; zeros where the task has none.

        Raises:
            ExchangeError: no such round, or a model of the wrong length or with wild parameters.
        """
        agreement = self.admitted.agreement
        task = exchange.task_at(agreement, told.round)
        if not task.carries_model:
            return np.zeros(agreement.parameters)
        return exchange.parse_model(agreement, told.model, task.carries)

    def check_order(self, told: RoundOrder, theta: NDArray[np.float64]) -> bool:
        """The order is the one that follows from the agreement, and its model, `theta`, from the last signed sum.

        Returns:
            Whether the model is the expected one to the bit; not where none is expected or nothing is known of it.

        Raises:
            RoundRefused: another task or setting, or a model that the coordinator made up.
            ExchangeError: no such round.
        """
        agreement = self.admitted.agreement
        if told.task != exchange.task_of(agreement, told.round):
            raise RoundRefused(f"round {told.round} is not for the task {told.task!r}")
        if told.settings != exchange.order_settings(agreement, told.round):
            raise RoundRefused(f"the settings of round {told.round} are not those of the agreement")
        task = exchange.task_at(agreement, told.round)
        if not task.carries_model:
            if told.model:
                raise RoundRefused(f"the round of {told.task} carries a model")
            return False
        match = self.sums.match(told, theta)
        if match is Match.OTHER:
            raise RoundRefused(
                f"the model of round {told.round} does not follow from "
                + (
                    f"the signed sum of round {told.previous_round}"
                    if told.previous_round
                    else "the public start"
                )
            )
        return match is Match.SAME

    def reserve(self, ordered: Ordered, told: RoundOrder, ledger: LedgerStore, clock: Clock) -> str:
        """Charges the round before anything is computed; says what pays for it.

        Raises:
            PolicyRefusal: the policy expired, too many rounds came to nothing, or the plan or the budget is used up.
        """
        agreement = self.admitted.agreement
        session = ordered.after.seat.context.session_id.hex()
        release = None if agreement.plan is None else self._release(told)

        def permit(entries: Sequence[Entry]) -> None:
            finished = {*self.sums.receipted, told.round}
            check_round(self.policy, self.admitted.terms, entries, release, clock.now(), finished)

        if release is None:
            # Under the ledger's lock like a charge: two processes must not both find the last round that is permitted.
            ledger.note(
                study_hash=agreement.hash,
                study_id=agreement.study.id,
                session=session,
                round_number=told.round,
                text=f"{told.task} released without noise (mode none)",
                permit=permit,
            )
            return "nothing: mode none"
        ledger.reserve(
            study_hash=agreement.hash,
            study_id=agreement.study.id,
            session=session,
            round_number=told.round,
            release=release,
            permit=permit,
            durable=False,
        )
        if isinstance(release, Release):
            return f"ledger entry {release.name}, noise multiplier {release.noise_multiplier:.3g}"
        return f"ledger entry {release.name}, made of the synthetic table, which was paid before"

    def spend(self, ordered: Ordered, told: RoundOrder, ledger: LedgerStore) -> None:
        """Marks the round as about to leave."""
        if self.admitted.agreement.plan is not None:
            ledger.spend(
                study_hash=self.admitted.agreement.hash,
                session=ordered.after.seat.context.session_id.hex(),
                round_number=told.round,
            )

    def check_set(self, agreed: Agreed, ledger: LedgerStore) -> Callable[[], None]:
        """In mode none the sets that were summed before decide too; what is returned keeps this one, before the answer leaves.

        Raises:
            RoundRefused: with the earlier sums, one over this set gives a single hospital's vector away.
        """
        agreement, frame = self.admitted.agreement, agreed.frame
        if agreement.plan is not None:
            return _nothing
        session, members = frame.context.session_id.hex(), agreed_members(agreed)

        def permit(entries: Sequence[Entry]) -> None:
            others = participation.agreed_sets(entries, agreement.hash, (session, frame.round))
            if participation.isolates((*others, members), agreement.colluding):
                raise RoundRefused(
                    f"with the sums before it, a sum over the set of round {frame.round} gives away what one hospital sent, "
                    "and mode none has no noise to hide it; only the hospitals of the earlier rounds together, or new ones besides, can be summed"
                )

        permit(ledger.entries())

        def remember() -> None:
            ledger.note(
                study_hash=agreement.hash,
                study_id=agreement.study.id,
                session=session,
                text=participation.note(frame.round, members),
                permit=permit,
            )

        return remember

    def vector(self, told: RoundOrder, theta: NDArray[np.float64]) -> TaggedVector:
        """The ring vector of a round, (dim,), with the event that pays for it.

        Args:
            told: the order.
            theta: its model.

        Raises:
            UntaggedRelease: the training answered with a number that has no tag.
        """
        agreement = self.admitted.agreement
        task = exchange.task_at(agreement, told.round)
        if task.payload == "change":
            training_round = told.round - int(agreement.training.life_table)
            trained = self.training.run(task.name, theta, training_round)
            changed = trained.values.astype(np.float64, copy=False)
            return TaggedVector(exchange.update_vector(agreement, self.me, theta, changed), trained.event)
        answer = self.training.run(task.name, theta, 1)
        if task.payload == "counts":
            vector = exchange.count_vector(agreement, self.me, np.rint(answer.values).astype(np.int64))
        else:
            integers = answer.values.astype(np.int64, casting="no", copy=False)
            vector = exchange.statistic_vector(agreement, self.me, integers)
        return TaggedVector(vector, answer.event, self.admitted.local.spare.take())

    def record(self, told: RoundOrder, vector: Ring, reports: Path) -> None:
        """Keeps a copy of the integers at the hospital before they are masked, where its policy says so."""
        if not self.policy.record_releases:
            return
        agreement = self.admitted.agreement
        folder = reports / "releases"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        integers = from_ring(vector, agreement.modulus_bits).astype("<i8")
        (folder / f"{agreement.study.id}-{told.round}.bin").write_bytes(integers.tobytes())

    def note_abort(self, abort: Abort, state: HospitalState, ledger: LedgerStore) -> None:
        """Records that a reserved round came to nothing; it stays charged. A round with a receipt did not."""
        if isinstance(state, Joining) or abort.round in self.sums.receipted:
            return
        agreement = self.admitted.agreement
        session = (state.seat if not hasattr(state, "after") else state.after.seat).context.session_id.hex()
        open_round = fold(ledger.entries()).get((agreement.hash, session, abort.round))
        if open_round is not None and open_round.kind != "ABORT":
            ledger.abort(
                study_hash=agreement.hash,
                study_id=agreement.study.id,
                session=session,
                round_number=abort.round,
                reason=abort.reason,
            )

    def _release(self, told: RoundOrder) -> Charge:
        agreement = self.admitted.agreement
        return exchange.charge_of(agreement, exchange.task_at(agreement, told.round))


def agreed_members(agreed: Agreed) -> frozenset[str]:
    """Who is in the set that this hospital last agreed to."""
    return frozenset(member_headers(read_set(agreed.agreed_set, agreed.after.seat.params)))


def _nothing() -> None:
    """Where noise hides a patient, sets are free."""

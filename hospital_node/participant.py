"""What a hospital holds while it takes part in a study, and the one way its state moves: on disk first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from hospital_node.admission import Admission, Admitted
from hospital_node.clock import Clock
from hospital_node.entropy import Entropy
from hospital_node.flower_link import FlowerTraining
from hospital_node.journal import Journal
from hospital_node.ledger_store import LedgerStore
from hospital_node.local_study import LocalStudy
from hospital_node.node_states import journal_round
from hospital_node.node_words import Declined, Ended, NodeEvent, Outgoing
from hospital_node.round_work import RoundWork
from hospital_node.spare_noise import SpareNoise
from hospital_node.sums import Sums
from privacy.noise.mechanisms import Sampler
from secagg.errors import ProtocolError
from secagg.secret import SecretBytes
from secagg.state_codec import encode_state
from secagg.states import HospitalState


@dataclass(slots=True)
class Participant:
    """What every message of the coordinator meets: the hospital's own parts, the admitted study and where it stands."""

    admission: Admission
    identity: SecretBytes
    journal: Journal
    ledger: LedgerStore
    entropy: Entropy
    sampler: Sampler
    clock: Clock
    report: Callable[[NodeEvent], None]
    approve: Callable[[Outgoing], bool]
    admitted: Admitted | None = None
    state: HospitalState | None = None
    ended: Ended | None = None
    work: RoundWork | None = field(default=None, repr=False)
    # The key list that came last, without which a seed of its graph cannot be recognized.
    listed: bytes = field(default=b"", repr=False)
    spare: SpareNoise | None = field(default=None, repr=False)

    @property
    def me(self) -> str:
        return self.admission.me

    def commit(
        self,
        state: HospitalState,
        request: bytes,
        replies: tuple[bytes, ...],
        *,
        ends_round: bool = False,
        graphs: int = 0,
        told: tuple[int, int] | None = None,
    ) -> None:
        """The state and the replies on disk; only then does the state move. A round that ends takes its uploaded vector with it.

        `graphs`, `told`: as `Journal.commit` keeps them.
        """
        assert self.admitted is not None
        self.journal.commit(
            bytes.fromhex(self.admitted.agreement.hash),
            journal_round(state),
            encode_state(state),
            request,
            replies,
            ends_round=ends_round,
            graphs=(self.admitted.agreement.study.id, graphs) if graphs else None,
            told=told,
        )
        self.state = state

    @property
    def keeps_files(self) -> bool:
        """Whether the journal holds a vector in a file, which goes with its round."""
        return self.journal.keeps_files(bytes.fromhex(self.require().agreement.hash))

    def require(self) -> Admitted:
        """The accepted study.

        Raises:
            ProtocolError: none is accepted yet.
        """
        if self.admitted is None:
            raise ProtocolError("this hospital has not accepted a study yet")
        return self.admitted

    def require_work(self) -> RoundWork:
        """The rounds of the accepted study.

        Raises:
            ProtocolError: none is accepted yet.
        """
        if self.work is None:
            raise ProtocolError("this hospital has not accepted a study yet")
        return self.work

    def work_of(self, admitted: Admitted) -> RoundWork:
        """The rounds of an admitted study, over its present table."""
        sums = Sums(self.admission.reports / "sums" / admitted.agreement.hash, admitted.agreement)
        return RoundWork(admitted, self.me, self._training(admitted.local), self.admission.policy, sums)

    def put_table(self, local: LocalStudy) -> None:
        """The same rounds over another table, from here on."""
        admitted = replace(self.require(), local=local)
        self.work = replace(self.require_work(), admitted=admitted, training=self._training(local))
        self.admitted = admitted

    def _training(self, local: LocalStudy) -> FlowerTraining:
        return FlowerTraining(local, self.admission.roster.position(self.me) + 1)

    def show(self, step: str, round_number: int, text: str) -> None:
        """Asks the operator before something leaves.

        Raises:
            Declined: the operator says no.
        """
        if not self.approve(Outgoing(step, round_number, text)):
            raise Declined(f"the operator of {self.me} did not let the {step} of round {round_number} leave")

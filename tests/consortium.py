"""A whole consortium in one process for tests: real nodes on files, the real coordinator, and a link that a test may bend.

Nothing here stands in for a part of the product: the hostile coordinator is the link, which holds the coordinator's key; time is a clock
that moves only when the coordinator waits.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from coordinator.entropy import OsEntropy as CoordinatorEntropy
from coordinator.gather import Gatherer
from coordinator.progress import Progress
from coordinator.service import Executed, execute
from coordinator.state import CoordinatorState
from coordinator.study_run import StudyRun
from deploy.simulate import consortium, make_node
from hospital_node.admission import Admission
from hospital_node.clock import Clock
from hospital_node.entropy import Entropy, OsEntropy
from hospital_node.ledger_store import LedgerStore
from hospital_node.local_study import LocalStudy
from hospital_node.node import Node
from hospital_node.node_words import NodeEvent
from privacy.ledgers.policy_file import Policy
from privacy.link.member_keys import MemberKeys
from privacy.noise.mechanisms import Sampler
from privacy.studies import exchange
from privacy.studies.agreement import Agreement, build
from privacy.studies.study import Study
from secagg import coordinator as protocol
from secagg.context import Context
from secagg.params import PROTOCOL_VERSION, SecAggParams
from secagg.roster import SignedRoster
from secagg.wire import codec
from secagg.wire.records import Receipt, SessionStart, SpareNoise, StudyOffer, VectorChunk
from tests.bent_link import BentLink, ManualClock
from tests.study_files import study, table, write_csv

HOSPITALS = ("a", "b", "c", "d")
DEADLINE_S = 20.0
# What a power cut would leave is the business of tests/process.
NO_FSYNC = "PRAGMA synchronous = OFF"

# Full batches: exact Gaussian accounting in milliseconds, and still real noise from a real plan.
SMALL = (
    ("n_public = {a = 400, b = 500, c = 600}", "n_public = {a = 400, b = 500, c = 600, d = 300}"),
    ('hospitals = ["a", "b", "c"]', f'hospitals = ["a", "b", "c", "d"]\ndeadline_s = {DEADLINE_S}'),
    (
        'family = "piecewise_exponential"',
        'family = "piecewise_exponential"\nrounds = 2\nlocal_steps = 2\nsample_rate = 1.0',
    ),
)
MODE_NONE = (
    ('mode = "local"\nepsilon = 3\ndelta = 1e-5', 'mode = "none"'),
    ("\nsample_rate = 1.0", ""),
)


def small_study(*changes: tuple[str, str]) -> Study:
    """Four hospitals, threshold three, a life table and two training rounds."""
    return study(*SMALL, *changes)


@cache
def small_agreement(*changes: tuple[str, str]) -> Agreement:
    """The agreement of `small_study`."""
    return build(small_study(*changes))


@cache
def keys_and_roster() -> tuple[dict[str, MemberKeys], SignedRoster]:
    """Keys of everybody, made once for all tests of a process."""
    return consortium(HOSPITALS, OsEntropy(), ManualClock())


class RememberingAdmission(Admission):
    """Reads equal tables for equal agreements once a process: half the time of most tests otherwise."""

    __slots__ = ()
    read: ClassVar[dict[tuple[str, str, bytes], tuple[LocalStudy, Path | None]]] = {}

    def _prepare(
        self,
        agreement: Agreement,
        ledger: LedgerStore,
        clock: Clock,
        sampler: Sampler,
        entropy: Entropy,
    ) -> tuple[LocalStudy, Path | None]:
        if self.policy.consent_register or agreement.study.stage.kind not in ("none", "generalize", "drop"):
            # These write to this hospital's own ledger, or ask its own register.
            return Admission._prepare(self, agreement, ledger, clock, sampler, entropy)
        key = (self.me, agreement.hash, self.data.read_bytes())
        if key not in self.read:
            # Slots make a class anew, so that the short form of super does not find it.
            self.read[key] = Admission._prepare(self, agreement, ledger, clock, sampler, entropy)
        return self.read[key]


@dataclass(slots=True)
class World:
    """One consortium on `root`."""

    root: Path
    study: Study
    agreement: Agreement
    keys: dict[str, MemberKeys]
    signed: SignedRoster
    clock: ManualClock
    nodes: dict[str, Node]
    link: BentLink
    node_events: list[tuple[str, NodeEvent]] = field(default_factory=list)
    progress: list[Progress] = field(default_factory=list)

    @classmethod
    def of(cls, root: Path, *changes: tuple[str, str], rows: int = 40) -> World:
        """Nodes of all hospitals with tables of `rows` made-up patients; integers are recorded before masking."""
        keys, signed = keys_and_roster()
        clock = ManualClock()
        chosen = small_study(*changes)
        world = cls(root, chosen, small_agreement(*changes), keys, signed, clock, {}, BentLink({}, clock))
        for seed, hospital in enumerate(HOSPITALS):
            write_csv(table(rows, seed), root, f"{hospital}.csv")
            world.nodes[hospital] = world.new_node(hospital)
        world.link = BentLink(world.nodes, clock)
        return world

    def new_node(self, hospital: str) -> Node:
        """A process of this hospital: a new object on the hospital's files."""
        node = make_node(
            hospital,
            self.keys[hospital],
            self.signed.roster,
            self.study,
            self.root / f"{hospital}.csv",
            self.root / "state",
            OsEntropy(),
        )
        node.report = lambda event: self.node_events.append((hospital, event))
        own = node.admission
        node.admission = RememberingAdmission(
            own.me, own.roster, own.policy, own.study, own.data, own.reports
        )
        self.with_policy(node, record_releases=True)
        for database in (node.journal._db, node.ledger._database):
            database.execute(NO_FSYNC)
        return node

    def with_policy(self, node: Node, **changes: Any) -> Node:
        """The node with another policy file."""
        policy = Policy.model_validate(node.admission.policy.model_dump() | changes)
        node.admission = replace(node.admission, policy=policy)
        return node

    def restart(self, hospital: str) -> Node:
        """The process dies and a new one opens its files."""
        self.nodes[hospital].journal.close()
        self.nodes[hospital].ledger.close()
        self.nodes[hospital] = self.new_node(hospital)
        return self.nodes[hospital]

    def gatherer(self, deadline_s: float = DEADLINE_S) -> Gatherer:
        return Gatherer(self.link, self.clock, deadline_s, self.progress.append)

    def study_run(self, state: CoordinatorState | None = None) -> StudyRun:
        """The coordinator's run, on this state or one of its own."""
        state = state or CoordinatorState(self.root / "coordinator.db")
        state._db.execute(NO_FSYNC)
        return StudyRun(
            self.agreement,
            self.signed.roster,
            self.keys["coordinator"].identity_private,
            self.gatherer(),
            state,
            self.clock,
            CoordinatorEntropy(),
            self.progress.append,
            self.root / "spool",
        )

    def execute(self) -> tuple[StudyRun, Executed]:
        """The whole study."""
        run = self.study_run()
        return run, execute(run, {}, "in_process")

    def recorded(self, round_number: int, hospitals: Iterable[str]) -> NDArray[np.int64]:
        """The sum of what the hospitals wrote down before masking."""
        files = (
            self.root / "state" / h / "reports" / "releases" / f"{self.agreement.study.id}-{round_number}.bin"
            for h in hospitals
        )
        vectors = [np.frombuffer(path.read_bytes(), dtype="<i8") for path in files]
        return np.asarray(np.sum(vectors, axis=0), dtype=np.int64)

    def spared(self, round_number: int, length: int) -> NDArray[np.int64]:
        """The sum of what hospitals told of their spare noise in a round, (length,)."""
        found = np.zeros(length, dtype=np.int64)
        for _, kind, message in self.link.answered:
            if kind == "spare_noise":
                piece = codec.unpack("spare_noise", SpareNoise, message)
                found += np.frombuffer(piece.data, dtype="<i8") if piece.round == round_number else 0
        return found

    def ledger(self, hospital: str) -> list[tuple[str, int]]:
        """(kind, round) of every entry."""
        return [(e.record.kind, e.record.round) for e in self.nodes[hospital].ledger.entries()]

    def refusals(self, hospital: str) -> list[str]:
        """What this hospital refused, as its operator reads it."""
        return [e.text for who, e in self.node_events if who == hospital and e.event.endswith("refused")]


def offer(world: World) -> bytes:
    """The study's offer."""
    return codec.pack("study_offer", StudyOffer(world.agreement.to_bytes(), world.signed.roster.canonical))


@dataclass(slots=True)
class Hand:
    """A coordinator moved by hand, one message at a time, that may sign whatever it likes."""

    world: World
    session: protocol.Session | None = None
    key_list: bytes = b""
    last_receipt: bytes = b""

    @staticmethod
    def plain(own: Admission, policy: Policy) -> Admission:
        """The admission of the product, which remembers nothing, under another policy."""
        return Admission(own.me, own.roster, policy, own.study, own.data, own.reports)

    @property
    def params(self) -> SecAggParams:
        return self.world.agreement.secagg

    def join(self, first_round: int = 1, told: Iterable[str] = HOSPITALS) -> Hand:
        """Offer, session, key list; every hospital takes part, those of `told` get the key list."""
        world, roster = self.world, self.world.signed.roster
        context = Context(
            PROTOCOL_VERSION,
            bytes.fromhex(world.agreement.hash),
            roster.hash,
            CoordinatorEntropy().take(16),
        )
        identity = world.keys["coordinator"].identity_private
        collecting = protocol.collect_adverts(identity, self.params, roster, context, first_round=first_round)
        start = codec.pack(
            "session_start", SessionStart(context.study_hash, context.roster_hash, context.session_id)
        )
        for hospital, node in world.nodes.items():
            list(node.on_message(offer(world)))
            (advert,) = node.on_message(start)
            collecting = protocol.add_advert(collecting, hospital, advert)
        self.session, self.key_list = protocol.close_adverts(collecting)
        for hospital in told:
            assert self.ask(hospital, self.key_list) == []
        return self

    def order(
        self,
        number: int,
        *,
        model: bytes = b"",
        settings: bytes | None = None,
        task: str | None = None,
    ) -> tuple[protocol.Uploading, bytes]:
        """A signed round order; what is not given follows from the agreement."""
        assert self.session is not None
        agreement = self.world.agreement
        return protocol.start_round(
            self.session,
            number,
            exchange.task_of(agreement, number) if task is None else task,
            model,
            exchange.order_settings(agreement, number) if settings is None else settings,
            self.last_receipt,
        )

    def ask(self, hospital: str, message: bytes) -> list[bytes]:
        return list(self.world.nodes[hospital].on_message(message))

    def uploads(self, state: protocol.Uploading, replies: dict[str, list[bytes]]) -> protocol.Uploading:
        """The round with every hospital's header, seals and vector."""
        for hospital, (header, seals, *chunks) in replies.items():
            state = protocol.add_upload(state, hospital, header, seals, sha256(vector_of(chunks)))
        return state

    def round(
        self, number: int, model: bytes = b"", who: Iterable[str] = HOSPITALS
    ) -> tuple[NDArray[np.uint64], bytes, tuple[str, ...]]:
        """One whole round; returns the sum in the ring, the receipt and who is in it. The receipt is not sent."""
        state, order = self.order(number, model=model)
        replies = {hospital: self.ask(hospital, order) for hospital in who}
        state = self.uploads(state, replies)
        agreeing, requests = protocol.propose(state)
        for hospital, request in requests.items():
            agreeing = protocol.add_agreement(agreeing, hospital, self.ask(hospital, request)[0])
        opening, requests = protocol.request_open(agreeing)
        for hospital, request in requests.items():
            # Spare noise, which comes before the shares, stays in this sum.
            opening = protocol.add_shares(opening, hospital, self.ask(hospital, request)[-1])
        ring = np.dtype("<u8")
        vectors = {h: np.frombuffer(vector_of(replies[h][2:]), dtype=ring) for h in opening.members}
        total = protocol.unmask(opening, vectors)
        self.last_receipt = protocol.make_receipt(opening, total)
        return np.asarray(total), self.last_receipt, opening.members


def vector_of(chunks: Iterable[bytes]) -> bytes:
    """The vector that chunk messages carry."""
    return b"".join(codec.unpack("vector_chunk", VectorChunk, chunk).data for chunk in chunks)


def receipt_with(receipt: bytes, total: bytes) -> bytes:
    """The receipt with other bytes in the place of its sum."""
    held = codec.unpack("receipt", Receipt, receipt)
    return codec.pack("receipt", Receipt(held.signed, total))


def sha256(data: bytes) -> bytes:
    from hashlib import sha256 as digest

    return digest(data).digest()

"""What an observer of everything writes down, and the invariants it holds against it.

1. The sum is exact, over the hospitals that the receipt names, or there is none.
2. No hospital gives both kinds of share for one peer in one round, and per round and order the coordinator with T hospitals
   solves at most one sum, over at least t - T others. Over the sparse graph it signs one set in a round.
3. There are never two vectors under one round key.
4. Whoever is in a sum had one roster, one key list and one order.
5. The ledger is charged for what left, and for nothing else but what a crash stopped on its way.
6. No message, log line or repr holds a secret, but those that the protocol reveals.
7. A request that comes again gets the same bytes or none (and `scheduler.run` gives the same bytes when run again).

Over the sparse graph also: no hospital contributes to more than 8 graphs in a study, nor to one that its journal did not count before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from hospital_node.node import Node
from privacy.ledgers.ledger import fold
from secagg import states
from secagg.errors import WireError
from secagg.fixed_point import from_ring
from secagg.graph import Graph
from secagg.sparse_table import GRAPHS_PER_HOSPITAL
from secagg.wire import codec
from secagg.wire.records import (
    Agreement,
    GraphContribution,
    RoundOrder,
    SetSignature,
    Shares,
    Signed,
    UploadHeader,
    VectorChunk,
)
from tests.sim.hospitals import SIZE, SimHospital, sim_agreement
from tests.sim.model_check import Profile, closed_groups, solvable_sums
from tests.sim.server import Server
from tests.unit.secagg.rounds import names
from tests.unit.secagg.test_classic_mistakes import secrets_in

Frame = tuple[bytes, bytes, bytes]
IN_ROUND = (states.Ordered, states.Uploaded, states.Agreed, states.Settled, states.Opened)
REPEATABLE = ("key_list", "round_order", "agree_request", "sign_request", "open_request")


@dataclass(slots=True)
class Record:
    """Everything that left, that was stored and that was said."""

    n: int
    sparse: bool = False
    graphs: dict[str, dict[bytes, int]] = field(default_factory=dict)
    around: dict[bytes, Graph] = field(default_factory=dict)
    final: dict[tuple[str, int], bytes] = field(default_factory=dict)
    frames: dict[tuple[str, int], Frame] = field(default_factory=dict)
    headers: dict[tuple[str, int], bytes] = field(default_factory=dict)
    chunks: dict[tuple[str, int, int], bytes] = field(default_factory=dict)
    revealed: dict[tuple[str, int], set[str]] = field(default_factory=dict)
    opened: dict[tuple[str, int], set[str]] = field(default_factory=dict)
    answers: dict[tuple[str, bytes], tuple[bytes, ...]] = field(default_factory=dict)
    in_crash: set[tuple[str, int]] = field(default_factory=set)
    secrets: set[bytes] = field(default_factory=set)
    public: set[bytes] = field(default_factory=set)
    texts: list[str] = field(default_factory=list)
    checked: int = 0

    def killed(self, hospital: SimHospital, message: bytes) -> None:
        """A process died over this message; a charge without an upload is explained by it."""
        kind, payload = codec.unwrap(message)
        if kind == "round_order":
            number = codec.decode(RoundOrder, codec.decode(Signed, payload).body).round
            self.in_crash.add((hospital.name, number))

    def answered(
        self,
        hospital: SimHospital,
        message: bytes,
        replies: tuple[bytes, ...],
        before: states.HospitalState | None,
    ) -> None:
        """Take down what a hospital's process did with a message."""
        assert hospital.node is not None
        self._note_state(hospital.name, hospital.node)
        given = tuple(reply for reply in replies if codec.unwrap(reply)[0] != "abort")
        if given and codec.unwrap(message)[0] in REPEATABLE:
            assert self.answers.setdefault((hospital.name, message), given) == given, (
                "another answer than before"
            )
        for reply in replies:
            kind, payload = codec.unwrap(reply)
            if kind == "graph_contribution":
                self._note_graph(hospital.name, hospital.node, payload)
            self._note_reply(hospital.name, kind, payload)
        if not given and replies:
            assert hospital.node.state is before or hospital.node.state == before, (
                "a refusal changed the state"
            )

    def look(self, hospitals: Mapping[str, SimHospital], server: Server) -> None:
        """Check what a new sum is worth."""
        for done in server.finished[self.checked :]:
            exact = sum(hospitals[name].vector(done.round) for name in done.members)
            found = from_ring(done.total, sim_agreement(self.n, self.sparse).modulus_bits)
            assert np.array_equal(found, exact), "the sum is not exact"
            counted = int(found[-1]) // SIZE
            assert [name for i, name in enumerate(names(self.n)) if counted >> i & 1] == list(done.members)
            assert len({self.frames[name, done.round] for name in done.members}) == 1, (
                "one roster, list, order"
            )
        self.checked = len(server.finished)

    def check(self, hospitals: Mapping[str, SimHospital], messages: Iterable[bytes]) -> None:
        """Check what can be told at the end only."""
        self._check_sums()
        for hospital in hospitals.values():
            if hospital.node is not None:
                self._check_ledger(hospital.name, hospital.node)
            self.texts += [event.text for event in hospital.events]
        self._check_secrets(messages)

    def _note_state(self, name: str, node: Node) -> None:
        state = node.state
        if state is None:
            return
        self.secrets |= set(secrets_in(state))
        self.texts.append(repr(state))
        if isinstance(state, IN_ROUND):
            frame = state.frame
            key = (frame.context.roster_hash, frame.participants.hash, frame.order_hash)
            if frame.participants.graph is not None:
                self.around[frame.participants.hash] = frame.participants.graph
            assert self.frames.setdefault((name, frame.round), key) == key, "one round number, two rounds"

    def _note_graph(self, name: str, node: Node, payload: bytes) -> None:
        """Of each contribution, how many graphs the journal had counted when it left first."""
        assert node.admitted is not None
        given = self.graphs.setdefault(name, {})
        contribution = codec.decode(GraphContribution, payload).contribution
        self.public.add(contribution)
        given.setdefault(contribution, node.journal.graphs(node.admitted.agreement.study.id))
        assert given[contribution] >= len(given), "a contribution that the journal did not count"
        assert len(given) <= GRAPHS_PER_HOSPITAL, "more graphs than one study may have"

    def _note_reply(self, name: str, kind: str, payload: bytes) -> None:
        match kind:
            case "upload_header":
                body = codec.decode(Signed, payload).body
                header = codec.decode(UploadHeader, body)
                assert self.headers.setdefault((name, header.round), body) == body, "two headers in one round"
            case "vector_chunk":
                chunk = codec.decode(VectorChunk, payload)
                key = (name, chunk.round, chunk.offset)
                assert self.chunks.setdefault(key, chunk.data) == chunk.data, (
                    "two vectors under one round key"
                )
            case "agreement":
                answer = codec.decode(Agreement, payload)
                self.public |= {seed.seed for seed in answer.seeds}
                self.revealed.setdefault((name, answer.round), set()).update(s.hospital for s in answer.seeds)
            case "set_signature":
                final = codec.decode(SetSignature, payload)
                assert self.final.setdefault((name, final.round), final.set_hash) == final.set_hash, (
                    "two final sets in one round"
                )
            case "shares":
                shares = codec.decode(Shares, payload)
                for share in shares.shares:
                    self.public |= {share.share, share.opening}
                self.opened.setdefault((name, shares.round), set()).update(s.dealer for s in shares.shares)
        for number in {number for _, number in self.opened}:
            both = self.opened.get((name, number), set()) & self.revealed.get((name, number), set())
            assert not both, "both kinds of share for one peer"

    def _check_sums(self) -> None:
        """The last T hospitals collude: what they hold, the coordinator has too."""
        agreement = sim_agreement(self.n, self.sparse)
        honest = names(self.n)[: self.n - agreement.colluding]
        bit = {name: 1 << i for i, name in enumerate(honest)}
        for number in {number for _, number in self.frames}:
            for frame in {self.frames[name, number] for name in honest if (name, number) in self.frames}:
                given = {}
                uploaded = 0
                for name in honest:
                    mine = self.frames.get((name, number)) == frame
                    uploaded |= bit[name] if mine and (name, number) in self.headers else 0
                    gave = [
                        book.get((name, number), set()) if mine else set()
                        for book in (self.revealed, self.opened)
                    ]
                    masks = [sum(bit.get(peer, 0) for peer in peers) for peers in gave]
                    given[bit[name]] = Profile(0, 0, masks[0], masks[1])
                if frame[1] in self.around:
                    sums = self._exposed(self.around[frame[1]], given, bit, uploaded)
                else:
                    sums = solvable_sums(given, uploaded, agreement.threshold - agreement.colluding)
                assert len(sums) <= 1, "two sums in one round"
                smallest = agreement.threshold - agreement.colluding
                assert all(group.bit_count() >= smallest for group in sums), "a sum over too few"

    def _exposed(
        self, graph: Graph, given: Mapping[int, Profile], bit: Mapping[str, int], uploaded: int
    ) -> list[int]:
        """SPEC.md, section 10.5: a self-mask goes with t_k of its neighbors' shares, a corrupted neighbor gives its own."""
        params = sim_agreement(self.n, self.sparse).secagg
        near = {name: graph.neighbors(name) for name in bit if name in graph.present}
        known = 0
        for name, peers in near.items():
            held = [p for p in peers if p not in bit or given[bit[p]].opened & bit[name]]
            known |= bit[name] if len(held) >= params.share_threshold and uploaded & bit[name] else 0
        edges = {}
        for name, peers in near.items():
            kept = [p for p in peers if p in bit and not given[bit[name]].revealed & bit[p]]
            edges[bit[name]] = sum(bit[p] for p in kept if not given[bit[p]].revealed & bit[name])
        return closed_groups(edges, known)

    def _check_ledger(self, name: str, node: Node) -> None:
        charged = {key[2]: entry for key, entry in fold(node.ledger.entries()).items()}
        left = {number for who, number in self.headers if who == name}
        for number in left:
            assert number in charged, "an upload that nothing paid for"
            assert any(
                e.record.kind == "SPENT" and e.record.round == number for e in node.ledger.entries()
            ), "an upload that was not marked as spent"
        stray = charged.keys() - left - {number for who, number in self.in_crash if who == name}
        assert not stray, f"rounds {sorted(stray)} are charged, but nothing left"

    def _check_secrets(self, messages: Iterable[bytes]) -> None:
        hidden = self.secrets - self.public
        wire = b"|".join(messages)
        said = "\n".join(self.texts)
        for secret in hidden:
            assert secret not in wire, "a secret on the wire"
            assert secret.hex() not in said, "a secret in a text"
            assert repr(secret)[2:-1] not in said, "a secret in a text"


def kind_of(message: bytes) -> str:
    """What a message is, or that it is none."""
    try:
        return codec.unwrap(message)[0]
    except WireError:
        return "no message"

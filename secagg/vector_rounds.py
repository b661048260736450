"""Positive test vectors: whole rounds from given randomness, with everything that travels."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np

from secagg import coordinator as co
from secagg import hospital as ho
from secagg import identity
from secagg.context import Context
from secagg.masks import Ring
from secagg.params import PROTOCOL_VERSION, Neighborhood, SecAggParams
from secagg.roster import Member, Roster, sign_roster
from secagg.secret import SecretBytes

STUDY_HASH = hashlib.sha256(b"study of the test vectors").digest()

Json: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class RoundPlan:
    """Who is silent from which step of a round on; they get the receipt."""

    no_upload: Collection[str] = ()
    no_agree: Collection[str] = ()
    no_sign: Collection[str] = ()
    no_open: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Case:
    """One file: parameters, who is not in the key list, and the rounds."""

    name: str
    params: SecAggParams
    rounds: tuple[RoundPlan, ...] = (RoundPlan(),)
    absent: Collection[str] = ()


CASES = (
    Case("round_n3_all_present", SecAggParams(3, 1, 3, 32, 5)),
    Case("round_n4_ring64", SecAggParams(4, 1, 3, 64, 5)),
    Case("round_n4_one_never_uploads", SecAggParams(4, 1, 3, 32, 5), (RoundPlan(no_upload=("h3",)),)),
    Case("round_n4_one_silent_at_agree", SecAggParams(4, 1, 3, 32, 5), (RoundPlan(no_agree=("h1",)),)),
    Case("round_n4_one_silent_at_open", SecAggParams(4, 1, 3, 32, 5), (RoundPlan(no_open=("h0",)),)),
    Case("round_n4_one_not_in_key_list", SecAggParams(4, 1, 3, 32, 5), absent=("h2",)),
    Case(
        "round_n6_dropped_at_every_step",
        SecAggParams(6, 0, 4, 32, 9),
        (RoundPlan(no_upload=("h5",), no_agree=("h2",)),),
    ),
    Case(
        "three_rounds_n4",
        SecAggParams(4, 1, 3, 32, 5),
        (RoundPlan(), RoundPlan(no_upload=("h0",)), RoundPlan(no_agree=("h3",))),
    ),
    Case(
        "sparse_rounds_n8_k4",
        SecAggParams(8, 1, 5, 32, 5, Neighborhood(4, 3)),
        (RoundPlan(no_sign=("h2",)), RoundPlan(no_upload=("h0",)), RoundPlan(no_agree=("h4",))),
    ),
    Case(
        "sparse_round_n8_k6_one_not_in_key_list",
        SecAggParams(8, 1, 5, 64, 5, Neighborhood(6, 4)),
        (RoundPlan(no_upload=("h3",)),),
        absent=("h1",),
    ),
)


def draw(*parts: object) -> bytes:
    """32 bytes that stand for randomness."""
    return hashlib.sha256(repr(("wardround test vectors v1", *parts)).encode()).digest()


def key_of(who: str) -> SecretBytes:
    """The identity seed of a party."""
    return SecretBytes(draw("identity", who))


def roster_of(n: int) -> Roster:
    """Hospitals h0, h1, ... and a coordinator."""

    def member(who: str, role: Literal["hospital", "coordinator"]) -> Member:
        return Member(who, role, identity.public_key(key_of(who)), draw("certificate", who))

    hospitals = tuple(member(f"h{i}", "hospital") for i in range(n))
    return Roster(1, hospitals, member("coordinator", "coordinator"))


def vector_of(params: SecAggParams, *parts: object) -> Ring:
    """Ring elements, (dim,)."""
    raw = b"".join(draw("vector", i, *parts) for i in range(-(-params.dim * params.modulus_bits // 256)))
    return np.frombuffer(raw, dtype=params.ring, count=params.dim)


@dataclass(slots=True)
class Run:
    """A session that writes down everything that travels."""

    params: SecAggParams
    absent: Collection[str] = ()
    states: dict[str, ho.HospitalState] = field(default_factory=dict)
    session: co.Session = field(init=False)
    roster: Roster = field(init=False)
    log: Json = field(default_factory=dict)
    graph_log: Json = field(default_factory=dict)
    receipt: bytes = b""

    def __post_init__(self) -> None:
        params, self.roster = self.params, roster_of(self.params.n)
        context = Context(PROTOCOL_VERSION, STUDY_HASH, self.roster.hash, draw("session")[:16])
        collecting = co.collect_adverts(key_of("coordinator"), params, self.roster, context)
        present = [who for who in self.roster.ids if who not in self.absent]
        adverts = {}
        for who in present:
            self.states[who], adverts[who] = ho.advertise(
                key_of(who), params, self.roster, context, who, draw("session key", who)
            )
            collecting = co.add_advert(collecting, who, adverts[who])
        key_list = self._join(collecting)
        self.log = {
            "version": PROTOCOL_VERSION,
            "parameters": {
                "n": params.n,
                "colluding": params.colluding,
                "threshold": params.threshold,
                "modulus_bits": params.modulus_bits,
                "dim": params.dim,
            },
            "study_hash": STUDY_HASH.hex(),
            "session_id": context.session_id.hex(),
            "identity_seeds": {who: key_of(who).reveal().hex() for who in (*self.roster.ids, "coordinator")},
            "roster": self.roster.canonical.decode(),
            "roster_signatures": _hex({w: sign_roster(key_of(w), self.roster) for w in self.roster.ids}),
            "session_keys": _hex({who: draw("session key", who) for who in present}),
            "adverts": _hex(adverts),
            "key_list": key_list.hex(),
            **self.graph_log,
            "rounds": [],
        }
        if params.neighborhood is not None:
            self.log["parameters"]["degree"] = params.neighborhood.degree
            self.log["parameters"]["neighbor_threshold"] = params.neighborhood.threshold

    def _join(self, collecting: co.Collecting) -> bytes:
        """From the adverts to a session; the key list."""
        if self.params.neighborhood is None:
            self.session, key_list = co.close_adverts(collecting)
            for who, state in self.states.items():
                assert isinstance(state, ho.Advertised)
                self.states[who] = ho.accept_key_list(state, key_list)
            return key_list
        revealing, key_list = co.fix_commitments(collecting)
        contributions = {}
        for who, state in self.states.items():
            assert isinstance(state, ho.Advertised)
            self.states[who], contributions[who] = ho.reveal_contribution(state, key_list)
            revealing = co.add_contribution(revealing, who, contributions[who])
        self.session, seed = co.close_contributions(revealing)
        for who, state in self.states.items():
            assert isinstance(state, ho.Revealed)
            self.states[who] = ho.accept_graph_seed(state, seed)
        drawn = self.session.participants.graph
        assert drawn is not None
        self.graph_log = {
            "contributions": _hex(contributions),
            "graph_seed": seed.hex(),
            "ring": list(drawn.ring),
        }
        return key_list

    def round(self, number: int, plan: RoundPlan) -> None:
        """Run a round and log it."""
        settings = f'{{"round":{number}}}'.encode()
        model = draw("model", number)
        uploading, order = co.start_round(self.session, number, "train", model, settings, self.receipt)
        log: Json = {"round": number, "order": order.hex(), "uploads": {}, "agree": []}
        self.log["rounds"].append(log)
        for who, state in self.states.items():
            assert not isinstance(state, ho.Joining)
            self.states[who], _ = ho.accept_order(state, order)
        vectors = {}
        for who in [who for who in self.states if who not in plan.no_upload]:
            uploading, vectors[who], log["uploads"][who] = self._upload(uploading, who, number)
        agreeing, requests = co.propose(uploading)
        agreeing = self._agree(log, agreeing, requests, plan.no_agree)
        if plan.no_agree:
            agreeing, requests = co.shrink(agreeing, co.missing_agreements(agreeing))
            agreeing = self._agree(log, agreeing, requests, ())
        if self.params.neighborhood is None:
            self._open(log, agreeing, vectors, plan.no_open)
        else:
            self._open(
                log, self._settle(log, agreeing, plan.no_sign), vectors, (*plan.no_sign, *plan.no_open)
            )

    def _upload(self, uploading: co.Uploading, who: str, number: int) -> tuple[co.Uploading, Ring, Json]:
        state, vector = self.states[who], vector_of(self.params, who, number)
        assert isinstance(state, ho.Ordered)
        self.states[who], sent = ho.upload(state, vector, draw("upload", who, number))
        digest = hashlib.sha256(sent.vector).digest()
        uploading = co.add_upload(uploading, who, sent.header, sent.seals, digest)
        masked = np.frombuffer(sent.vector, dtype=self.params.ring)
        log: Json = {"vector": vector.tolist(), **_hex({"entropy": draw("upload", who, number)})}
        log |= _hex({"header": sent.header, "seals": sent.seals, "masked": bytes(sent.vector)})
        return uploading, masked, log

    def _agree(
        self, log: Json, agreeing: co.Agreeing, requests: Mapping[str, bytes], silent: Collection[str]
    ) -> co.Agreeing:
        answers = {}
        for who in [who for who in requests if who not in silent]:
            state = self.states[who]
            assert isinstance(state, ho.Uploaded | ho.Agreed)
            self.states[who], answers[who] = ho.agree(state, requests[who])
            agreeing = co.add_agreement(agreeing, who, answers[who])
        log["agree"].append({"requests": _hex(requests), "answers": _hex(answers)})
        return agreeing

    def _settle(self, log: Json, agreeing: co.Agreeing, silent: Collection[str]) -> co.Settling:
        settling, requests = co.request_signatures(agreeing)
        answers = {}
        for who in [who for who in requests if who not in silent]:
            state = self.states[who]
            assert isinstance(state, ho.Agreed)
            self.states[who], answers[who] = ho.settle(state, requests[who])
            settling = co.add_signature(settling, who, answers[who])
        log["sign"] = {"requests": _hex(requests), "answers": _hex(answers)}
        return settling

    def _open(
        self,
        log: Json,
        agreeing: co.Agreeing | co.Settling,
        vectors: Mapping[str, Ring],
        silent: Collection[str],
    ) -> None:
        opening, requests = co.request_open(agreeing)
        answers = {}
        for who in [who for who in requests if who not in silent]:
            state = self.states[who]
            assert isinstance(state, ho.Agreed | ho.Settled)
            self.states[who], answers[who] = ho.open_shares(state, requests[who])
            opening = co.add_shares(opening, who, answers[who])
        total = co.unmask(opening, {who: vectors[who] for who in opening.members})
        self.receipt = co.make_receipt(opening, total)
        for who, state in self.states.items():
            assert not isinstance(state, ho.Joining)
            self.states[who], _ = ho.accept_receipt(state, self.receipt)
        log["open"] = {"requests": _hex(requests), "answers": _hex(answers)}
        log["members"] = list(opening.members)
        log["sum"] = total.tolist()
        log["receipt"] = self.receipt.hex()


def whole_rounds() -> dict[str, Json]:
    """Every case, by name."""
    made = {}
    for case in CASES:
        run = Run(case.params, case.absent)
        for number, plan in enumerate(case.rounds, start=1):
            run.round(number, plan)
        made[case.name] = run.log
    return made


def _hex(named: Mapping[str, bytes]) -> dict[str, str]:
    return {name: data.hex() for name, data in named.items()}

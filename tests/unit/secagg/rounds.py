"""A consortium in memory: real machines on both sides, every message as bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from secagg import coordinator as co
from secagg import hospital as ho
from secagg import identity
from secagg.agreed_set import header_hash, header_label
from secagg.context import Context
from secagg.masks import Ring
from secagg.pairs import RoundFrame
from secagg.params import SecAggParams, default_threshold
from secagg.receipt import VerifiedReceipt
from secagg.roster import Member, Roster
from secagg.secret import SecretBytes
from secagg.wire import codec
from secagg.wire.records import AgreedSet, AgreeRequest, Deposit, Seals, SetMember, Signed, UploadHeader

STUDY = hashlib.sha256(b"study").digest()


def entropy(*parts: object) -> bytes:
    return hashlib.sha256(repr(parts).encode()).digest()


def key_of(name: str) -> SecretBytes:
    return SecretBytes(entropy("identity", name))


def make_roster(names: Collection[str]) -> Roster:
    def member(name: str, role: Literal["hospital", "coordinator"]) -> Member:
        return Member(name, role, identity.public_key(key_of(name)), entropy("certificate", name))

    return Roster(
        1, tuple(member(name, "hospital") for name in sorted(names)), member("coordinator", "coordinator")
    )


def names(n: int) -> tuple[str, ...]:
    return tuple(f"h{i:03d}" for i in range(n))


def vector_of(name: str, round_number: int, params: SecAggParams) -> Ring:
    raw = np.random.default_rng(int.from_bytes(entropy("vector", name, round_number)[:8], "big"))
    return raw.integers(0, 1 << params.modulus_bits, params.dim, dtype=np.uint64).astype(params.ring)


def exact_sum(params: SecAggParams, vectors: Collection[Ring]) -> Ring:
    total = np.zeros(params.dim, dtype=params.ring)
    for vector in vectors:
        total += vector
    return total


@dataclass
class Consortium:
    """Hospitals and a coordinator after session set-up; `lost` hospitals never advertise."""

    params: SecAggParams
    lost: Collection[str] = ()
    session_number: int = 0
    first_round: int = 1
    # Each in the state of its step, which a test knows and mypy does not.
    hospitals: dict[str, Any] = field(default_factory=dict)
    uploads: dict[str, ho.UploadMessages] = field(default_factory=dict)
    vectors: dict[str, Ring] = field(default_factory=dict)
    messages: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.roster = make_roster(names(self.params.n))
        self.context = Context(1, STUDY, self.roster.hash, entropy("session", self.session_number)[:16])
        collecting = co.collect_adverts(
            key_of("coordinator"), self.params, self.roster, self.context, first_round=self.first_round
        )
        for name in self.roster.ids:
            if name in self.lost:
                continue
            self.hospitals[name], advert = self.advertise(name)
            collecting = co.add_advert(collecting, name, advert)
        if self.params.neighborhood is not None:
            self.draw_graph(collecting)
            return
        self.session, self.key_list = co.close_adverts(collecting)
        for name, state in self.hospitals.items():
            assert isinstance(state, ho.Advertised)
            self.hospitals[name] = ho.accept_key_list(state, self.key_list)

    def draw_graph(self, collecting: co.Collecting) -> None:
        """The third trip of a session with a sparse graph."""
        revealing, self.key_list = co.fix_commitments(collecting)
        for name, state in self.hospitals.items():
            assert isinstance(state, ho.Advertised)
            self.hospitals[name], contribution = ho.reveal_contribution(state, self.key_list)
            revealing = co.add_contribution(revealing, name, contribution)
        self.session, self.graph_seed = co.close_contributions(revealing)
        for name, state in self.hospitals.items():
            assert isinstance(state, ho.Revealed)
            self.hospitals[name] = ho.accept_graph_seed(state, self.graph_seed)

    def advertise(self, name: str) -> tuple[ho.Advertised, bytes]:
        seed = entropy("session key", name, self.session_number)
        return ho.advertise(key_of(name), self.params, self.roster, self.context, name, seed)

    @property
    def ring(self) -> tuple[str, ...]:
        """Of the sparse graph that this session drew."""
        graph = self.session.participants.graph
        assert graph is not None
        return graph.ring

    def order(
        self, round_number: int, hospitals: Collection[str], model: bytes = b"m", previous: bytes = b""
    ) -> co.Uploading:
        uploading, message = co.start_round(self.session, round_number, "train", model, b"settings", previous)
        self.messages.append(message)
        for name in hospitals:
            self.hospitals[name], _ = ho.accept_order(self.hospitals[name], message)
        return uploading

    def make_upload(self, name: str) -> ho.UploadMessages:
        state = self.hospitals[name]
        assert isinstance(state, ho.Ordered)
        self.vectors[name] = vector_of(name, state.frame.round, self.params)
        self.hospitals[name], messages = ho.upload(
            state, self.vectors[name], entropy("upload", name, state.frame.round)
        )
        self.uploads[name] = messages
        self.messages += [messages.header, messages.seals]
        return messages

    def deliver_upload(self, uploading: co.Uploading, name: str) -> co.Uploading:
        sent = self.uploads[name]
        return co.add_upload(uploading, name, sent.header, sent.seals, hashlib.sha256(sent.vector).digest())

    def upload_all(self, uploading: co.Uploading, hospitals: Collection[str]) -> co.Uploading:
        for name in hospitals:
            self.make_upload(name)
            uploading = self.deliver_upload(uploading, name)
        return uploading

    def agree(self, name: str, request: bytes) -> bytes:
        self.hospitals[name], answer = ho.agree(self.hospitals[name], request)
        self.messages += [request, answer]
        return answer

    def agree_all(
        self, agreeing: co.Agreeing, requests: Mapping[str, bytes], silent: Collection[str] = ()
    ) -> co.Agreeing:
        for name, request in requests.items():
            if name not in silent:
                agreeing = co.add_agreement(agreeing, name, self.agree(name, request))
        return agreeing

    def settle_all(self, agreeing: co.Agreeing, silent: Collection[str] = ()) -> co.Settling:
        settling, requests = co.request_signatures(agreeing)
        for name, request in requests.items():
            if name not in silent:
                self.hospitals[name], signature = ho.settle(self.hospitals[name], request)
                self.messages += [request, signature]
                settling = co.add_signature(settling, name, signature)
        return settling

    def open_all(
        self, opening: co.Opening, requests: Mapping[str, bytes], silent: Collection[str] = ()
    ) -> co.Opening:
        for name, request in requests.items():
            if name not in silent:
                self.hospitals[name], shares = ho.open_shares(self.hospitals[name], request)
                self.messages += [request, shares]
                opening = co.add_shares(opening, name, shares)
        return opening

    def masked(self, members: Collection[str]) -> dict[str, Ring]:
        return {name: np.frombuffer(self.uploads[name].vector, dtype=self.params.ring) for name in members}

    def run(
        self,
        round_number: int = 1,
        *,
        no_upload: Collection[str] = (),
        no_agree: Collection[str] = (),
        no_sign: Collection[str] = (),
        no_open: Collection[str] = (),
        previous: bytes = b"",
    ) -> tuple[co.Opening, Ring, bytes]:
        """A whole round; the hospitals named are silent from that step on, but get the receipt."""
        present = [name for name in self.hospitals if name not in no_upload]
        uploading = self.order(round_number, self.hospitals, previous=previous)
        uploading = self.upload_all(uploading, present)
        agreeing, requests = co.propose(uploading)
        agreeing = self.agree_all(agreeing, requests, no_agree)
        if no_agree:
            agreeing, requests = co.shrink(agreeing, co.missing_agreements(agreeing))
            agreeing = self.agree_all(agreeing, requests)
        final = agreeing if self.params.neighborhood is None else self.settle_all(agreeing, no_sign)
        opening, asked = co.request_open(final)
        opening = self.open_all(opening, asked, {*no_sign, *no_open})
        total = co.unmask(opening, self.masked(opening.members))
        return opening, total, co.make_receipt(opening, total)

    def deliver_receipt(self, message: bytes) -> dict[str, VerifiedReceipt]:
        verified = {}
        for name, state in self.hospitals.items():
            self.hospitals[name], verified[name] = ho.accept_receipt(state, message)
        return verified


def consortium(
    n: int = 4, colluding: int = 1, dim: int = 50, modulus_bits: int = 32, **kwargs: Any
) -> Consortium:
    params = SecAggParams(n, colluding, default_threshold(n, colluding), modulus_bits, dim)
    return Consortium(params, **kwargs)


def take_unchecked(uploading: co.Uploading, name: str, sent: ho.UploadMessages) -> co.Uploading:
    """What a malicious coordinator does with an upload: it keeps it without any check."""
    signed = codec.unpack("upload_header", Signed, sent.header)
    header = codec.decode(UploadHeader, signed.body)
    seals = codec.unpack("seals", Seals, sent.seals)
    digest = header_hash(uploading.frame, signed.body)
    new = co.Upload(signed, header, digest, {seal.receiver: seal for seal in seals.seals})
    return replace(uploading, uploads={**uploading.uploads, name: new})


def craft_request(uploading: co.Uploading, members: Collection[str], receiver: str) -> bytes:
    """An agree request for any set, as a malicious coordinator would make it."""
    chosen = {name: uploading.uploads[name] for name in sorted(members)}
    agreed = AgreedSet(
        uploading.frame.round,
        uploading.frame.order_hash,
        tuple(SetMember(name, upload.header_hash) for name, upload in chosen.items()),
    )
    deposits = []
    holders = uploading.frame.participants.holders(receiver)
    for name, upload in chosen.items():
        if name not in holders:
            continue
        seal = upload.seals.get(receiver)
        deposits.append(Deposit(upload.signed, seal.nonce if seal else b"", seal.ciphertext if seal else b""))
    return codec.pack("agree_request", AgreeRequest(codec.encode(agreed), tuple(deposits)))


def resign_header(frame: RoundFrame, name: str, header: UploadHeader) -> bytes:
    """The message of a header that its own hospital signs: what a malicious hospital can make."""
    body = codec.encode(header)
    return codec.pack(
        "upload_header", Signed(body, identity.sign(key_of(name), header_label(frame, header), body))
    )


def header_of(sent: ho.UploadMessages) -> UploadHeader:
    return codec.decode(UploadHeader, codec.unpack("upload_header", Signed, sent.header).body)

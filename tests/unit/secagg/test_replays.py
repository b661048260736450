"""Every message again and to everybody, in every state: only the one message that a step waits for goes through.

What may go through is written down below, state by state; everything else must be refused and leave nothing behind.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from secagg import coordinator as co
from secagg import hospital as ho
from secagg import identity, rules, sealing
from secagg.errors import BadShare, SecAggError, StaleRound
from secagg.wire import codec, records
from secagg.wire.records import Shares
from tests.unit.secagg.loot import ALL, Loot, nothing, uploaded
from tests.unit.secagg.rounds import Consortium, consortium, craft_request, key_of

ME = "h000"
Told = tuple[str, str]


@dataclass
class History:
    """Two rounds of one session, and one of another: h000's states, the coordinator's, and all messages by what they are.

    Attributes:
        states: name to a state of h000, in order.
        phases: name to a state of the coordinator, in order.
        messages: (kind, whose and when) to the bytes; answers carry their sender, requests their receiver.
        vectors: hash of the header's vector by the same key as the header.
    """

    c: Consortium
    tag: str
    states: dict[str, ho.HospitalState] = field(default_factory=dict)
    phases: dict[str, Any] = field(default_factory=dict)
    messages: dict[Told, bytes] = field(default_factory=dict)

    def run(self, rounds: int) -> History:
        c = self.c
        collecting = co.collect_adverts(key_of("coordinator"), c.params, c.roster, c.context)
        self.phases["Collecting"] = collecting
        for name in ALL:
            advertised, self.messages["advert", f"{name} {self.tag}"] = c.advertise(name)
            if name == ME:
                self.states["Advertised"] = advertised
        self.messages["key_list", self.tag] = c.key_list
        previous = b""
        for number in range(1, rounds + 1):
            previous = self._round(number, previous)
        return self

    def _round(self, number: int, previous: bytes) -> bytes:
        c, when = self.c, f"{self.tag} {number}"
        self.states[f"Ready {number}"] = c.hospitals[ME]
        uploading = c.order(number, c.hospitals, previous=previous)
        self.messages["round_order", when] = c.messages[-1]
        self.states[f"Ordered {number}"] = c.hospitals[ME]
        self.phases[f"Uploading {number}"] = uploading
        uploading = c.upload_all(uploading, ALL)
        for name in ALL:
            sent = c.uploads[name]
            self.messages["upload_header", f"{name} {when}"] = sent.header
            self.messages["seals", f"{name} {when}"] = sent.seals
            (chunk,) = codec.vector_chunks(number, sent.vector)
            self.messages["vector_chunk", f"{name} {when}"] = chunk
        self.states[f"Uploaded {number}"] = c.hospitals[ME]
        agreeing, requests = co.propose(uploading)
        self.phases[f"Agreeing {number}"] = agreeing
        for name, request in requests.items():
            self.messages["agree_request", f"{name} {when}"] = request
            answer = c.agree(name, request)
            self.messages["agreement", f"{name} {when}"] = answer
            agreeing = co.add_agreement(agreeing, name, answer)
        self.states[f"Agreed {number}"] = c.hospitals[ME]
        opening, asked = co.request_open(agreeing)
        self.phases[f"Opening {number}"] = opening
        self.messages["open_request", when] = asked[ME]
        for name in ALL:
            state = c.hospitals[name]
            assert isinstance(state, ho.Agreed)
            c.hospitals[name], shares = ho.open_shares(state, asked[name])
            self.messages["shares", f"{name} {when}"] = shares
            opening = co.add_shares(opening, name, shares)
        self.states[f"Opened {number}"] = c.hospitals[ME]
        receipt = co.make_receipt(opening, co.unmask(opening, c.masked(ALL)))
        self.messages["receipt", when] = receipt
        c.deliver_receipt(receipt)
        self.states[f"Ready {number + 1}"] = c.hospitals[ME]
        return receipt


OTHERS: dict[str, object] = {
    "hello": records.Hello(1, ME, b"", b"", 0),
    "study_offer": records.StudyOffer(b"{}", b"{}"),
    "study_answer": records.StudyAnswer(bytes(32), True, "", 0),
    "session_start": records.SessionStart(bytes(32), bytes(32), bytes(16)),
    "abort": records.Abort(1, "over", ""),
    "ledger_export_request": records.LedgerExportRequest(bytes(32)),
    "ledger_export": records.LedgerExport(b"{}"),
    "study_end": records.StudyEnd("done", ""),
    # For the coordinator's shell, which alone knows what noise is.
    "spare_noise": records.SpareNoise(1, 0, bytes(8)),
    # Of the sparse graph (test_sparse.py): nothing in the complete one takes them.
    "graph_contribution": records.GraphContribution(bytes(32)),
    "graph_seed": records.GraphSeed((bytes(32),) * len(ALL)),
    "sign_request": records.SignRequest(1, bytes(32)),
    "set_signature": records.SetSignature(1, bytes(32), bytes(64)),
}


@functools.cache
def history() -> tuple[History, dict[Told, bytes]]:
    """The session under test, and every message that there ever was, those of another session included."""
    mine = History(consortium(), "s").run(2)
    other = History(consortium(session_number=1), "other").run(1)
    extra = {(kind, "of the link"): codec.pack(kind, record) for kind, record in OTHERS.items()}
    return mine, {**mine.messages, **other.messages, **extra}


# What a hospital takes in each state. An order or a receipt of a later round closes what is under way; the same set again
# gets the same answer, whoever's seals come with it: they are not looked at any more.
LATER = {("round_order", "s 2"), ("receipt", "s 1"), ("receipt", "s 2")}
TAKEN: dict[str, set[Told]] = {
    "Advertised": {("key_list", "s")},
    "Ready 1": {("round_order", "s 1"), *LATER},
    "Ordered 1": LATER,
    "Uploaded 1": {("agree_request", "h000 s 1"), *LATER},
    "Agreed 1": {*(("agree_request", f"{name} s 1") for name in ALL), ("open_request", "s 1"), *LATER},
    "Opened 1": LATER,
    "Ready 2": {("round_order", "s 2"), ("receipt", "s 2")},
    "Ordered 2": {("receipt", "s 2")},
    "Uploaded 2": {("agree_request", "h000 s 2"), ("receipt", "s 2")},
    "Agreed 2": {
        *(("agree_request", f"{name} s 2") for name in ALL),
        ("open_request", "s 2"),
        ("receipt", "s 2"),
    },
    "Opened 2": {("receipt", "s 2")},
    "Ready 3": set(),
}
ARROWS: dict[Callable[..., object], tuple[type, ...]] = {
    ho.accept_key_list: (ho.Advertised,),
    ho.reveal_contribution: (ho.Advertised,),
    ho.accept_graph_seed: (ho.Revealed,),
    ho.settle: (ho.Agreed,),
    ho.accept_order: (ho.Ready, ho.Ordered, ho.Uploaded, ho.Agreed, ho.Opened),
    ho.agree: (ho.Uploaded, ho.Agreed),
    ho.open_shares: (ho.Agreed,),
    ho.accept_receipt: (ho.Ready, ho.Ordered, ho.Uploaded, ho.Agreed, ho.Opened),
}


def takes(arrow: Callable[..., object], *given: object) -> bool:
    try:
        arrow(*given)
    except SecAggError:
        return False
    return True


@pytest.mark.threat("FL-11", control="C-FRESH")
@pytest.mark.parametrize("kind", codec.KINDS)
def test_replay_and_reflection_to_a_hospital(kind: str) -> None:
    """In every state, every message of this kind: one's own, another's, of before, of later, of another session."""
    mine, messages = history()
    some = {told: data for told, data in messages.items() if told[0] == kind}
    assert some, "no message of this kind is tried"
    assert mine.states.keys() == TAKEN.keys()
    for name, state in mine.states.items():
        for told, data in some.items():
            fits = [arrow for arrow, types in ARROWS.items() if isinstance(state, types)]
            taken = any(takes(arrow, state, data) for arrow in fits)
            assert taken == (told in TAKEN[name]), (name, told)


def test_the_same_set_again_gets_the_same_bytes() -> None:
    mine, messages = history()
    for number in ("1", "2"):
        state = mine.states[f"Agreed {number}"]
        assert isinstance(state, ho.Agreed)
        for name in ALL:
            agreed, answer = ho.agree(state, messages["agree_request", f"{name} s {number}"])
            assert (agreed, answer) == (state, messages["agreement", f"h000 s {number}"])


@pytest.mark.parametrize(
    ("arrow", "state", "told"),
    [
        (ho.accept_order, "Ready 1", ("round_order", "other 1")),
        (ho.agree, "Uploaded 2", ("agree_request", "h000 s 1")),
        (ho.open_shares, "Agreed 2", ("open_request", "s 1")),
        (ho.open_shares, "Agreed 1", ("open_request", "other 1")),
    ],
)
def test_the_matrix_bites(
    arrow: Callable[..., object], state: str, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it finds refused goes through once signatures and the checks of round, header and share are gone."""
    mine, messages = history()
    assert not takes(arrow, mine.states[state], messages[told])
    monkeypatch.setattr(identity, "verify", nothing)
    for rule in ("round_is", "own_header_is_unchanged", "header_is", "orders_are_equal", "order_is"):
        monkeypatch.setattr(rules, rule, nothing)
    monkeypatch.setattr(rules, "read_header", header_of_any_round)
    monkeypatch.setattr(sealing, "check_share", nothing)
    uploaded = mine.states["Uploaded 2"]
    assert isinstance(uploaded, ho.Uploaded)
    monkeypatch.setattr(sealing, "open_seal", lambda *_: uploaded.own_share)
    assert takes(arrow, mine.states[state], messages[told])


def header_of_any_round(signed: records.Signed, *_: object) -> tuple[records.UploadHeader, bytes]:
    """`rules.read_header` without its checks."""
    return codec.decode(records.UploadHeader, signed.body), bytes(32)


@pytest.mark.threat("FL-11", control="C-FRESH")
@pytest.mark.parametrize("kind", codec.KINDS)
@pytest.mark.parametrize("sender", ["h000", "h001"])
def test_replay_and_reflection_to_the_coordinator(kind: str, sender: str) -> None:
    """From either hospital, in every phase: only the sender's own message of this very step changes anything."""
    mine, messages = history()
    for name, phase in mine.phases.items():
        step, _, number = name.partition(" ")
        own = {
            "Collecting": {("advert", f"{sender} s")},
            "Uploading": {("upload_header", f"{sender} s {number}"), ("seals", f"{sender} s {number}")},
            "Agreeing": {("agreement", f"{sender} s {number}")},
            "Opening": {("shares", f"{sender} s {number}")},
        }[step]
        for told, data in messages.items():
            if told[0] == kind:
                assert changes(step, phase, sender, number, data, messages) == (told in own), (name, told)


def changes(
    step: str, phase: Any, sender: str, number: str, data: bytes, messages: dict[Told, bytes]
) -> bool:
    """Whether the coordinator takes anything from this message."""
    header, seals = messages["upload_header", f"{sender} s 1"], messages["seals", f"{sender} s 1"]
    if step == "Uploading":
        header, seals = (messages[k, f"{sender} s {number}"] for k in ("upload_header", "seals"))
        chunk = codec.unpack(
            "vector_chunk", records.VectorChunk, messages["vector_chunk", f"{sender} s {number}"]
        )
        digest = hashlib.sha256(chunk.data).digest()
        return takes(co.add_upload, phase, sender, data, seals, digest) or takes(
            co.add_upload, phase, sender, header, data, digest
        )
    try:
        match step:
            case "Collecting":
                return co.add_advert(phase, sender, data).adverts != phase.adverts
            case "Agreeing":
                return co.add_agreement(phase, sender, data).signatures != phase.signatures
            case _:
                return co.add_shares(phase, sender, data).good_shares != phase.good_shares
    except SecAggError:
        return False


@pytest.mark.threat("FL-11", control="C-FRESH")
def test_replayed_order_and_a_retry_under_the_same_keys() -> None:
    """A round that is run again with somebody missing: what was opened in the first and revealed in the second meet."""
    c = consortium()
    before = dict(c.hospitals)
    opening, _, _ = c.run(1)
    first = dict(c.uploads)
    order = c.messages[0]
    for name in ALL:
        with pytest.raises(StaleRound):
            ho.accept_order(c.hospitals[name], order)
    # A hospital that forgets which rounds it ran, and keeps the keys of the round, has "attempts".
    loot = Loot(c, opening.agreeing.uploading)
    for holder, shares in opening.good_shares["h003"].items():
        loot.give("h003", holder, shares.reveal())
    c.hospitals = before
    for name in ALL[:3]:
        c.hospitals[name], _ = ho.accept_order(c.hospitals[name], order)
        c.make_upload(name)
        loot.late(name)
    for name in ALL[:3]:
        loot.ask_agree(name, ALL[:3])
    c.uploads["h003"] = first["h003"]
    assert loot.has("h003")


def test_shares_of_another_hospital_are_not_counted_as_ones_own() -> None:
    """Reflection at the open step: the commitments name dealer and holder."""
    c, uploading = uploaded()
    agreeing, requests = co.propose(uploading)
    opening, asked = co.request_open(c.agree_all(agreeing, requests))
    c.hospitals["h000"], answer = ho.open_shares(c.hospitals["h000"], asked["h000"])
    after = co.add_shares(opening, "h001", answer)
    assert after.good_shares == opening.good_shares
    assert {bad.holder for bad in after.bad_shares} == {"h001"}
    assert len(codec.unpack("shares", Shares, answer).shares) == len(after.bad_shares)


def test_a_request_meant_for_another_receiver() -> None:
    """Its seals do not open, whoever relays them."""
    c, uploading = uploaded()
    request = craft_request(uploading, ALL, "h001")
    state = c.hospitals["h000"]
    assert isinstance(state, ho.Uploaded)
    with pytest.raises(BadShare):
        ho.agree(state, request)

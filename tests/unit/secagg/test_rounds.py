"""Whole rounds: exact sums over the survivors, orders, receipts, several rounds and sessions."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import pytest

from secagg import coordinator as co
from secagg import hospital as ho
from secagg import order as orders
from secagg import receipt
from secagg.errors import (
    BadSignature,
    OrderMismatch,
    ParameterError,
    ReceiptMismatch,
    SecAggError,
    StaleRound,
    TooFewSurvivors,
    VectorMismatch,
    WireError,
    WrongStep,
)
from secagg.wire import codec
from secagg.wire.records import Receipt, RoundOrder, Signed
from tests.unit.secagg.rounds import (
    STUDY,
    Consortium,
    consortium,
    exact_sum,
    header_of,
    key_of,
    resign_header,
)

ALL = ("h000", "h001", "h002", "h003")


def ready(c: Consortium, name: str) -> ho.Ready:
    state = c.hospitals[name]
    assert isinstance(state, ho.Ready)
    return state


@pytest.mark.threat("FL-01", control="C-SECAGG")
@pytest.mark.parametrize("modulus_bits", [32, 64])
@pytest.mark.parametrize("step", ["nobody", "no_upload", "no_agree", "no_open"])
def test_exact_sum_over_the_survivors(step: str, modulus_bits: int) -> None:
    c = consortium(5, modulus_bits=modulus_bits)
    silent: dict[str, Any] = {} if step == "nobody" else {step: ["h002"]}
    opening, total, message = c.run(**silent)
    counted = set(c.roster.ids) - ({"h002"} if step in ("no_upload", "no_agree") else set())
    assert set(opening.members) == counted
    assert (total == exact_sum(c.params, [c.vectors[name] for name in counted])).all()
    expected = (
        {}
        if step == "nobody"
        else {"h002": {"no_upload": "upload", "no_agree": "agree", "no_open": "open"}[step]}
    )
    assert co.missing_hospitals(opening) == expected
    for verified in c.deliver_receipt(message).values():
        assert set(verified.members) == counted
        assert verified.sum == total.tobytes()


def test_too_few_at_each_step() -> None:
    c = consortium()
    with pytest.raises(TooFewSurvivors, match="upload"):
        c.run(1, no_upload=["h000", "h001"])
    with pytest.raises(TooFewSurvivors, match="agree"):
        c.run(2, no_agree=["h000", "h001"])
    with pytest.raises(TooFewSurvivors, match="open"):
        c.run(3, no_open=["h000", "h001"])
    c.run(4)


def test_missed_round_and_rejoin() -> None:
    c = consortium(5)
    away = c.hospitals.pop("h004")
    _, _, first = c.run(1)
    c.deliver_receipt(first)
    c.hospitals["h004"] = away
    opening, total, second = c.run(2, previous=first)
    assert "h004" in opening.members
    assert (total == exact_sum(c.params, [c.vectors[name] for name in opening.members])).all()
    assert ready(c, "h004").last_receipt.round if isinstance(c.hospitals["h004"], ho.Ready) else True
    c.deliver_receipt(second)
    assert ready(c, "h004").last_receipt.round == 2


def test_new_session_goes_on_with_higher_rounds() -> None:
    c = consortium(first_round=3)
    with pytest.raises(StaleRound):
        c.order(2, c.hospitals)
    c.run(3)


def test_rounds_are_never_repeated() -> None:
    c = consortium()
    _, message = co.start_round(c.session, 1, "train", b"m", b"s")
    ordered, told = ho.accept_order(ready(c, "h000"), message)
    assert (told.task, told.model, told.settings) == ("train", b"m", b"s")
    for state in (ordered, ho.close_round(ordered)):
        with pytest.raises(StaleRound):
            ho.accept_order(state, message)
    _, next_message = co.start_round(c.session, 2, "train", b"m", b"s")
    ho.accept_order(ordered, next_message)


def test_round_too_far_ahead_is_refused() -> None:
    c = consortium()
    _, message = co.start_round(c.session, 10_000, "train", b"m", b"s")
    with pytest.raises(StaleRound):
        ho.accept_order(ready(c, "h000"), message)


def test_order_must_be_the_coordinators(monkeypatch: pytest.MonkeyPatch) -> None:
    c = consortium()
    told = RoundOrder(1, "train", b"m", b"s", 0, b"")
    forged = orders.sign_order(key_of("h001"), c.context, c.session.participants, told)
    with pytest.raises(BadSignature) as caught:
        ho.accept_order(ready(c, "h000"), forged)
    assert caught.value.culprit == "coordinator"
    monkeypatch.setattr(orders.identity, "verify", lambda *a, **k: None)
    ho.accept_order(ready(c, "h000"), forged)


def test_order_of_another_session_is_refused() -> None:
    c, other = consortium(), consortium(session_number=1)
    _, message = co.start_round(other.session, 1, "train", b"m", b"s")
    with pytest.raises(BadSignature):
        ho.accept_order(ready(c, "h000"), message)


def test_order_must_continue_the_history() -> None:
    c = consortium()
    _, _, first = c.run(1)
    c.deliver_receipt(first)
    _, rewound = co.start_round(c.session, 2, "train", b"m", b"s")
    with pytest.raises(ReceiptMismatch):
        ho.accept_order(ready(c, "h000"), rewound)
    fork = RoundOrder(2, "train", b"m", b"s", 1, bytes(32))
    message = orders.sign_order(key_of("coordinator"), c.context, c.session.participants, fork)
    with pytest.raises(ReceiptMismatch):
        ho.accept_order(ready(c, "h000"), message)


def test_order_with_half_a_previous_receipt_is_refused() -> None:
    c = consortium()
    for previous in ((0, bytes(32)), (1, b""), (2, bytes(32)), (1, bytes(31))):
        told = RoundOrder(2, "train", b"m", b"s", *previous)
        message = orders.sign_order(key_of("coordinator"), c.context, c.session.participants, told)
        with pytest.raises(WireError):
            ho.accept_order(ready(c, "h000"), message)


def test_upload_refuses_another_shape_or_type() -> None:
    c = consortium()
    c.order(1, c.hospitals)
    state = c.hospitals["h000"]
    assert isinstance(state, ho.Ordered)
    good = exact_sum(c.params, [])
    for vector in (good[:-1], good.astype("<u8"), good.reshape(1, -1)):
        with pytest.raises(ParameterError):
            ho.upload(state, vector, bytes(32))
    with pytest.raises(ParameterError):
        ho.upload(state, good, bytes(31))


def test_uploads_that_the_coordinator_refuses() -> None:
    c = consortium()
    uploading = c.order(1, c.hospitals)
    sent = c.make_upload("h000")
    digest = hashlib.sha256(sent.vector).digest()
    other = c.make_upload("h001")
    with pytest.raises(VectorMismatch, match="vector"):
        co.add_upload(uploading, "h000", sent.header, sent.seals, bytes(32))
    with pytest.raises(VectorMismatch, match="shares"):
        co.add_upload(uploading, "h000", sent.header, other.seals, digest)
    with pytest.raises((BadSignature, WrongStep)):
        co.add_upload(uploading, "h001", sent.header, sent.seals, digest)
    with pytest.raises(WrongStep):
        co.add_upload(uploading, "stranger", sent.header, sent.seals, digest)
    taken = co.add_upload(uploading, "h000", sent.header, sent.seals, digest)
    assert co.add_upload(taken, "h000", sent.header, sent.seals, digest) is taken
    second = replace(header_of(sent), vector_sha256=bytes(32))
    with pytest.raises(WrongStep, match="second"):
        co.add_upload(taken, "h000", resign_header(taken.frame, "h000", second), sent.seals, bytes(32))


def test_coordinator_names_who_was_told_another_order() -> None:
    c = consortium()
    uploading = c.order(1, ALL[:3])
    c.order(1, ALL[3:], model=b"other")
    c.make_upload("h003")
    with pytest.raises(OrderMismatch) as caught:
        c.deliver_upload(uploading, "h003")
    assert caught.value.hospitals == ("h003",)


def test_receipt_chain_and_audit() -> None:
    c = consortium()
    _, _, first = c.run(1)
    c.deliver_receipt(first)
    opening, _, second = c.run(2, previous=first)
    one = receipt.audit_receipt(first, STUDY, c.roster, c.params)
    two = receipt.audit_receipt(receipt.without_sum(second), STUDY, c.roster, c.params)
    assert (two.body.previous_round, two.body.previous_receipt) == (1, one.ref.hash)
    assert two.sum == b""
    assert set(two.members) == set(opening.members)
    with pytest.raises(SecAggError):
        receipt.audit_receipt(first, bytes(32), c.roster, c.params)


def test_receipt_fails_after_any_changed_byte() -> None:
    c = consortium()
    _, _, message = c.run(1)
    for position in range(0, len(message), 7):
        changed = bytearray(message)
        changed[position] ^= 0x10
        with pytest.raises(SecAggError):
            receipt.audit_receipt(bytes(changed), STUDY, c.roster, c.params)


def test_receipt_with_too_few_signatures_is_refused() -> None:
    c = consortium()
    opening, total, message = c.run(1)
    kept = dict(list(opening.agreeing.signatures.items())[:2])
    body = codec.unpack("receipt", Receipt, message).signed.body
    verified = receipt.read_receipt(message, c.roster, c.context, c.params)
    few = replace(verified.body, signatures=tuple(s for s in verified.body.signatures if s.hospital in kept))
    forged = receipt.sign_receipt(key_of("coordinator"), c.context, few, total.tobytes())
    assert body != codec.encode(few)
    with pytest.raises(TooFewSurvivors):
        receipt.read_receipt(forged, c.roster, c.context, c.params)


def test_receipt_that_contradicts_the_round() -> None:
    c = consortium(5)
    opening, total, message = c.run(1)
    verified = receipt.read_receipt(message, c.roster, c.context, c.params)
    state = c.hospitals["h000"]
    assert isinstance(state, ho.Opened)
    with pytest.raises(ReceiptMismatch, match="another set"):
        ho.accept_receipt(replace(state, agreed_set=b"another"), message)
    with pytest.raises(ReceiptMismatch, match="another order"):
        ho.accept_receipt(replace(state, frame=replace(state.frame, order_hash=bytes(32))), message)
    unchained = replace(verified.body, previous_round=0, previous_receipt=bytes(32))
    with pytest.raises(ReceiptMismatch):
        ho.accept_receipt(
            state, receipt.sign_receipt(key_of("coordinator"), c.context, unchained, total.tobytes())
        )
    forged = receipt.sign_receipt(key_of("h001"), c.context, verified.body, total.tobytes())
    with pytest.raises(BadSignature):
        ho.accept_receipt(state, forged)
    accepted, _ = ho.accept_receipt(state, message)
    with pytest.raises(StaleRound):
        ho.accept_receipt(accepted, message)
    assert opening.members == c.roster.ids


@pytest.mark.threat("FL-11", control="C-FRESH")
def test_replay_of_every_message_in_a_later_round() -> None:
    """No message of round 1, its receipt included, is accepted in any phase of round 2, by either side."""
    c = consortium(5)
    _, _, first = c.run(1, no_upload=["h004"])
    c.deliver_receipt(first)
    old = [*c.messages, first, c.key_list]
    states: list[Any] = [c.hospitals["h000"]]
    uploading = c.order(2, c.hospitals, previous=first)
    states.append(c.hospitals["h000"])
    uploading = c.upload_all(uploading, ["h000", "h001", "h002", "h003"])
    states.append(c.hospitals["h000"])
    agreeing, requests = co.propose(uploading)
    agreeing = c.agree_all(agreeing, requests)
    states.append(c.hospitals["h000"])
    opening, asked = co.request_open(agreeing)
    states.append(ho.open_shares(c.hospitals["h000"], asked["h000"])[0])
    for message in old:
        for state in states:
            for arrow in (ho.accept_order, ho.accept_receipt):
                with pytest.raises(SecAggError):
                    arrow(state, message)
        for state in states[2:4]:
            with pytest.raises(SecAggError):
                ho.agree(state, message)
        with pytest.raises(SecAggError):
            ho.open_shares(states[3], message)
        for other in old:
            with pytest.raises(SecAggError):
                co.add_upload(uploading, "h000", message, other, bytes(32))
        with pytest.raises(SecAggError):
            co.add_agreement(agreeing, "h000", message)
        with pytest.raises(SecAggError):
            co.add_shares(opening, "h000", message)


def test_signed_wrapper_is_not_a_message_of_another_kind() -> None:
    """Domain separation: what is signed as one kind never verifies as another."""
    c = consortium()
    uploading = c.order(1, c.hospitals)
    sent = c.make_upload("h000")
    signed = codec.unpack("upload_header", Signed, sent.header)
    with pytest.raises(SecAggError):
        ho.accept_order(ready(consortium(), "h001"), codec.pack("round_order", signed))
    collecting = co.collect_adverts(key_of("coordinator"), c.params, c.roster, c.context)
    with pytest.raises(SecAggError):
        co.add_advert(collecting, "h000", codec.pack("advert", signed))
    assert uploading.uploads == {}

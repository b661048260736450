"""Negative test vectors: a hospital's state, a message with one fault, and the refusal that it must meet.

Each is named by its fault. The state is in the form of `state_codec`; with it and the identity seed the arrow can be run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from typing import Any

from secagg import agreed_set, identity, order
from secagg import coordinator as co
from secagg import hospital as ho
from secagg.errors import SecAggError
from secagg.pairs import advert_label
from secagg.params import SecAggParams
from secagg.receipt import sign_receipt
from secagg.state_codec import encode_state
from secagg.vector_rounds import Json, RoundPlan, Run, draw, key_of, vector_of
from secagg.wire import codec
from secagg.wire.records import (
    Advert,
    AgreedSet,
    AgreeRequest,
    Deposit,
    KeyList,
    MemberSignature,
    OpenRequest,
    Receipt,
    ReceiptBody,
    RoundOrder,
    SetMember,
    Signed,
    UploadHeader,
)

PARAMS = SecAggParams(4, 1, 3, 32, 3)
ME = "h0"
Arrow = Callable[[Any, bytes], Any]


@dataclass(frozen=True, slots=True)
class Fault:
    """What is asked of hospital h0, and must be refused."""

    name: str
    arrow: Arrow
    state: ho.HospitalState
    message: bytes


def faults() -> dict[str, Json]:
    """Every fault, by name; the error is the one that this package raises."""
    return {fault.name: _log(fault) for fault in (*_key_lists(), *_rounds())}


def _log(fault: Fault) -> Json:
    try:
        fault.arrow(fault.state, fault.message)
    except SecAggError as error:
        return {
            "arrow": fault.arrow.__name__,
            "identity_seed": key_of(ME).reveal().hex(),
            "state": encode_state(fault.state).hex(),
            "message": fault.message.hex(),
            "error": type(error).__name__,
        }
    raise AssertionError(f"{fault.name} is accepted")


def _key_lists() -> Iterator[Fault]:
    run = Run(PARAMS)
    context, roster = run.session.desk.context, run.roster
    state, _ = ho.advertise(key_of(ME), PARAMS, roster, context, ME, draw("session key", ME))
    good = codec.unpack("key_list", KeyList, bytes.fromhex(run.log["key_list"]))

    def fault(name: str, *adverts: Signed, first_round: int = 1) -> Fault:
        message = codec.pack("key_list", KeyList(first_round, adverts))
        return Fault(f"key_list_{name}", ho.accept_key_list, state, message)

    def advert(who: str, key: bytes, signer: str = "") -> Signed:
        body = codec.encode(Advert(who, key))
        return Signed(body, identity.sign(key_of(signer or who), advert_label(context), body))

    h0, h1, h2, h3 = good.adverts
    copied = codec.decode(Advert, h1.body).key
    yield fault("bad_signature", h0, h1, h2, replace(h3, signature=bytes(64)))
    yield fault("signed_by_another", h0, h1, h2, advert("h3", draw("x"), signer="h2"))
    yield fault("copied_key", h0, h1, h2, advert("h3", copied))
    yield fault("key_not_canonical", h0, h1, h2, advert("h3", b"\xff" * 32))
    yield fault("key_of_small_order", h0, h1, h2, advert("h3", bytes(32)))
    yield fault("own_key_missing", h1, h2, h3)
    yield fault("own_key_changed", advert("h0", draw("y")), h1, h2, h3)
    yield fault("hospital_twice", h0, h1, h1, h2)
    yield fault("out_of_order", h0, h2, h1, h3)
    yield fault("below_threshold", h0, h1)
    yield fault("stranger", h0, h1, h2, advert("h9", draw("z")))
    yield fault("round_that_is_over", h0, h1, h2, h3, first_round=0)


def _rounds() -> Iterator[Fault]:
    run = Run(PARAMS)
    run.round(1, RoundPlan())
    ready = run.states[ME]
    uploading, message = co.start_round(run.session, 2, "train", b"m", b"s", run.receipt)
    yield from _orders(run, ready, message)
    for who, state in run.states.items():
        ordered, _ = ho.accept_order(state, message)  # type: ignore[arg-type]  # between two rounds: every state is ready
        run.states[who], sent = ho.upload(ordered, vector_of(PARAMS, who, 2), draw("upload", who, 2))
        digest = hashlib.sha256(sent.vector).digest()
        uploading = co.add_upload(uploading, who, sent.header, sent.seals, digest)
    yield from _agreements(run, uploading)
    yield from _openings(run, uploading)
    yield from _receipts(run)


def _orders(run: Run, ready: ho.HospitalState, message: bytes) -> Iterator[Fault]:
    desk, participants = run.session.desk, run.session.participants
    signed = codec.unpack("round_order", Signed, message)
    told = codec.decode(RoundOrder, signed.body)

    def fault(name: str, data: bytes) -> Fault:
        return Fault(f"order_{name}", ho.accept_order, ready, data)

    def sign(changed: RoundOrder, who: str = "coordinator") -> bytes:
        return order.sign_order(key_of(who), desk.context, participants, changed)

    yield fault("bad_signature", codec.pack("round_order", replace(signed, signature=bytes(64))))
    yield fault("signed_by_a_hospital", sign(told, "h1"))
    yield fault("round_that_is_over", sign(replace(told, round=1, previous_round=0, previous_receipt=b"")))
    yield fault("round_too_far_ahead", sign(replace(told, round=1003)))
    yield fault("another_history", sign(replace(told, previous_receipt=bytes(32))))
    yield fault("older_history", sign(replace(told, previous_round=0, previous_receipt=b"")))
    yield fault("leftover_byte", message + b"\x00")
    yield fault("another_kind", codec.wrap("receipt", codec.expect("round_order", message)))


def _request(uploading: co.Uploading, members: Collection[str], order_hash: bytes = b"") -> AgreeRequest:
    chosen = {who: uploading.uploads[who] for who in sorted(members)}
    agreed = AgreedSet(
        uploading.frame.round,
        order_hash or uploading.frame.order_hash,
        tuple(SetMember(who, upload.header_hash) for who, upload in chosen.items()),
    )
    seals = [upload.seals.get(ME) for upload in chosen.values()]
    deposits = tuple(
        Deposit(upload.signed, seal.nonce if seal else b"", seal.ciphertext if seal else b"")
        for upload, seal in zip(chosen.values(), seals, strict=True)
    )
    return AgreeRequest(codec.encode(agreed), deposits)


def _agreements(run: Run, uploading: co.Uploading) -> Iterator[Fault]:
    state = run.states[ME]
    good = _request(uploading, run.roster.ids)

    def fault(name: str, request: AgreeRequest, local: ho.HospitalState = state) -> Fault:
        return Fault(f"agree_{name}", ho.agree, local, codec.pack("agree_request", request))

    def with_deposit(changed: Deposit) -> AgreeRequest:
        return replace(good, deposits=(good.deposits[0], changed, *good.deposits[2:]))

    def with_header(header: UploadHeader) -> AgreeRequest:
        """Hospital h1 signs another header than it should."""
        body = codec.encode(header)
        tag = agreed_set.header_label(uploading.frame, header)
        signed = Signed(body, identity.sign(key_of("h1"), tag, body))
        digest = agreed_set.header_hash(uploading.frame, body)
        upload = replace(uploading.uploads["h1"], signed=signed, header_hash=digest)
        return _request(replace(uploading, uploads={**uploading.uploads, "h1": upload}), run.roster.ids)

    theirs, header = good.deposits[1], uploading.uploads["h1"].header
    damaged = bytes([theirs.ciphertext[0] ^ 1]) + theirs.ciphertext[1:]
    yield fault("below_threshold", _request(uploading, (ME, "h1")))
    yield fault("without_the_signer", _request(uploading, ("h1", "h2", "h3")))
    yield fault("set_of_another_order", _request(uploading, run.roster.ids, bytes(32)))
    yield fault("member_told_another_order", with_header(replace(header, order_hash=bytes(32))))
    yield fault("header_of_another_round", with_header(replace(header, round=1)))
    yield fault("bad_commitment", with_header(replace(header, share_commitments=(bytes(32),) * 4)))
    yield fault(
        "header_not_signed", with_deposit(replace(theirs, header=replace(theirs.header, signature=bytes(64))))
    )
    yield fault("header_of_another_hospital", with_deposit(good.deposits[2]))
    yield fault("damaged_seal", with_deposit(replace(theirs, ciphertext=damaged)))
    yield fault("missing_seal", with_deposit(replace(theirs, nonce=b"", ciphertext=b"")))
    yield fault("deposit_missing", replace(good, deposits=good.deposits[:-1]))
    smaller, _ = ho.agree(state, codec.pack("agree_request", _request(uploading, (ME, "h1", "h2"))))  # type: ignore[arg-type]  # it uploaded above
    yield fault("set_that_grows", good, smaller)


def _openings(run: Run, uploading: co.Uploading) -> Iterator[Fault]:
    everybody, frame = run.roster.ids, uploading.frame
    large = _request(uploading, everybody)
    small = _request(uploading, (ME, "h1", "h2"))
    agreed, _ = ho.agree(run.states[ME], codec.pack("agree_request", large))  # type: ignore[arg-type]  # the run stands where all have uploaded
    after, _ = ho.agree(agreed, codec.pack("agree_request", small))

    def fault(
        name: str, signed: AgreeRequest, who: Collection[str], number: int = 2, forged: str = ""
    ) -> Fault:
        given = {h: agreed_set.sign_set(key_of(h), frame, signed.agreed_set) for h in who}
        given |= {forged: bytes(64)} if forged else {}
        signatures = tuple(MemberSignature(h, given[h]) for h in sorted(given))
        message = codec.pack("open_request", OpenRequest(number, signatures))
        return Fault(f"open_{name}", ho.open_shares, after, message)

    yield fault("below_threshold", small, (ME, "h1"))
    yield fault("forged_signature", small, (ME, "h1"), forged="h2")
    yield fault("earlier_set", large, (ME, "h1", "h2"))
    yield fault("signer_outside_the_set", small, (ME, "h1", "h2", "h3"))
    yield fault("another_round", small, (ME, "h1", "h2"), number=1)


def _receipts(run: Run) -> Iterator[Fault]:
    """Of the round that is over, changed so that it would be that of the second."""
    desk = run.session.desk
    held = codec.unpack("receipt", Receipt, run.receipt)
    body = codec.decode(ReceiptBody, held.signed.body)
    state = ho.close_round(run.states[ME])  # type: ignore[arg-type]  # the run is past its session's keys

    def fault(name: str, data: bytes) -> Fault:
        return Fault(f"receipt_{name}", ho.accept_receipt, state, data)

    yield fault("of_a_round_before", run.receipt)
    yield fault(
        "bad_signature",
        codec.pack("receipt", replace(held, signed=replace(held.signed, signature=bytes(64)))),
    )
    yield fault("wrong_sum", codec.pack("receipt", replace(held, sum=bytes(len(held.sum)))))
    yield fault(
        "set_of_another_round", sign_receipt(desk.identity, desk.context, replace(body, round=2), held.sum)
    )
    other = replace(body, session_id=bytes(16))
    yield fault("another_session", sign_receipt(desk.identity, desk.context, other, held.sum))
    few = replace(body, signatures=body.signatures[:2])
    yield fault("too_few_signatures", sign_receipt(desk.identity, desk.context, few, held.sum))

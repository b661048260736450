"""The open step on both sides: proof of agreement, once, and bad shares that do no harm."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import get_type_hints

import numpy as np
import pytest

from secagg import agreed_set, identity, rules, sealing, shamir
from secagg import coordinator as co
from secagg import hospital as ho
from secagg.errors import (
    BadSignature,
    CheckFailed,
    InconsistentDealer,
    ParameterError,
    StaleRound,
    TooFewSurvivors,
    WireError,
    WrongStep,
)
from secagg.masks import Ring, Speed
from secagg.secret import SecretBytes
from secagg.wire import codec, wardround_pb2
from secagg.wire.records import MemberSignature, OpenRequest, Shares
from tests.unit.secagg.rounds import Consortium, consortium, exact_sum, header_of, key_of, resign_header

ALL = ("h000", "h001", "h002", "h003")


def nothing(*_: object, **__: object) -> None:
    """A control switched off."""


def agreed(n: int = 4, no_upload: tuple[str, ...] = ()) -> tuple[Consortium, co.Agreeing]:
    c = consortium(n)
    present = [name for name in c.hospitals if name not in no_upload]
    agreeing, requests = co.propose(c.upload_all(c.order(1, c.hospitals), present))
    return c, c.agree_all(agreeing, requests)


def state_of(c: Consortium, name: str) -> ho.Agreed:
    state = c.hospitals[name]
    assert isinstance(state, ho.Agreed)
    return state


def request_with(agreeing: co.Agreeing, signers: list[str], round_number: int = 1) -> bytes:
    signatures = tuple(MemberSignature(name, agreeing.signatures[name]) for name in signers)
    return codec.pack("open_request", OpenRequest(round_number, signatures))


@pytest.mark.threat("FL-07", control="C-CONSIST")
def test_fewer_signatures_than_the_threshold(monkeypatch: pytest.MonkeyPatch) -> None:
    c, agreeing = agreed()
    request = request_with(agreeing, ["h000", "h001"])
    with pytest.raises(TooFewSurvivors):
        ho.open_shares(state_of(c, "h000"), request)
    monkeypatch.setattr(agreed_set, "check_signatures", nothing)
    monkeypatch.setattr(rules, "everybody_signed", nothing)
    ho.open_shares(state_of(c, "h000"), request)


def test_a_threshold_of_signatures_is_not_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has not signed this set could still sign and open a larger one, and tell what noise that one does not need."""
    c, agreeing = agreed()
    request = request_with(agreeing, ["h000", "h001", "h002"])
    with pytest.raises(WrongStep, match="h003 did not sign"):
        ho.open_shares(state_of(c, "h000"), request)
    monkeypatch.setattr(rules, "everybody_signed", nothing)
    ho.open_shares(state_of(c, "h000"), request)


def test_one_signature_twice_does_not_count_twice() -> None:
    c, agreeing = agreed()
    message = wardround_pb2.OpenRequest(round=1)
    for name in ("h000", "h001", "h001"):
        message.signatures.add(hospital=name, signature=agreeing.signatures[name])
    with pytest.raises(WireError, match="repeated"):
        ho.open_shares(state_of(c, "h000"), codec.wrap("open_request", message.SerializeToString()))


def test_signature_of_a_hospital_outside_the_set() -> None:
    c, agreeing = agreed(no_upload=("h003",))
    outsider = agreed_set.sign_set(key_of("h003"), agreeing.uploading.frame, agreeing.proposed_bytes)
    agreeing = replace(agreeing, signatures={**agreeing.signatures, "h003": outsider})
    with pytest.raises(WrongStep):
        ho.open_shares(state_of(c, "h000"), request_with(agreeing, ["h001", "h002", "h003"]))


@pytest.mark.threat("FL-07", control="C-CONSIST")
def test_forged_signature_is_refused() -> None:
    c, agreeing = agreed()
    agreeing = replace(agreeing, signatures={**agreeing.signatures, "h001": bytes(64)})
    with pytest.raises(BadSignature) as caught:
        ho.open_shares(state_of(c, "h000"), request_with(agreeing, ["h000", "h001", "h002"]))
    assert caught.value.culprit == "h001"


@pytest.mark.threat("FL-07", control="C-CONSIST")
def test_opening_an_earlier_signed_set_is_refused() -> None:
    """Signatures on the larger set do not open the smaller one that was agreed to last."""
    c, agreeing = agreed()
    smaller, requests = co.shrink(agreeing, frozenset({"h003"}))
    c.agree_all(smaller, requests)
    with pytest.raises(BadSignature):
        ho.open_shares(state_of(c, "h000"), request_with(agreeing, ["h000", "h001", "h002"]))


def test_signature_of_another_round_or_purpose_is_refused() -> None:
    c, agreeing = agreed()
    frame = agreeing.uploading.frame
    for tag in (replace(frame, round=2).label("agree"), frame.label("header")):
        forged = identity.sign(key_of("h001"), tag, agreeing.proposed_bytes)
        other = replace(agreeing, signatures={**agreeing.signatures, "h001": forged})
        with pytest.raises(BadSignature):
            ho.open_shares(state_of(c, "h000"), request_with(other, ["h000", "h001", "h002"]))


def test_stale_open_request() -> None:
    c, agreeing = agreed()
    with pytest.raises(StaleRound):
        ho.open_shares(state_of(c, "h000"), request_with(agreeing, list(ALL), round_number=2))


def test_open_once_by_type() -> None:
    """Only an agreed state opens (a settled one in the sparse graph), and an opened one neither opens nor agrees, nor holds anything that could."""
    assert get_type_hints(ho.open_shares)["state"] == ho.Agreed | ho.Settled
    assert get_type_hints(ho.agree)["state"] == ho.Uploaded | ho.Agreed
    assert {f.name for f in fields(ho.Opened)} == {"after", "frame", "agreed_set"}
    c, agreeing = agreed()
    _, asked = co.request_open(agreeing)
    opened, _ = ho.open_shares(state_of(c, "h000"), asked["h000"])
    with pytest.raises(AttributeError):
        ho.open_shares(opened, asked["h000"])  # type: ignore[arg-type]  # not its step


def test_open_only_when_all_members_agreed() -> None:
    c = consortium()
    agreeing, requests = co.propose(c.upload_all(c.order(1, c.hospitals), ALL))
    agreeing = c.agree_all(agreeing, requests, silent=["h002"])
    assert co.missing_agreements(agreeing) == {"h002"}
    with pytest.raises(WrongStep, match="h002"):
        co.request_open(agreeing)


def test_never_shrinks_after_open() -> None:
    assert get_type_hints(co.shrink)["state"] == co.Agreeing


def test_late_answer_to_an_earlier_set_is_ignored() -> None:
    c = consortium()
    agreeing, requests = co.propose(c.upload_all(c.order(1, c.hospitals), ALL))
    late = c.agree("h000", requests["h000"])
    smaller, _ = co.shrink(agreeing, frozenset({"h003"}))
    assert co.add_agreement(smaller, "h000", late) is smaller


def test_bad_share_is_skipped_and_named() -> None:
    c, agreeing = agreed()
    opening, asked = co.request_open(agreeing)
    for name in ALL:
        _, message = ho.open_shares(state_of(c, name), asked[name])
        if name == "h002":
            shares = codec.unpack("shares", Shares, message)
            wrong = replace(shares.shares[0], share=bytes(32))
            message = codec.pack("shares", replace(shares, shares=(wrong, *shares.shares[1:])))
        opening = co.add_shares(opening, name, message)
    assert opening.bad_shares == (co.BadOpening("h002", "h000"),)
    assert co.can_open(opening)
    total = co.unmask(opening, c.masked(opening.members))
    assert (total == exact_sum(c.params, list(c.vectors.values()))).all()


def test_without_the_share_check_the_sum_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing, "check_share", nothing)
    c, agreeing = agreed()
    opening, asked = co.request_open(agreeing)
    for name in ALL[:3]:
        _, message = ho.open_shares(state_of(c, name), asked[name])
        shares = codec.unpack("shares", Shares, message)
        wrong = replace(shares.shares[0], share=bytes(32))
        opening = co.add_shares(
            opening, name, codec.pack("shares", replace(shares, shares=(wrong, *shares.shares[1:])))
        )
    with pytest.raises(InconsistentDealer):
        co.unmask(opening, c.masked(opening.members))


def test_fewer_openers_than_the_threshold_cannot_decode() -> None:
    c, agreeing = agreed()
    opening = c.open_all(*co.request_open(agreeing), silent=["h001", "h002"])
    assert not co.can_open(opening)
    with pytest.raises(TooFewSurvivors):
        co.unmask(opening, c.masked(opening.members))


def test_dealer_with_inconsistent_shares_is_named() -> None:
    c = consortium()
    uploading = c.order(1, c.hospitals)
    for name in ALL:
        sent = c.make_upload(name)
        if name == "h001":
            wrong = replace(header_of(sent), seed_commitment=bytes(32))
            header = resign_header(uploading.frame, name, wrong)
            c.uploads[name] = replace(sent, header=header)
            state = c.hospitals[name]
            assert isinstance(state, ho.Uploaded)
            digest = (
                co.add_upload(uploading, name, header, sent.seals, wrong.vector_sha256)
                .uploads[name]
                .header_hash
            )
            c.hospitals[name] = replace(state, own_header_hash=digest)
        uploading = c.deliver_upload(uploading, name)
    agreeing, requests = co.propose(uploading)
    opening = c.open_all(*co.request_open(c.agree_all(agreeing, requests)))
    with pytest.raises(InconsistentDealer) as caught:
        co.unmask(opening, c.masked(opening.members))
    assert caught.value.culprit == "h001"


def test_check_coordinate_catches_a_wrong_vector() -> None:
    c, agreeing = agreed()
    opening = c.open_all(*co.request_open(agreeing))
    vectors = c.masked(opening.members)
    vectors["h000"] = vectors["h000"] + np.uint32(1)
    with pytest.raises(CheckFailed):
        co.unmask(opening, vectors)


def test_check_coordinate_catches_a_wrong_mask_seed() -> None:
    c, agreeing = agreed(no_upload=("h003",))
    wrong = {"h003": SecretBytes(bytes(32))}
    agreeing = replace(agreeing, mask_seeds={**agreeing.mask_seeds, "h000": wrong})
    opening = c.open_all(*co.request_open(agreeing))
    with pytest.raises(CheckFailed):
        co.unmask(opening, c.masked(opening.members))


def test_blocks_give_the_same_sum() -> None:
    c, agreeing = agreed(no_upload=("h003",))
    opening = c.open_all(*co.request_open(agreeing))
    vectors = c.masked(opening.members)
    blocks = Speed(threads=2, block_bytes=16, thread_bytes=1)
    total = co.unmask_blocks(opening, lambda who, first, due: vectors[who][first : first + due.size], blocks)
    assert (total == co.unmask(opening, vectors)).all()

    def copied(who: str, first: int, due: Ring) -> Ring:
        due[:] = vectors[who][first : first + due.size]
        return due

    assert (total == co.unmask_blocks(opening, copied, blocks)).all()
    with pytest.raises(ParameterError, match="were due"):
        co.unmask_blocks(opening, lambda who, first, due: vectors[who][first + 1 : first + due.size])


def test_vectors_must_be_those_of_the_members() -> None:
    c, agreeing = agreed(no_upload=("h003",))
    opening = c.open_all(*co.request_open(agreeing))
    with pytest.raises(ParameterError):
        co.unmask(opening, c.masked(["h000", "h001"]))


@pytest.mark.threat("FL-14", control="C-THRESH")
@pytest.mark.parametrize(("n", "colluding"), [(3, 1), (4, 1), (5, 1), (5, 2), (7, 3)])
def test_coordinator_and_its_colluders_cannot_unmask_one_hospital(n: int, colluding: int) -> None:
    """All that T hospitals hold of an honest dealer's self-mask is T shares; a threshold is needed."""
    c = consortium(n, colluding)
    agreeing, requests = co.propose(c.upload_all(c.order(1, c.hospitals), c.roster.ids))
    c.agree_all(agreeing, requests)
    honest, *others = c.roster.ids
    commitment = agreeing.uploading.uploads[honest].header.seed_commitment

    def opens(holders: list[str]) -> bool:
        shares = {
            c.roster.position(name): state_of(c, name).shares[honest].share.reveal() for name in holders
        }
        seed = shamir.reconstruct(shares).to_bytes(32, "big")
        return sealing.commit_to_seed(agreeing.uploading.frame, honest, seed) == commitment

    assert colluding < c.params.threshold
    assert not opens(others[:colluding])
    assert not opens([honest, *others][: c.params.threshold - 1])
    assert opens([honest, *others][: c.params.threshold])

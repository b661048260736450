"""The rules of the agree step: each refuses with its own error, and its attack works once the rule is taken away."""

from __future__ import annotations

from dataclasses import replace

import pytest

from secagg import coordinator as co
from secagg import hospital as ho
from secagg import rules, sealing
from secagg.errors import (
    BadShare,
    BadSignature,
    BothShareKinds,
    HeaderChanged,
    NotInSet,
    OrderMismatch,
    StaleRound,
    TooFewSurvivors,
    WrongStep,
)
from secagg.state_codec import decode_state, encode_state
from secagg.wire import codec
from secagg.wire.records import Agreement, AgreeRequest, Signed
from tests.unit.secagg.loot import ALL, asking, nothing, uploaded
from tests.unit.secagg.rounds import (
    consortium,
    craft_request,
    exact_sum,
    header_of,
    key_of,
    resign_header,
    take_unchecked,
)


@pytest.mark.threat("FL-03", control="C-COHORT")
def test_cohort_below_threshold(monkeypatch: pytest.MonkeyPatch) -> None:
    c, uploading = uploaded()
    attack = asking(c, "h000", craft_request(uploading, ALL[:2], "h000"))
    with pytest.raises(TooFewSurvivors) as caught:
        attack()
    assert (caught.value.needed, caught.value.present) == (3, 2)
    monkeypatch.setattr(rules, "set_is_large_enough", nothing)
    agreed, answer = attack()
    assert len(codec.unpack("agreement", Agreement, answer).seeds) == 2
    assert agreed.shares.keys() == {"h000", "h001"}


@pytest.mark.threat("FL-03", control="C-COHORT")
def test_cohort_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    c, uploading = uploaded()
    attack = asking(c, "h000", craft_request(uploading, ALL[:1], "h000"))
    with pytest.raises(TooFewSurvivors):
        attack()
    monkeypatch.setattr(rules, "set_is_large_enough", nothing)
    assert attack()[0].shares.keys() == {"h000"}


def test_set_without_the_signer(monkeypatch: pytest.MonkeyPatch) -> None:
    c, uploading = uploaded()
    attack = asking(c, "h000", craft_request(uploading, ALL[1:], "h000"))
    with pytest.raises(NotInSet):
        attack()
    monkeypatch.setattr(rules, "i_am_in", nothing)
    monkeypatch.setattr(rules, "own_header_is_unchanged", nothing)
    # It would have to reveal a mask seed with itself: there is none.
    with pytest.raises(KeyError):
        attack()


@pytest.mark.threat("FL-08", control="C-ONESHARE")
def test_agreed_sets_only_shrink_and_both_share_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    c, uploading = uploaded()
    c.agree("h000", craft_request(uploading, ALL[:3], "h000"))
    attack = asking(c, "h000", craft_request(uploading, ALL, "h000"))
    with pytest.raises(BothShareKinds) as caught:
        attack()
    assert caught.value.hospitals == ("h003",)
    monkeypatch.setattr(rules, "set_only_shrinks", nothing)
    # The share of a peer whose mask seed was revealed is not even kept.
    with pytest.raises(KeyError):
        attack()


@pytest.mark.threat("FL-08", control="C-ONESHARE")
def test_both_share_kinds_at_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """A state that wrongly kept the share of a dropped peer does not give it."""
    c, uploading = uploaded()
    for name in ALL[:3]:
        c.agree(name, craft_request(uploading, ALL[:3], name))
    agreeing, _ = co.shrink(co.propose(uploading)[0], frozenset({"h003"}))
    for name in ALL[:3]:
        c.hospitals[name], answer = asking(c, name, craft_request(uploading, ALL[:3], name))()
        agreeing = co.add_agreement(agreeing, name, answer)
    _, asked = co.request_open(agreeing)
    state = c.hospitals["h000"]
    assert isinstance(state, ho.Agreed)
    kept = replace(state, shares={**state.shares, "h003": state.shares["h001"]})
    with pytest.raises(BothShareKinds):
        ho.open_shares(kept, asked["h000"])
    monkeypatch.setattr(rules, "one_share_kind", nothing)
    ho.open_shares(kept, asked["h000"])


@pytest.mark.threat("FL-09", control="C-MODELBIND")
def test_order_mismatch_names_the_hospital(monkeypatch: pytest.MonkeyPatch) -> None:
    """Model inconsistency (Pasquini et al. 2022): one hospital is given another model than the others."""
    c = consortium()
    uploading = c.order(1, ALL[:3])
    c.order(1, ALL[3:], model=b"another model")
    for name in ALL:
        uploading = take_unchecked(uploading, name, c.make_upload(name))
    attack = asking(c, "h000", craft_request(uploading, ALL, "h000"))
    with pytest.raises(OrderMismatch) as caught:
        attack()
    assert caught.value.hospitals == ("h003",)
    with pytest.raises(OrderMismatch):
        asking(c, "h003", craft_request(uploading, ALL, "h003"))()
    with pytest.raises(OrderMismatch):
        c.deliver_upload(replace(uploading, uploads={}), "h003")
    monkeypatch.setattr(rules, "orders_are_equal", nothing)
    # Without the rule the seals, which were made under the other order, do not open.
    with pytest.raises(BadShare):
        attack()


@pytest.mark.threat("FL-09", control="C-MODELBIND")
def test_other_settings_are_another_order() -> None:
    c = consortium()
    one, _ = co.start_round(c.session, 1, "train", b"m", b"rate=0.1")
    other, _ = co.start_round(c.session, 1, "train", b"m", b"rate=0.2")
    assert one.frame.order_hash != other.frame.order_hash


def test_own_header_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    c, uploading = uploaded()
    header = replace(header_of(c.uploads["h000"]), vector_sha256=bytes(32))
    forged = replace(c.uploads["h000"], header=resign_header(uploading.frame, "h000", header))
    attack = asking(c, "h000", craft_request(take_unchecked(uploading, "h000", forged), ALL, "h000"))
    with pytest.raises(HeaderChanged):
        attack()
    monkeypatch.setattr(rules, "own_header_is_unchanged", nothing)
    attack()


def test_header_of_the_set_and_of_the_deposit(monkeypatch: pytest.MonkeyPatch) -> None:
    c, uploading = uploaded()
    request = codec.unpack("agree_request", AgreeRequest, craft_request(uploading, ALL, "h000"))
    header = replace(header_of(c.uploads["h001"]), vector_sha256=bytes(32))
    swapped = codec.unpack("upload_header", Signed, resign_header(uploading.frame, "h001", header))
    deposits = list(request.deposits)
    deposits[1] = replace(deposits[1], header=swapped)
    attack = asking(c, "h000", codec.pack("agree_request", replace(request, deposits=tuple(deposits))))
    with pytest.raises(HeaderChanged) as caught:
        attack()
    assert caught.value.culprit == "h001"
    monkeypatch.setattr(rules, "header_is", nothing)
    attack()


def test_one_header_per_dealer_and_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """After agreeing to one header of a dealer, another one of it is refused."""
    c, uploading = uploaded()
    c.agree("h000", craft_request(uploading, ALL, "h000"))
    header = replace(header_of(c.uploads["h001"]), vector_sha256=bytes(32))
    second = replace(c.uploads["h001"], header=resign_header(uploading.frame, "h001", header))
    attack = asking(c, "h000", craft_request(take_unchecked(uploading, "h001", second), ALL, "h000"))
    with pytest.raises(HeaderChanged) as caught:
        attack()
    assert caught.value.culprit == "h001"
    monkeypatch.setattr(rules, "set_only_shrinks", nothing)
    attack()


def test_unsigned_header(monkeypatch: pytest.MonkeyPatch) -> None:
    c, uploading = uploaded()
    header = replace(header_of(c.uploads["h001"]), vector_sha256=bytes(32))
    signed = codec.unpack("upload_header", Signed, resign_header(uploading.frame, "h001", header))
    unsigned = codec.pack("upload_header", replace(signed, signature=bytes(64)))
    forged = replace(c.uploads["h001"], header=unsigned)
    attack = asking(c, "h000", craft_request(take_unchecked(uploading, "h001", forged), ALL, "h000"))
    with pytest.raises(BadSignature) as caught:
        attack()
    assert caught.value.culprit == "h001"
    monkeypatch.setattr(rules, "header_is_signed", nothing)
    attack()


def test_bad_share_is_named_and_the_round_goes_on_without_the_dealer(monkeypatch: pytest.MonkeyPatch) -> None:
    c = consortium()
    uploading = c.order(1, c.hospitals)
    for name in ALL:
        sent = c.make_upload(name)
        if name == "h001":
            header = header_of(sent)
            wrong = replace(header, share_commitments=(bytes(32), *header.share_commitments[1:]))
            c.uploads[name] = replace(sent, header=resign_header(uploading.frame, name, wrong))
        uploading = c.deliver_upload(uploading, name)
    agreeing, requests = co.propose(uploading)
    attack = asking(c, "h000", requests["h000"])
    with pytest.raises(BadShare) as caught:
        attack()
    assert (caught.value.dealer, caught.value.holder, caught.value.culprit) == ("h001", "h000", "h001")
    agreeing, requests = co.shrink(agreeing, frozenset({caught.value.dealer}))
    agreeing = c.agree_all(agreeing, requests)
    opening = c.open_all(*co.request_open(agreeing))
    total = co.unmask(opening, c.masked(opening.members))
    assert (total == exact_sum(c.params, [c.vectors[name] for name in ("h000", "h002", "h003")])).all()
    monkeypatch.setattr(sealing, "check_share", nothing)
    attack()


def test_tampered_seal_blames_nobody() -> None:
    c, uploading = uploaded()
    seal = uploading.uploads["h001"].seals["h000"]
    changed = replace(seal, ciphertext=bytes([seal.ciphertext[0] ^ 1]) + seal.ciphertext[1:])
    upload = replace(uploading.uploads["h001"], seals={**uploading.uploads["h001"].seals, "h000": changed})
    tampered = replace(uploading, uploads={**uploading.uploads, "h001": upload})
    with pytest.raises(BadShare) as caught:
        asking(c, "h000", craft_request(tampered, ALL, "h000"))()
    assert (caught.value.dealer, caught.value.culprit) == ("h001", None)


@pytest.mark.threat("FL-11", control="C-FRESH")
def test_seal_of_another_pair_does_not_open() -> None:
    """A label with something that the sealing lacks: a seal fits one sender, receiver, round and order only."""
    c, uploading = uploaded()
    upload = uploading.uploads["h001"]
    moved = replace(upload, seals={**upload.seals, "h000": upload.seals["h002"]})
    with pytest.raises(BadShare):
        asking(
            c,
            "h000",
            craft_request(replace(uploading, uploads={**uploading.uploads, "h001": moved}), ALL, "h000"),
        )()


def test_reflected_upload_does_not_stand_for_another() -> None:
    c, uploading = uploaded()
    reflected = replace(uploading, uploads={**uploading.uploads, "h001": uploading.uploads["h002"]})
    with pytest.raises((BadSignature, WrongStep)):
        asking(c, "h000", craft_request(reflected, ALL, "h000"))()


def test_stale_requests() -> None:
    c, uploading = uploaded()
    request = craft_request(uploading, ALL, "h000")
    c.upload_all(c.order(2, c.hospitals), list(c.hospitals))
    with pytest.raises(StaleRound):
        asking(c, "h000", request)()


def test_late_upload_of_a_dropped_hospital() -> None:
    """Its mask seeds are revealed by then; it stays out of the round."""
    c = consortium()
    uploading = c.upload_all(c.order(1, c.hospitals), ALL[:3])
    agreeing, requests = co.propose(uploading)
    agreeing = c.agree_all(agreeing, requests)
    late = take_unchecked(uploading, "h003", c.make_upload("h003"))
    with pytest.raises(BothShareKinds):
        asking(c, "h000", craft_request(late, ALL, "h000"))()


@pytest.mark.threat("FL-08", control="C-ONESHARE")
def test_restart_between_two_requests_does_not_forget_the_set() -> None:
    """The hospital crashes after it agreed; from its journal it still refuses the larger set."""
    c, uploading = uploaded()
    c.agree("h000", craft_request(uploading, ALL[:3], "h000"))
    c.hospitals["h000"] = decode_state(encode_state(c.hospitals["h000"]), key_of("h000"))
    with pytest.raises(BothShareKinds):
        asking(c, "h000", craft_request(uploading, ALL, "h000"))()


def test_same_request_gives_the_same_answer() -> None:
    c, uploading = uploaded()
    request = craft_request(uploading, ALL[:3], "h000")
    assert c.agree("h000", request) == c.agree("h000", request)


def test_refusal_leaves_the_state_usable() -> None:
    c, uploading = uploaded()
    with pytest.raises(TooFewSurvivors):
        c.agree("h000", craft_request(uploading, ALL[:2], "h000"))
    c.agree("h000", craft_request(uploading, ALL, "h000"))

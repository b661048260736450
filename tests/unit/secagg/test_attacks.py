"""Attacks on a round: refused as built, and with the control taken away the attacker holds one hospital's vector.

`test_index` lists which mistake and which attack each test stands for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from coordinator.spool import Spool, SpoolError
from privacy.ledgers.participation import isolates
from secagg import agreed_set, pairs, rules
from secagg import coordinator as co
from secagg import hospital as ho
from secagg.context import label
from secagg.errors import (
    BadShare,
    BadSignature,
    BothShareKinds,
    KeyListError,
    OrderMismatch,
    RosterError,
    TooFewSurvivors,
    VectorMismatch,
    WireError,
    WrongStep,
)
from secagg.pairs import RoundFrame
from secagg.params import SecAggParams
from secagg.receipt import NO_RECEIPT
from secagg.roster import Roster
from secagg.secret import SecretBytes
from secagg.wire import flat
from secagg.wire.records import MemberSignature
from tests.unit.secagg import rounds
from tests.unit.secagg.loot import ALL, Loot, nothing, uploaded
from tests.unit.secagg.rounds import Consortium, consortium, entropy, take_unchecked
from tests.unit.secagg.test_key_list import adverts_of, key_in, key_list, signed_advert


def ordered(c: Consortium, name: str) -> ho.Ordered:
    state = c.hospitals[name]
    assert isinstance(state, ho.Ordered)
    return state


@pytest.mark.threat("FL-06", control="C-PKI")
def test_key_substitution(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys unsigned: the coordinator puts its own keys in the place of everybody else's, and opens the first upload."""
    c = consortium()
    own = {name: SecretBytes(entropy("coordinator's", name)) for name in ALL[1:]}
    forged = [signed_advert(c, name, pairs.exchange_public(key), "coordinator") for name, key in own.items()]
    victim, _ = c.advertise("h000")
    message = key_list(c, [adverts_of(c)[0], *forged])
    with pytest.raises(BadSignature):
        ho.accept_key_list(victim, message)
    monkeypatch.setattr(pairs, "verify_advert", nothing)
    c.hospitals["h000"] = ready = ho.accept_key_list(victim, message)
    c.session = replace(c.session, participants=ready.participants)
    for name, key in own.items():
        posing = ho.Advertised(replace(victim.seat, me=name), key, 0, NO_RECEIPT)
        c.hospitals[name] = ho.accept_key_list(posing, message)
    uploading = c.order(1, c.hospitals)
    secrets = {name: ordered(c, name).secrets for name in own}
    loot = Loot(c, take_unchecked(uploading, "h000", c.make_upload("h000")))
    for name in own:
        loot.collude(name, secrets[name])
    assert loot.has("h000")


@pytest.mark.threat("FL-06", control="C-PKI")
def test_copied_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """h003 signs h002's key as its own and drops: what the others reveal for h003 would be h002's mask seeds."""

    def attack() -> Loot:
        c = consortium()
        adverts = adverts_of(c)
        key = key_in(adverts[2])
        message = key_list(c, [*adverts[:3], signed_advert(c, "h003", key)])
        for name in ALL[:3]:
            c.hospitals[name] = ho.accept_key_list(c.advertise(name)[0], message)
        del c.hospitals["h003"]
        c.session = replace(c.session, participants=c.hospitals["h000"].participants)
        uploading = c.upload_all(c.order(1, c.hospitals), ALL[:3])
        loot = Loot(c, uploading)
        for name in ALL[:3]:
            loot.ask_agree(name, ALL[:3])
        for name in ALL[:3]:
            loot.ask_open(name, ALL[:3], ALL[:3])
        for peer in ("h000", "h001"):
            loot.seeds[frozenset({peer, "h002"})] = loot.seeds[frozenset({peer, "h003"})]
        return loot

    with pytest.raises(KeyListError, match="also that of h002"):
        attack()
    monkeypatch.setattr(pairs, "check_distinct_keys", nothing)
    # The labels hold the ids, so that one key under two names still gives two secrets.
    assert not attack().has("h002")
    monkeypatch.setattr(pairs, "_pair_parts", lambda *_: {})
    assert attack().has("h002")


def divided(c: Consortium, uploading: co.Uploading) -> Loot:
    """Three hospitals are told three sets; the corrupted h003 is in each of them and signs them all."""
    loot = Loot(c, uploading)
    loot.collude("h003", rounds_secrets(c, "h003"))
    loot.ask_agree("h000", ("h000", "h001", "h003"))
    loot.ask_agree("h001", ("h001", "h002", "h003"))
    loot.ask_agree("h002", ("h000", "h002", "h003"))
    return loot


def rounds_secrets(c: Consortium, name: str) -> dict[str, pairs.RoundSecrets]:
    """What a corrupted hospital has: its secrets of round 1, from the session's first chain."""
    again = ho.accept_key_list(c.advertise(name)[0], c.key_list)
    state, _ = ho.accept_order(again, c.messages[0])
    return dict(state.secrets)


@pytest.mark.threat("FL-07", control="C-CONSIST")
def test_split_view(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every hospital is told another set; without signatures of a threshold each would open its own."""
    c, uploading = uploaded()
    loot = divided(c, uploading)
    with pytest.raises(TooFewSurvivors):
        loot.ask_open("h000", ("h000", "h001", "h003"), ("h000", "h003"))
    with pytest.raises(BadSignature):
        # h001 signed another set; nobody else can sign this one for it.
        loot.ask_open("h000", ("h000", "h001", "h003"), ("h000", "h001", "h003"))
    assert not loot.has("h000")
    monkeypatch.setattr(agreed_set, "check_signatures", nothing)
    with pytest.raises(WrongStep, match="did not sign"):
        loot.ask_open("h000", ("h000", "h001", "h003"), ("h000", "h003"))
    monkeypatch.setattr(rules, "everybody_signed", nothing)
    loot.ask_open("h000", ("h000", "h001", "h003"), ("h000", "h003"))
    loot.ask_open("h002", ("h000", "h002", "h003"), ("h002", "h003"))
    assert loot.has("h000")


@pytest.mark.threat("FL-07", control="C-CONSIST")
def test_duplicate_ids_counted_towards_the_threshold(monkeypatch: pytest.MonkeyPatch) -> None:
    """One colluder's signature given twice is the third one that a split view lacks."""
    c, uploading = uploaded()
    loot = divided(c, uploading)
    mine, others = ("h000", "h001", "h003"), ("h000", "h002", "h003")
    with pytest.raises(WireError, match="repeated"):
        loot.ask_open("h000", mine, ("h000", "h003", "h003"))
    monkeypatch.setattr(flat, "check_order", nothing)
    with pytest.raises(TooFewSurvivors):
        loot.ask_open("h000", mine, ("h000", "h003", "h003"))
    monkeypatch.setattr(agreed_set, "check_signatures", entries_are_counted)
    with pytest.raises(WrongStep, match="did not sign"):
        loot.ask_open("h000", mine, ("h000", "h003", "h003"))
    monkeypatch.setattr(rules, "everybody_signed", nothing)
    loot.ask_open("h000", mine, ("h000", "h003", "h003"))
    loot.ask_open("h002", others, ("h002", "h003", "h003"))
    assert loot.has("h000")


def entries_are_counted(
    signatures: Sequence[MemberSignature],
    data: bytes,
    frame: RoundFrame,
    params: SecAggParams,
    roster: Roster,
) -> None:
    """`check_signatures` with the mistake: entries instead of hospitals."""
    if len(signatures) < params.threshold:
        raise TooFewSurvivors(0, len(signatures), "open")
    for entry in signatures:
        agreed_set.verify_set_signature(roster, frame, data, entry.hospital, entry.signature)


@pytest.mark.threat("FL-03", control="C-COHORT")
@pytest.mark.parametrize("cohort", [("h000",), ("h000", "h001")], ids=["cohort of one", "small cohort"])
def test_small_cohort(cohort: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """The victims sign a set of themselves and so give the seeds of their masks; the others open a set with everybody."""
    c, uploading = uploaded()
    loot = Loot(c, uploading)
    with pytest.raises(TooFewSurvivors):
        loot.ask_agree("h000", cohort)
    monkeypatch.setattr(rules, "set_is_large_enough", nothing)
    for victim in cohort:
        loot.ask_agree(victim, cohort)
    rest = [name for name in ALL if name not in cohort]
    if len(cohort) == 2:
        # h003 colludes; it and the victims themselves give the shares that the rest alone does not reach.
        loot.collude("h003", rounds_secrets(c, "h003"))
        monkeypatch.setattr(agreed_set, "check_signatures", nothing)
        for victim in cohort:
            loot.ask_open(victim, cohort, cohort)
    else:
        for name in rest:
            loot.ask_agree(name, ALL)
        with pytest.raises(WrongStep, match="did not sign"):
            loot.ask_open(rest[0], ALL, tuple(rest))
        monkeypatch.setattr(rules, "everybody_signed", nothing)
        for name in rest:
            loot.ask_open(name, ALL, tuple(rest))
    found = loot.sum_of(*cohort)
    assert found is not None
    assert (found == np.sum([c.vectors[name] for name in cohort], axis=0, dtype=found.dtype)).all()


@pytest.mark.threat("FL-08", control="C-ONESHARE")
def test_late_upload_of_a_dropped_hospital_and_both_share_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its mask seeds are revealed by then; with the shares of its self-mask as well its vector would be open."""
    c = consortium()
    uploading = c.upload_all(c.order(1, c.hospitals), ALL[:3])
    forgetful = {name: c.hospitals[name] for name in ALL[:3]}
    loot = Loot(c, uploading)
    for name in ALL[:3]:
        loot.ask_agree(name, ALL[:3])
    c.make_upload("h003")
    loot.late("h003")
    for name in ALL[:3]:
        with pytest.raises(BothShareKinds):
            loot.ask_agree(name, ALL)
    # With the agreed set forgotten, or taken for nothing, the other kind of share comes too.
    c.hospitals |= forgetful
    for name in ALL:
        loot.ask_agree(name, ALL)
    for name in ALL[:3]:
        loot.ask_open(name, ALL, ALL)
    assert loot.has("h003")


@pytest.mark.threat("FL-09", control="C-MODELBIND")
def test_model_inconsistency(monkeypatch: pytest.MonkeyPatch) -> None:
    """All but one are given a model at which their updates are zero (Pasquini et al. 2022): the sum is one hospital's."""

    def attack() -> tuple[Consortium, np.ndarray]:
        c = consortium()
        uploading = c.order(1, ALL[:1])
        c.order(1, ALL[1:], model=b"dead at every patient")
        uploading = take_unchecked(uploading, "h000", c.make_upload("h000"))
        for name in ALL[1:]:
            zero = np.zeros(c.params.dim, dtype=c.params.ring)
            c.hospitals[name], c.uploads[name] = ho.upload(ordered(c, name), zero, entropy("upload", name))
            uploading = take_unchecked(uploading, name, c.uploads[name])
        agreeing, requests = co.propose(uploading)
        opening = c.open_all(*co.request_open(c.agree_all(agreeing, requests)))
        return c, co.unmask(opening, c.masked(ALL))

    with pytest.raises(OrderMismatch):
        attack()
    monkeypatch.setattr(rules, "orders_are_equal", nothing)
    monkeypatch.setattr(rules, "order_is", nothing)
    # Two orders give two keys for every seal and two seeds for every mask.
    with pytest.raises(BadShare):
        attack()

    def without_order(frame: RoundFrame, purpose: str, **parts: bytes | str | int) -> bytes:
        return label(frame.context, purpose, key_list=frame.participants.hash, round=frame.round, **parts)

    monkeypatch.setattr(RoundFrame, "label", without_order)
    c, total = attack()
    assert (total == c.vectors["h000"]).all()


@pytest.mark.threat("FL-13", control="C-ENROL")
def test_sybil(monkeypatch: pytest.MonkeyPatch) -> None:
    """One party with two seats is two colluders where the parameters allow for one: a proper round gives h000 away."""
    key_of = rounds.key_of
    monkeypatch.setattr(rounds, "key_of", lambda name: key_of("h002" if name == "h003" else name))
    with pytest.raises(RosterError, match="share one identity key"):
        consortium(4, colluding=1)
    monkeypatch.setattr(Roster, "__post_init__", nothing)
    c = consortium(4, colluding=1)
    opening, total, _ = c.run(1, no_upload=["h001"])
    assert opening.members == ("h000", "h002", "h003")
    assert (total - c.vectors["h002"] - c.vectors["h003"] == c.vectors["h000"]).all()


def test_a_seat_that_is_not_on_the_roster() -> None:
    """Seats are made by signatures of all hospitals, never by the coordinator: a key list cannot add one."""
    c = consortium()
    state, _ = c.advertise("h000")
    made_up = signed_advert(c, "zz", pairs.exchange_public(SecretBytes(entropy("zz"))), "coordinator")
    with pytest.raises(KeyListError, match="roster"):
        ho.accept_key_list(state, key_list(c, [*adverts_of(c), made_up]))


@pytest.mark.threat("FL-04", control="C-RANK")
def test_cross_round_differencing() -> None:
    """Two sums at one model that differ by one hospital: the difference is its vector, and the rank gate says so."""
    c = consortium()
    everybody, everybody_sum, receipt = c.run(1)
    vectors = dict(c.vectors)
    c.deliver_receipt(receipt)
    again = c.order(2, c.hospitals, previous=receipt)
    for name in ALL[:3]:
        state = ordered(c, name)
        c.hospitals[name], c.uploads[name] = ho.upload(state, vectors[name], entropy("upload", name, 2))
        again = c.deliver_upload(again, name)
    opening = c.open_all(*co.request_open(c.agree_all(*co.propose(again))))
    fewer_sum = co.unmask(opening, c.masked(ALL[:3]))
    assert (everybody_sum - fewer_sum == vectors["h003"]).all()
    sets = (frozenset(everybody.members), frozenset(opening.members))
    assert isolates(sets, colluding=1)
    assert not isolates(sets[:1], colluding=1)


@pytest.mark.threat("FL-19", control="C-LIMITS")
def test_chunk_reordering(tmp_path: Path) -> None:
    """Chunks that change places make another vector; neither the spool nor the header's hash lets it into the sum."""
    c, uploading = uploaded()
    sent = c.uploads["h001"]
    chunks = [sent.vector[place : place + 40] for place in range(0, len(sent.vector), 40)]
    spool = Spool(tmp_path / "spool", len(sent.vector))
    spool.add("h001", 0, chunks[0])
    with pytest.raises(SpoolError):
        spool.add("h001", 80, chunks[2])
    swapped = b"".join([chunks[1], chunks[0], *chunks[2:]])
    without = replace(uploading, uploads={k: v for k, v in uploading.uploads.items() if k != "h001"})
    with pytest.raises(VectorMismatch):
        co.add_upload(without, "h001", sent.header, sent.seals, hashlib.sha256(swapped).digest())
    # A coordinator that believes the header's hash unseen gets a sum that is wrong, and no check notices.
    opening = c.open_all(*co.request_open(c.agree_all(*co.propose(uploading))))
    vectors = c.masked(ALL) | {"h001": np.frombuffer(swapped, dtype=c.params.ring)}
    wrong = co.unmask(opening, vectors)
    assert not (wrong == np.sum(list(c.vectors.values()), axis=0, dtype=wrong.dtype)).all()

"""Session set-up: every key is signed, canonical, distinct and in its owner's place."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from secagg import coordinator as co
from secagg import hospital as ho
from secagg import identity, pairs
from secagg.errors import BadSignature, KeyListError, StaleRound, TooFewSurvivors
from secagg.secret import SecretBytes
from secagg.wire import codec
from secagg.wire.records import Advert, KeyList, Signed
from tests.unit.secagg.rounds import Consortium, consortium, entropy, key_of


def nothing(*_: object, **__: object) -> None:
    """A control switched off."""


def adverts_of(c: Consortium) -> list[Signed]:
    return list(codec.unpack("key_list", KeyList, c.key_list).adverts)


def signed_advert(c: Consortium, name: str, key: bytes, signer: str | None = None) -> Signed:
    body = codec.encode(Advert(name, key))
    return Signed(body, identity.sign(key_of(signer or name), pairs.advert_label(c.context), body))


def key_list(c: Consortium, adverts: list[Signed]) -> bytes:
    return codec.pack("key_list", KeyList(1, tuple(adverts)))


def key_in(signed: Signed) -> bytes:
    return codec.decode(Advert, signed.body).key


@pytest.mark.threat("FL-06", control="C-PKI")
def test_unsigned_key_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    c = consortium()
    state, _ = c.advertise("h000")
    adverts = adverts_of(c)
    adverts[2] = Signed(adverts[2].body, bytes(64))
    with pytest.raises(BadSignature) as caught:
        ho.accept_key_list(state, key_list(c, adverts))
    assert caught.value.culprit == "h002"
    monkeypatch.setattr(pairs, "verify_advert", nothing)
    assert isinstance(ho.accept_key_list(state, key_list(c, adverts)), ho.Ready)


@pytest.mark.threat("FL-06", control="C-PKI")
def test_swapped_key_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The coordinator puts a key of its own in a hospital's place, to sit between two hospitals."""
    c = consortium()
    state, _ = c.advertise("h000")
    adverts = adverts_of(c)
    forged = pairs.exchange_public(SecretBytes(entropy("coordinator's own")))
    adverts[2] = signed_advert(c, "h002", forged, signer="coordinator")
    with pytest.raises(BadSignature):
        ho.accept_key_list(state, key_list(c, adverts))
    monkeypatch.setattr(pairs, "verify_advert", nothing)
    assert ho.accept_key_list(state, key_list(c, adverts)).participants.keys["h002"] == forged


@pytest.mark.threat("FL-06", control="C-PKI")
def test_copied_key_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    c = consortium()
    state, _ = c.advertise("h000")
    adverts = adverts_of(c)
    adverts[3] = signed_advert(c, "h003", key_in(adverts[2]))
    with pytest.raises(KeyListError) as caught:
        ho.accept_key_list(state, key_list(c, adverts))
    assert caught.value.culprit == "h003"
    monkeypatch.setattr(pairs, "check_distinct_keys", nothing)
    ready = ho.accept_key_list(state, key_list(c, adverts))
    # Even then the labels, which hold the ids, keep the two pair secrets apart.
    assert ready.chains["h002"] != ready.chains["h003"]


def test_copied_key_in_second_spelling_is_refused() -> None:
    c = consortium()
    state, _ = c.advertise("h000")
    adverts = adverts_of(c)
    copied = bytearray(key_in(adverts[2]))
    copied[31] |= 0x80
    adverts[3] = signed_advert(c, "h003", bytes(copied))
    with pytest.raises(KeyListError, match="canonical"):
        ho.accept_key_list(state, key_list(c, adverts))


@pytest.mark.parametrize("key", [bytes(32), (1).to_bytes(32, "little")])
def test_small_order_key_is_refused(key: bytes) -> None:
    c = consortium()
    state, _ = c.advertise("h000")
    adverts = adverts_of(c)
    adverts[3] = signed_advert(c, "h003", key)
    with pytest.raises(KeyListError, match="small order"):
        ho.accept_key_list(state, key_list(c, adverts))


@pytest.mark.parametrize(
    "change",
    [
        lambda c, adverts: adverts[1:],
        lambda c, adverts: [signed_advert(c, "h000", key_in(adverts[0])[::-1]), *adverts[1:]],
    ],
    ids=["own key missing", "own key changed"],
)
def test_own_key_must_be_present_and_unchanged(
    change: Callable[[Consortium, list[Signed]], list[Signed]],
) -> None:
    c = consortium()
    state, _ = c.advertise("h000")
    with pytest.raises(KeyListError, match=r"own session key|canonical"):
        ho.accept_key_list(state, key_list(c, change(c, adverts_of(c))))


def test_hospital_named_twice_does_not_count_twice() -> None:
    c = consortium()
    state, _ = c.advertise("h000")
    adverts = adverts_of(c)
    with pytest.raises(KeyListError, match="twice"):
        ho.accept_key_list(state, key_list(c, [adverts[0], adverts[1], adverts[1]]))
    second = signed_advert(c, "h001", pairs.exchange_public(SecretBytes(entropy("second"))))
    with pytest.raises(KeyListError, match="twice"):
        ho.accept_key_list(state, key_list(c, [adverts[0], adverts[1], second]))


def test_key_list_below_threshold_is_refused() -> None:
    c = consortium()
    state, _ = c.advertise("h000")
    with pytest.raises(TooFewSurvivors) as caught:
        ho.accept_key_list(state, key_list(c, adverts_of(c)[:2]))
    assert (caught.value.needed, caught.value.present) == (3, 2)


def test_stranger_is_refused() -> None:
    c = consortium()
    state, _ = c.advertise("h000")
    stranger = signed_advert(c, "zz", pairs.exchange_public(SecretBytes(entropy("stranger"))))
    with pytest.raises(KeyListError, match="roster"):
        ho.accept_key_list(state, key_list(c, [*adverts_of(c), stranger]))


def test_advert_of_another_session_is_refused() -> None:
    c, other = consortium(), consortium(session_number=1)
    state, _ = c.advertise("h000")
    adverts = adverts_of(c)
    adverts[2] = adverts_of(other)[2]
    with pytest.raises(BadSignature):
        ho.accept_key_list(state, key_list(c, adverts))


def test_session_starts_above_the_highest_round() -> None:
    c = consortium()
    state, _ = ho.advertise(
        key_of("h000"),
        c.params,
        c.roster,
        c.context,
        "h000",
        entropy("session key", "h000", 0),
        highest_round=7,
    )
    with pytest.raises(StaleRound):
        ho.accept_key_list(state, c.key_list)


def test_coordinator_refuses_what_hospitals_would() -> None:
    c = consortium()
    collecting = co.collect_adverts(key_of("coordinator"), c.params, c.roster, c.context)
    adverts = {f"h00{i}": codec.pack("advert", signed) for i, signed in enumerate(adverts_of(c))}
    with pytest.raises(KeyListError, match="another hospital"):
        co.add_advert(collecting, "h000", adverts["h001"])
    collecting = co.add_advert(collecting, "h000", adverts["h000"])
    assert co.add_advert(collecting, "h000", adverts["h000"]) is collecting
    with pytest.raises(TooFewSurvivors):
        co.close_adverts(collecting)


def test_session_with_a_hospital_missing_runs() -> None:
    c = consortium(4, lost=["h001"])
    opening, total, _ = c.run()
    assert opening.members == ("h000", "h002", "h003")
    assert (total == sum(c.vectors[name] for name in opening.members)).all()
    assert co.missing_hospitals(opening) == {"h001": "advertise"}

"""A hospital that crashes and restarts at any arrow sends the same bytes."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import pytest

from secagg import coordinator as co
from secagg import hospital as ho
from secagg import state_codec
from secagg.errors import ParameterError, SecAggError, WireError
from secagg.state_codec import decode_state, encode_state
from tests.unit.secagg.rounds import Consortium, consortium, entropy, key_of, vector_of

NAME = "h001"


def restarted(state: Any, name: str = NAME) -> Any:
    data = encode_state(state)
    again = decode_state(data, key_of(name))
    assert again == state
    assert encode_state(again) == data
    return again


def states_of_a_round() -> tuple[Consortium, list[Any], list[bytes]]:
    """All states of one hospital through a round with a drop-out, and what it sent, restarting at every arrow."""
    c = consortium(5)
    sent: list[bytes] = []
    state: Any
    state, advert = c.advertise(NAME)
    states, sent = [state], [advert]
    state = restarted(ho.accept_key_list(restarted(state), c.key_list))
    states.append(state)
    uploading, order = co.start_round(c.session, 1, "train", b"m", b"settings")
    for name in c.hospitals:
        c.hospitals[name], _ = ho.accept_order(c.hospitals[name], order)
    state, _ = ho.accept_order(restarted(state), order)
    states.append(state)
    for name in ("h000", "h002", "h003"):
        c.make_upload(name)
        uploading = c.deliver_upload(uploading, name)
    state, messages = ho.upload(restarted(state), vector_of(NAME, 1, c.params), entropy("upload", NAME))
    states.append(state)
    sent += [messages.header, messages.seals, messages.vector]
    digest = hashlib.sha256(messages.vector).digest()
    agreeing, requests = co.propose(co.add_upload(uploading, NAME, messages.header, messages.seals, digest))
    for name in ("h000", "h002", "h003"):
        agreeing = co.add_agreement(agreeing, name, c.agree(name, requests[name]))
    state, answer = ho.agree(restarted(state), requests[NAME])
    states.append(state)
    sent.append(answer)
    opening, asked = co.request_open(co.add_agreement(agreeing, NAME, answer))
    opened, shares = ho.open_shares(restarted(state), asked[NAME])
    states.append(opened)
    sent.append(shares)
    restarted(opened)
    assert co.add_shares(opening, NAME, shares).bad_shares == ()
    return c, states, sent


def test_restart_at_every_arrow_gives_the_same_bytes() -> None:
    _, states, sent = states_of_a_round()
    assert [type(state).__name__ for state in states] == [
        "Advertised",
        "Ready",
        "Ordered",
        "Uploaded",
        "Agreed",
        "Opened",
    ]
    _, again, sent_again = states_of_a_round()
    assert states == again
    assert sent == sent_again


def unwritten(state: Any) -> Any:
    """An equal state of which nothing was written yet."""
    if isinstance(state, ho.Ready):
        return replace(state, seat=replace(state.seat))
    return replace(state, after=unwritten(state.after))


def test_what_is_written_once_is_never_that_of_an_earlier_state() -> None:
    c, previous = consortium(3), b""
    for number in (1, 2, 3):
        uploading = c.order(number, c.hospitals, previous=previous)
        seen = [c.hospitals[NAME]]
        uploading = c.upload_all(uploading, c.roster.ids)
        seen.append(c.hospitals[NAME])
        agreeing = c.agree_all(*co.propose(uploading))
        seen.append(c.hospitals[NAME])
        opening = c.open_all(*co.request_open(agreeing))
        seen.append(c.hospitals[NAME])
        previous = co.make_receipt(opening, co.unmask(opening, c.masked(c.roster.ids)))
        c.deliver_receipt(previous)
        seen.append(c.hospitals[NAME])
        for state in seen:
            again = unwritten(state)
            assert again == state
            assert encode_state(state) == encode_state(again) == encode_state(state)


def test_bytes_of_a_state_hold_no_identity_key() -> None:
    _, states, _ = states_of_a_round()
    for state in states:
        assert key_of(NAME).reveal() not in encode_state(state)


def test_what_is_written_once_does_not_print() -> None:
    _, states, _ = states_of_a_round()
    for state in states[1:]:
        ready = ho.close_round(state)
        kept = state_codec._stored_ready(ready)
        for chain in ready.chains.values():
            assert chain.reveal() in kept.data
            assert repr(chain.reveal())[2:-1] not in repr((kept, state, state_codec._stored(state, ready)))


def test_secrets_of_a_round_are_gone_after_it() -> None:
    """Secrets kept after the round: neither mask seeds, seal keys nor shares outlive it, nor the ratchet's past."""
    _, states, _ = states_of_a_round()
    ordered, uploaded, agreed, opened = states[2:]
    assert isinstance(ordered, ho.Ordered)
    assert isinstance(uploaded, ho.Uploaded)
    assert isinstance(agreed, ho.Agreed)
    assert isinstance(opened, ho.Opened)
    used = [
        s.reveal()
        for secrets in ordered.secrets.values()
        for s in (secrets.mask_seed, secrets.seal_in, secrets.seal_out)
    ]
    used += [held.share.reveal() for held in agreed.shares.values()]
    used += [chain.reveal() for chain in states[1].chains.values()]
    for closed in (opened, ho.close_round(opened), ho.close_round(agreed), ho.close_round(ordered)):
        data = encode_state(closed)
        assert not any(secret in data for secret in used)


def test_state_of_another_identity_is_refused() -> None:
    _, states, _ = states_of_a_round()
    with pytest.raises(ParameterError):
        decode_state(encode_state(states[0]), key_of("h000"))


def test_damaged_state_is_refused_without_a_crash() -> None:
    _, states, _ = states_of_a_round()
    for state in states:
        data = encode_state(state)
        for cut in range(0, len(data), 37):
            with pytest.raises(WireError):
                decode_state(data[:cut], key_of(NAME))
        for position in range(0, len(data), 41):
            changed = bytearray(data)
            changed[position] ^= 0x80
            try:
                decode_state(bytes(changed), key_of(NAME))
            except SecAggError:
                continue

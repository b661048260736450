"""What a whole round shows to who looks at its states and messages: no secret, no weight, no chance, no clock.

`test_index` says which test shows which of the classic mistakes.
"""

from __future__ import annotations

import ast
import base64
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from importlib import resources
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES128
from cryptography.hazmat.primitives.ciphers.modes import CTR

from secagg import coordinator as co
from secagg import hospital as ho
from secagg.errors import SecAggError
from secagg.masks import Mask, add_masks
from secagg.secret import SecretBytes
from secagg.wire import codec
from secagg.wire.records import Agreement, RoundOrder, Shares, UploadHeader
from tests.unit.secagg.rounds import Consortium, consortium, entropy


def secrets_in(value: Any) -> Iterator[bytes]:
    """Every secret inside a state."""
    if isinstance(value, SecretBytes):
        yield value.reveal()
    elif isinstance(value, dict):
        for entry in value.values():
            yield from secrets_in(entry)
    elif is_dataclass(value):
        for entry in fields(value):
            yield from secrets_in(getattr(value, entry.name))


def whole_round() -> tuple[Consortium, list[ho.HospitalState], list[bytes]]:
    """All hospital states of a round in which h003 does not upload, with all messages."""
    c = consortium(4)
    states: list[ho.HospitalState] = [c.advertise(name)[0] for name in c.hospitals]
    states += c.hospitals.values()
    uploading = c.order(1, c.hospitals)
    states += c.hospitals.values()
    uploading = c.upload_all(uploading, ["h000", "h001", "h002"])
    states += c.hospitals.values()
    agreeing, requests = co.propose(uploading)
    agreeing = c.agree_all(agreeing, requests)
    states += c.hospitals.values()
    opening = c.open_all(*co.request_open(agreeing))
    states += c.hospitals.values()
    c.messages.append(co.make_receipt(opening, co.unmask(opening, c.masked(opening.members))))
    return c, states, c.messages


def test_mask_generator_is_aes_in_counter_mode() -> None:
    """Non-cryptographic PRG: the mask is the keystream of a block cipher, bit for bit."""
    seed = entropy("seed")
    stream = Cipher(AES128(seed[:16]), CTR(seed[16:])).encryptor().update(bytes(4000))
    vector = np.zeros(1000, dtype="<u4")
    add_masks(vector, [Mask(SecretBytes(seed), 1)])
    assert vector.tobytes() == stream


def test_no_random_module_anywhere() -> None:
    """Non-cryptographic PRG, clocks and IO: the package imports none."""
    forbidden = {
        "random",
        "secrets",
        "os",
        "time",
        "datetime",
        "socket",
        "pathlib",
        "logging",
        "pickle",
        "asyncio",
    }
    for path in resources.files("secagg").iterdir():
        if not path.name.endswith(".py"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {name.split(".")[0] for name in names} & forbidden, path.name
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "np":
                assert node.attr != "random", path.name


def test_modulus_and_dim_are_not_chosen_by_the_server() -> None:
    """Nothing that a hospital receives can set the ring, the clip or the length of its vector."""
    fields_received = {f.name for record in codec.KINDS.values() for f in fields(record)}
    fields_received |= {f.name for record in (RoundOrder, UploadHeader) for f in fields(record)}
    assert not fields_received & {"modulus", "modulus_bits", "bits", "clip", "dim", "threshold", "n"}


def test_weights_and_metrics_ride_inside_the_masked_vector() -> None:
    """Beside the vector only hashes, commitments, ids and the round travel in clear."""
    assert {f.name for f in fields(UploadHeader)} == {
        "hospital",
        "round",
        "order_hash",
        "vector_sha256",
        "seals_sha256",
        "seed_commitment",
        "share_commitments",
    }


@pytest.mark.threat("FL-12", control="C-KDF")
def test_domain_separation_between_uses_of_one_key() -> None:
    """Mask seed, both seal keys and the ratchet of one pair differ, and differ from those of every other pair and round."""
    c = consortium(5)
    seen: list[bytes] = []
    for round_number in (1, 2):
        c.order(round_number, c.hospitals)
        state = c.hospitals["h000"]
        assert isinstance(state, ho.Ordered)
        for peer, secrets in state.secrets.items():
            seen += [secrets.mask_seed.reveal(), secrets.seal_in.reveal(), secrets.seal_out.reveal()]
            seen.append(state.after.chains[peer].reveal())
    assert len(set(seen)) == len(seen) == 2 * 4 * 4


def test_both_ends_of_a_pair_agree_on_its_secrets() -> None:
    c = consortium()
    c.order(1, c.hospitals)
    one, other = c.hospitals["h000"], c.hospitals["h002"]
    assert isinstance(one, ho.Ordered)
    assert isinstance(other, ho.Ordered)
    assert one.secrets["h002"].mask_seed == other.secrets["h000"].mask_seed
    assert one.secrets["h002"].seal_out == other.secrets["h000"].seal_in


@pytest.mark.threat("FL-12", control="C-KDF")
def test_masks_are_not_reused_across_rounds() -> None:
    """The same vector, entropy and order text in two rounds give unrelated uploads."""
    c = consortium()
    vector = np.zeros(c.params.dim, dtype=c.params.ring)
    sent = []
    for round_number in (1, 2):
        c.order(round_number, c.hospitals)
        state = c.hospitals["h000"]
        assert isinstance(state, ho.Ordered)
        sent.append(np.frombuffer(ho.upload(state, vector, bytes(32))[1].vector, dtype=c.params.ring))
    assert not (sent[0] == sent[1]).any()


def test_drop_out_before_shares_arrive_does_not_kill_the_round() -> None:
    """Shares travel with the upload: whoever is not in U is simply not needed."""
    c = consortium(5)
    opening, _, _ = c.run(1, no_upload=["h002"])
    assert "h002" not in opening.members


def test_no_secret_in_any_repr() -> None:
    _, states, _ = whole_round()
    for state in states:
        text = repr(state)
        for secret in secrets_in(state):
            for form in (
                secret.hex(),
                repr(secret)[2:-1],
                base64.b64encode(secret).decode(),
                str(int.from_bytes(secret, "big")),
            ):
                assert form not in text


def test_no_secret_in_any_message_but_those_the_protocol_reveals() -> None:
    _, states, messages = whole_round()
    revealed: set[bytes] = set()
    for message in messages:
        kind, payload = codec.unwrap(message)
        if kind == "agreement":
            revealed |= {seed.seed for seed in codec.decode(Agreement, payload).seeds}
        if kind == "shares":
            for opened in codec.decode(Shares, payload).shares:
                revealed |= {opened.share, opened.opening}
    secrets = {secret for state in states for secret in secrets_in(state)} - revealed
    assert len(secrets) > 30
    for message in messages:
        assert not any(secret in message for secret in secrets)


def test_no_secret_in_error_messages() -> None:
    _, states, messages = whole_round()
    secrets = {secret for state in states for secret in secrets_in(state)}
    arrows: tuple[Any, ...] = (
        ho.accept_key_list,
        ho.accept_order,
        ho.agree,
        ho.open_shares,
        ho.accept_receipt,
    )
    texts = []
    for state in states:
        for message in messages:
            for arrow in arrows:
                try:
                    arrow(state, message)
                except (SecAggError, AttributeError) as error:
                    texts.append(str(error))
    joined = "\n".join(texts)
    assert len(texts) > 100
    assert not any(secret.hex() in joined or repr(secret)[2:-1] in joined for secret in secrets)


@pytest.mark.threat("FL-01", control="C-SECAGG")
def test_mask_hides_the_vector() -> None:
    """A sanity check on the upload of zeros: no coordinate shows through and both halves of the ring occur."""
    c = consortium(dim=4000)
    c.order(1, c.hospitals)
    state = c.hospitals["h000"]
    assert isinstance(state, ho.Ordered)
    _, messages = ho.upload(state, np.zeros(4000, dtype="<u4"), entropy("upload"))
    high = np.frombuffer(messages.vector, dtype="<u4") >> 31
    assert abs(float(high.mean()) - 0.5) < 5 * 0.5 / 4000**0.5


def test_one_crash_never_gives_two_vectors_under_one_round_key() -> None:
    """Upload is deterministic in (state, vector, entropy), so that what was journaled can be compared and sent again."""
    c = consortium()
    c.order(1, c.hospitals)
    state = c.hospitals["h000"]
    assert isinstance(state, ho.Ordered)
    vector = np.arange(c.params.dim, dtype="<u4")
    assert ho.upload(state, vector, entropy("e")) == ho.upload(state, vector, entropy("e"))
    with pytest.raises(AttributeError):
        ho.upload(ho.upload(state, vector, entropy("e"))[0], vector, entropy("e"))  # type: ignore[arg-type]  # not its step

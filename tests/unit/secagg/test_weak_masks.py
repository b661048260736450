"""Classic mistakes about masks, secrets and numbers: with each built in, the attacker reads a hospital's vector."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from secagg import coordinator as co
from secagg import hospital as ho
from secagg import masks, pairs
from secagg.context import label
from secagg.errors import ParameterError, TooFewSurvivors
from secagg.fixed_point import FixedPoint, from_ring, to_ring
from secagg.masks import Mask, Ring, add_masks
from secagg.pairs import RoundFrame
from secagg.secret import SecretBytes
from tests.unit.secagg.loot import ALL, Loot
from tests.unit.secagg.rounds import Consortium, consortium, entropy
from tests.unit.secagg.test_attacks import ordered

FOLDED = 32


def folded(seed: SecretBytes) -> SecretBytes:
    """The mistake in small: five bits stand for thirty-two."""
    return SecretBytes(hashlib.sha256(bytes([seed.reveal()[0] % FOLDED])).digest())


def small_upload(c: Consortium, name: str) -> tuple[Ring, Ring]:
    """A vector of small numbers and its upload."""
    vector = np.arange(1, c.params.dim + 1, dtype=c.params.ring)
    _, sent = ho.upload(ordered(c, name), vector, entropy("upload", name))
    return vector, np.frombuffer(sent.vector, dtype=c.params.ring)


@pytest.mark.threat("FL-30", control="C-RNG")
def test_mask_seed_folded_to_a_few_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every sum of three of the few masks is tried; the check coordinate tells which is right (32 bits cost 2^32 of it)."""

    def attack() -> tuple[Ring, list[Ring]]:
        c = consortium(3, dim=6)
        c.order(1, c.hospitals)
        vector, masked = small_upload(c, "h000")
        table = np.zeros((FOLDED, masked.size), dtype=masked.dtype)
        for value in range(FOLDED):
            add_masks(table[value], [Mask(SecretBytes(bytes([value]) + bytes(31)), 1)])
        sums = table[:, None, None] + table[None, :, None] + table[None, None, :]
        found = (masked - sums).reshape(-1, masked.size)
        return vector, [row[:-1] for row in found if row[-1] == 1 and (row < 1000).all()]

    assert attack()[1] == []
    stream = masks._stream
    monkeypatch.setattr(masks, "_stream", lambda seed, offset: stream(folded(seed), offset))
    vector, found = attack()
    assert found
    assert all((row == vector).all() for row in found)


class Congruential:
    """A fast generator that is no cipher: each word is a multiple of the last, and a constant more."""

    FACTOR, STEP = 1664525, 1013904223

    def __init__(self, seed: SecretBytes, offset: int) -> None:
        self.word = int.from_bytes(seed.reveal()[:4], "little")

    def update_into(self, zeros: memoryview, out: bytearray) -> None:
        words = np.empty(len(zeros) // 4, dtype="<u4")
        for place in range(words.size):
            words[place] = self.word
            self.word = (self.word * self.FACTOR + self.STEP) % 2**32
        out[: words.nbytes] = words.tobytes()


@pytest.mark.threat("FL-30", control="C-RNG")
def test_non_cryptographic_generator(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two coordinates that are known, such as those of a feature that nobody has, give the whole sum of masks."""

    def attack() -> tuple[Ring, Ring]:
        c = consortium(dim=40)
        c.order(1, c.hospitals)
        vector, masked = small_upload(c, "h001")
        first, second = (int(masked[i]) - int(vector[i]) for i in (0, 1))
        step = second - first * Congruential.FACTOR
        mask = np.empty(vector.size, dtype=vector.dtype)
        for place in range(mask.size):
            mask[place], first = first % 2**32, first * Congruential.FACTOR + step
        return vector, masked[:-1] - mask

    vector, found = attack()
    assert not (vector == found)[2:].any()
    monkeypatch.setattr(masks, "_stream", Congruential)
    vector, found = attack()
    assert (vector == found).all()


def same_label_in_every_round(frame: RoundFrame, purpose: str, **parts: bytes | str | int) -> bytes:
    """`RoundFrame.label` with the mistake."""
    return label(frame.context, purpose, key_list=frame.participants.hash, **parts)


def kept(chains: Mapping[str, SecretBytes], frame: RoundFrame, me: str) -> dict[str, SecretBytes]:
    """`pairs.ratchet` with the mistake: the old secret stays."""
    return dict(chains)


@pytest.mark.threat("FL-12", control="C-KDF")
def test_masks_reused_across_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """The difference of two uploads is that of the vectors: a round whose vector is known opens every other."""

    def difference() -> tuple[Ring, Ring]:
        c = consortium()
        vectors, sent = [], []
        for number in (1, 2):
            c.order(number, c.hospitals)
            vectors.append(np.full(c.params.dim, number**5, dtype=c.params.ring))
            # Entropy that came twice by a fault, too.
            _, messages = ho.upload(ordered(c, "h000"), vectors[-1], bytes(32))
            sent.append(np.frombuffer(messages.vector, dtype=c.params.ring)[:-1])
        return sent[1] - sent[0], vectors[1] - vectors[0]

    found, true = difference()
    assert not (found == true).any()
    monkeypatch.setattr(ho, "ratchet", kept)
    monkeypatch.setattr(RoundFrame, "label", same_label_in_every_round)
    found, true = difference()
    assert (found == true).all()


@pytest.mark.threat("FL-12", control="C-KDF")
def test_masks_reused_across_auxiliary_vectors_of_one_round() -> None:
    """There is one vector in a round: weights and metrics are coordinates of it, and a second upload fits no state.

    What a second one under the same keys would give away is shown by making it from a state that should be gone.
    """
    c = consortium()
    c.order(1, c.hospitals)
    state = ordered(c, "h000")
    vector = np.arange(c.params.dim, dtype=c.params.ring)
    after, first = ho.upload(state, vector, entropy("e"))
    with pytest.raises(AttributeError):
        ho.upload(after, vector, entropy("e"))  # type: ignore[arg-type]  # not its step
    _, second = ho.upload(state, vector * 7, entropy("e"))
    one, other = (np.frombuffer(sent.vector, dtype=c.params.ring)[:-1] for sent in (first, second))
    assert (other - one == vector * 6).all()


@pytest.mark.threat("FL-12", control="C-KDF")
def test_secrets_kept_after_the_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever copies a hospital's state after a round, and recorded the round, has its vector only if the keys were kept."""

    def attack() -> Loot:
        c = consortium()
        opening, _, receipt = c.run(1)
        c.deliver_receipt(receipt)
        stolen = c.hospitals["h000"]
        assert isinstance(stolen, ho.Ready)
        uploading = opening.agreeing.uploading
        loot = Loot(c, uploading)
        loot.know_pairs("h000", pairs.round_secrets(stolen.chains, uploading.frame, "h000"))
        for holder, share in opening.good_shares["h000"].items():
            loot.give("h000", holder, share.reveal())
        return loot

    assert not attack().has("h000")
    monkeypatch.setattr(ho, "ratchet", kept)
    assert attack().has("h000")


def test_secrets_in_repr_or_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A state that is printed, in a log or a traceback, must not be enough to unmask its upload."""

    def attack() -> bool:
        c = consortium()
        c.order(1, c.hospitals)
        state = ordered(c, "h000")
        printed = repr(state)
        return all(secrets.mask_seed.reveal().hex() in printed for secrets in state.secrets.values())

    assert not attack()
    monkeypatch.setattr(SecretBytes, "__repr__", lambda secret: secret.reveal().hex())
    assert attack()


@pytest.mark.threat("FL-16", control="C-POLICY")
def test_modulus_or_clip_chosen_by_the_server() -> None:
    """A hospital that clips as the order says lets the server zero everybody else; ours never reads its format from an order."""

    def summed(obedient: bool) -> tuple[Consortium, Ring, dict[str, Ring]]:
        c = consortium()
        settings = {"h000": 1.0, "h001": 1e-9, "h002": 1e-9, "h003": 1e-9}
        uploading, message = co.start_round(c.session, 1, "train", b"m", repr(settings).encode())
        own: dict[str, Ring] = {}
        for name in ALL:
            c.hospitals[name], _ = ho.accept_order(c.hospitals[name], message)
            values = np.random.default_rng(len(own)).uniform(-1, 1, c.params.dim)
            agreed = FixedPoint(16, 1.0, 32)
            own[name] = agreed.encode(values)
            clip = settings[name] if obedient else agreed.clip
            given = agreed.encode(np.clip(values, -clip, clip))
            c.hospitals[name], c.uploads[name] = ho.upload(ordered(c, name), given, entropy(name))
            uploading = c.deliver_upload(uploading, name)
        opening = c.open_all(*co.request_open(c.agree_all(*co.propose(uploading))))
        return c, co.unmask(opening, c.masked(ALL)), own

    _, total, own = summed(obedient=True)
    assert (total == own["h000"]).all()
    _, total, own = summed(obedient=False)
    assert not (total == own["h000"]).any()
    assert (total == np.sum(list(own.values()), axis=0, dtype=total.dtype)).all()


@pytest.mark.threat("FL-29", control="C-SELFTEST")
@pytest.mark.parametrize("bits", [32, 64])
def test_noise_clamped_after_it_was_added(bits: int) -> None:
    """Clamped noise says which of two vectors it hides; the ring's noise is the same about both, to the last draw."""
    noise = np.rint(np.random.default_rng(1).normal(0, 1000, 4000)).astype(np.int64)
    clip = 5000

    def clamped(value: int) -> np.ndarray[Any, Any]:
        return np.clip(value + noise, -clip, clip)

    assert np.mean(clamped(clip) == clip) > 0.4
    assert np.mean(clamped(0) == clip) < 0.01
    for value in (0, clip, (1 << (bits - 1)) - 1):
        moved = to_ring(np.array([value], dtype=np.int64), bits) + to_ring(noise, bits)
        assert (from_ring(moved - to_ring(np.array([value], dtype=np.int64), bits), bits) == noise).all()


def test_drop_out_before_shares_arrive_kills_the_round() -> None:
    """It does not: shares travel with the upload. A protocol that waits for everybody's shares dies of one silence."""
    c = consortium(5)
    opening, total, _ = c.run(1, no_upload=["h002"])
    assert (total == np.sum([c.vectors[name] for name in opening.members], axis=0, dtype=total.dtype)).all()
    everybody = consortium(5)
    object.__setattr__(everybody.params, "threshold", 5)
    with pytest.raises(TooFewSurvivors):
        everybody.run(1, no_upload=["h002"])


def test_a_vector_of_the_study_s_length_only() -> None:
    """Nor can the length of a vector be chosen from outside: it is part of the parameters."""
    c = consortium()
    c.order(1, c.hospitals)
    state = ordered(c, "h000")
    with pytest.raises(ParameterError):
        ho.upload(state, np.zeros(3, dtype="<u4"), entropy("e"))

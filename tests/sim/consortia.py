"""The pieces that an adversary can play with in one round: real uploads, sets, requests and signatures.

The adversary is the coordinator with the last `corrupted` hospitals of the roster. It holds their keys, so that it can make
several headers for each of them and sign every set in their names; of the others it has what they send.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable
from dataclasses import dataclass

from secagg import coordinator as co
from secagg import hospital as ho
from secagg.agreed_set import header_hash, sign_set
from secagg.params import SecAggParams
from secagg.wire import codec
from secagg.wire.records import (
    AgreedSet,
    AgreeRequest,
    Deposit,
    MemberSignature,
    OpenRequest,
    Seals,
    SetMember,
    Signed,
)
from tests.unit.secagg.rounds import Consortium, entropy, key_of, names

# A header of a corrupted hospital may come in so many versions; one of an honest hospital in one.
VERSIONS = 2
Member = tuple[str, int]
HospitalSet = tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class Case:
    """Parameters of the study and what the adversary is given.

    Attributes:
        n: hospitals on the roster.
        colluding: T of the parameters.
        threshold: t of the parameters.
        corrupted: hospitals that do collude, 0 to T.
        absent: hospitals that are not in the key list.
    """

    n: int
    colluding: int
    threshold: int
    corrupted: int
    absent: int = 0

    @property
    def smallest_sum(self) -> int:
        """Honest hospitals that every sum must cover: t - T, and two in any case."""
        return max(2, self.threshold - self.colluding)

    def params(self) -> SecAggParams:
        """The parameters, also those that `SecAggParams` refuses: the search must show why."""
        params = object.__new__(SecAggParams)
        values = {
            "n": self.n,
            "colluding": self.colluding,
            "threshold": self.threshold,
            "modulus_bits": 32,
            "dim": 1,
            "neighborhood": None,
        }
        for name, value in values.items():
            object.__setattr__(params, name, value)
        return params


def admissible(n: int) -> list[tuple[int, int]]:
    """Every (T, t) that `SecAggParams` accepts for n hospitals."""
    return [
        (colluding, threshold)
        for colluding in range(n)
        for threshold in range(colluding + 2, n + 1)
        if 2 * threshold > n + colluding
    ]


def cases(n: int) -> list[Case]:
    """Every admissible (T, t), number of corrupted hospitals and of hospitals outside the key list."""
    return [
        Case(n, colluding, threshold, corrupted, absent)
        for colluding, threshold in admissible(n)
        for corrupted in range(colluding + 1)
        for absent in range(n - threshold + 1)
    ]


@dataclass(frozen=True, slots=True)
class _Upload:
    signed: Signed
    header_hash: bytes
    seals: dict[str, tuple[bytes, bytes]]


class Field:
    """One round in which every hospital has its order; what each would upload is made once."""

    def __init__(self, case: Case) -> None:
        self.case = case
        everybody = names(case.n)
        cut = case.n - case.corrupted
        self.honest = everybody[: cut - case.absent]
        self.corrupted = everybody[cut:]
        consortium = Consortium(case.params(), lost=everybody[cut - case.absent : cut])
        self.participants = tuple(consortium.hospitals)
        uploading = consortium.order(1, consortium.hospitals)
        self.frame = uploading.frame
        self.uploaded: dict[str, ho.Uploaded] = {}
        self._uploads: dict[Member, _Upload] = {}
        self._signatures: dict[tuple[HospitalSet, str], bytes] = {}
        for name in self.participants:
            ordered = consortium.hospitals[name]
            assert isinstance(ordered, ho.Ordered)
            for version in range(VERSIONS if name in self.corrupted else 1):
                state, upload = self._upload(ordered, uploading, name, version)
                self._uploads[name, version] = upload
                if name in self.honest:
                    self.uploaded[name] = state

    def _upload(
        self, ordered: ho.Ordered, uploading: co.Uploading, name: str, version: int
    ) -> tuple[ho.Uploaded, _Upload]:
        params = self.case.params()
        vector = co.empty_sum(params)[: params.dim]
        state, sent = ho.upload(ordered, vector, entropy("upload", name, version))
        signed = codec.unpack("upload_header", Signed, sent.header)
        seals = codec.unpack("seals", Seals, sent.seals).seals
        digest = header_hash(uploading.frame, signed.body)
        return state, _Upload(signed, digest, {s.receiver: (s.nonce, s.ciphertext) for s in seals})

    @functools.cached_property
    def sets(self) -> tuple[HospitalSet, ...]:
        """Every set of participants, in every version of the corrupted ones' headers, of any size but zero."""
        choices = [
            [None, *(member for member in self._uploads if member[0] == name)] for name in self.participants
        ]
        every = (tuple(m for m in chosen if m is not None) for chosen in itertools.product(*choices))
        return tuple(chosen for chosen in every if chosen)

    def set_bytes(self, chosen: HospitalSet) -> bytes:
        """The bytes of a set, as signed."""
        members = tuple(SetMember(m[0], self._uploads[m].header_hash) for m in chosen)
        return codec.encode(AgreedSet(1, self.frame.order_hash, members))

    def agree_request(self, chosen: HospitalSet, receiver: str) -> bytes:
        """The request to sign a set, with the seals for this receiver."""
        deposits = []
        for member in chosen:
            upload = self._uploads[member]
            nonce, ciphertext = upload.seals.get(receiver, (b"", b""))
            deposits.append(Deposit(upload.signed, nonce, ciphertext))
        return codec.pack("agree_request", AgreeRequest(self.set_bytes(chosen), tuple(deposits)))

    def open_request(self, chosen: HospitalSet, signers: Iterable[str], forged: Iterable[str] = ()) -> bytes:
        """The request to open a set with the signatures of these, and zeros in the names of the forged."""
        given = {name: self.signature(chosen, name) for name in signers}
        given |= dict.fromkeys(forged, bytes(64))
        entries = tuple(MemberSignature(name, given[name]) for name in sorted(given))
        return codec.pack("open_request", OpenRequest(1, entries))

    def signature(self, chosen: HospitalSet, name: str) -> bytes:
        """What a hospital's signature on a set is, whether it gave it or not."""
        if (chosen, name) not in self._signatures:
            self._signatures[chosen, name] = sign_set(key_of(name), self.frame, self.set_bytes(chosen))
        return self._signatures[chosen, name]

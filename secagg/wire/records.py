"""The messages as typed, frozen records; each annotation states the bound of its field.

One class per message of wardround.proto, with the same field names. `codec.decode` reads these annotations: there is no
other place where a length is checked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from secagg.params import MAX_HOSPITALS

MAX_MODEL_BYTES = 1 << 31
MAX_CHUNK_BYTES = 4 << 20
SHARE_BYTES = 32


@dataclass(frozen=True, slots=True)
class Length:
    """A byte string of low to high bytes, both included."""

    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Most:
    """An unsigned integer up to and including high."""

    high: int


@dataclass(frozen=True, slots=True)
class Text:
    """At most high characters, printable."""

    high: int


@dataclass(frozen=True, slots=True)
class Name:
    """A hospital's id; optional ones may be empty."""

    optional: bool = False


@dataclass(frozen=True, slots=True)
class Items:
    """At most high entries; strictly ascending in the field named by key, if there is one."""

    high: int
    key: str = ""


Digest = Annotated[bytes, Length(32, 32)]
OptionalDigest = Annotated[bytes, Length(0, 32)]
Key = Annotated[bytes, Length(32, 32)]
Signature = Annotated[bytes, Length(64, 64)]
OptionalSignature = Annotated[bytes, Length(0, 64)]
HospitalId = Annotated[str, Name()]
RoundNumber = Annotated[int, Most((1 << 63) - 1)]
Reason = Annotated[str, Text(2000)]
Ciphertext = Annotated[bytes, Length(0, 2 * SHARE_BYTES + 16)]
Nonce = Annotated[bytes, Length(0, 12)]


@dataclass(frozen=True, slots=True)
class Signed:
    """A body and the signature over its bytes."""

    body: Annotated[bytes, Length(0, MAX_MODEL_BYTES)]
    signature: Signature


@dataclass(frozen=True, slots=True)
class Hello:
    """First message of a hospital on a fresh link."""

    version: Annotated[int, Most(1 << 31)]
    hospital: HospitalId
    study_hash: OptionalDigest
    session_id: Annotated[bytes, Length(0, 16)]
    round: RoundNumber


@dataclass(frozen=True, slots=True)
class StudyOffer:
    """The study agreement and the roster, as opaque canonical bytes."""

    agreement: Annotated[bytes, Length(1, 16 << 20)]
    roster: Annotated[bytes, Length(1, 1 << 20)]


@dataclass(frozen=True, slots=True)
class StudyAnswer:
    """A hospital's answer to an offer."""

    study_hash: Digest
    accepted: bool
    reason: Reason
    exit_code: Annotated[int, Most(255)]


@dataclass(frozen=True, slots=True)
class SessionStart:
    """The coordinator opens a session; each hospital answers with its advert."""

    study_hash: Digest
    roster_hash: Digest
    session_id: Annotated[bytes, Length(16, 16)]


@dataclass(frozen=True, slots=True)
class Advert:
    """Body of a signed advert."""

    hospital: HospitalId
    key: Key
    commitment: OptionalDigest = b""


@dataclass(frozen=True, slots=True)
class KeyList:
    """The signed adverts of those who take part, in roster order."""

    first_round: RoundNumber
    adverts: Annotated[tuple[Signed, ...], Items(MAX_HOSPITALS)]


@dataclass(frozen=True, slots=True)
class RoundOrder:
    """Body of a signed round order."""

    round: RoundNumber
    task: Annotated[str, Text(100)]
    model: Annotated[bytes, Length(0, MAX_MODEL_BYTES)]
    settings: Annotated[bytes, Length(0, 16 << 20)]
    previous_round: RoundNumber
    previous_receipt: OptionalDigest


@dataclass(frozen=True, slots=True)
class UploadHeader:
    """Body of a signed upload header; one share commitment per holder, in the key list's order."""

    hospital: HospitalId
    round: RoundNumber
    order_hash: Digest
    vector_sha256: Digest
    seals_sha256: Digest
    seed_commitment: Digest
    share_commitments: Annotated[tuple[Digest, ...], Items(MAX_HOSPITALS)]


@dataclass(frozen=True, slots=True)
class Seal:
    """One sealed share."""

    receiver: HospitalId
    nonce: Annotated[bytes, Length(12, 12)]
    ciphertext: Annotated[bytes, Length(2 * SHARE_BYTES + 16, 2 * SHARE_BYTES + 16)]


@dataclass(frozen=True, slots=True)
class Seals:
    """All sealed shares of one dealer."""

    round: RoundNumber
    seals: Annotated[tuple[Seal, ...], Items(MAX_HOSPITALS, "receiver")]


@dataclass(frozen=True, slots=True)
class VectorChunk:
    """A piece of the masked vector; the offset is in bytes."""

    round: RoundNumber
    offset: Annotated[int, Most(1 << 40)]
    data: Annotated[bytes, Length(1, MAX_CHUNK_BYTES)]


@dataclass(frozen=True, slots=True)
class SetMember:
    """One hospital of a set, with the header it is in with."""

    hospital: HospitalId
    header_hash: Digest


@dataclass(frozen=True, slots=True)
class AgreedSet:
    """The set U; its bytes are what members sign."""

    round: RoundNumber
    order_hash: Digest
    members: Annotated[tuple[SetMember, ...], Items(MAX_HOSPITALS, "hospital")]


@dataclass(frozen=True, slots=True)
class Deposit:
    """Header of one member of U and its sealed share for the receiver (empty in the receiver's own)."""

    header: Signed
    nonce: Nonce
    ciphertext: Ciphertext


@dataclass(frozen=True, slots=True)
class AgreeRequest:
    """The proposed set, with the deposits of those whose shares the receiver holds, in the order of the set."""

    agreed_set: Annotated[bytes, Length(1, 128 * MAX_HOSPITALS)]
    deposits: Annotated[tuple[Deposit, ...], Items(MAX_HOSPITALS)]


@dataclass(frozen=True, slots=True)
class MaskSeed:
    """Mask seed of the sender and one dropped peer."""

    hospital: HospitalId
    seed: Key


@dataclass(frozen=True, slots=True)
class Agreement:
    """A hospital's signature on the set (empty in the sparse graph), and the seeds it reveals for those outside."""

    round: RoundNumber
    set_hash: Digest
    signature: OptionalSignature
    seeds: Annotated[tuple[MaskSeed, ...], Items(MAX_HOSPITALS, "hospital")]


@dataclass(frozen=True, slots=True)
class MemberSignature:
    """One member's signature on the set."""

    hospital: HospitalId
    signature: Signature


@dataclass(frozen=True, slots=True)
class OpenRequest:
    """The signatures that allow opening."""

    round: RoundNumber
    signatures: Annotated[tuple[MemberSignature, ...], Items(MAX_HOSPITALS, "hospital")]


@dataclass(frozen=True, slots=True)
class OpenedShare:
    """One share of a dealer's self-mask seed with the opening of its commitment."""

    dealer: HospitalId
    share: Annotated[bytes, Length(SHARE_BYTES, SHARE_BYTES)]
    opening: Key


@dataclass(frozen=True, slots=True)
class Shares:
    """A hospital's shares for every member of U."""

    round: RoundNumber
    shares: Annotated[tuple[OpenedShare, ...], Items(MAX_HOSPITALS, "dealer")]


@dataclass(frozen=True, slots=True)
class SpareNoise:
    """A piece of the noise that the opened set does not need; the offset is in bytes."""

    round: RoundNumber
    offset: Annotated[int, Most(1 << 40)]
    data: Annotated[bytes, Length(1, MAX_CHUNK_BYTES)]


@dataclass(frozen=True, slots=True)
class MissingHospital:
    """A hospital and the step at which it was not there."""

    hospital: HospitalId
    step: Annotated[str, Text(20)]


@dataclass(frozen=True, slots=True)
class ReceiptBody:
    """Body of a signed receipt."""

    round: RoundNumber
    order_hash: Digest
    key_list_hash: Digest
    agreed_set: Annotated[bytes, Length(1, 128 * MAX_HOSPITALS)]
    signatures: Annotated[tuple[MemberSignature, ...], Items(MAX_HOSPITALS, "hospital")]
    missing: Annotated[tuple[MissingHospital, ...], Items(MAX_HOSPITALS, "hospital")]
    sum_sha256: Digest
    previous_round: RoundNumber
    previous_receipt: OptionalDigest
    session_id: Annotated[bytes, Length(16, 16)]


@dataclass(frozen=True, slots=True)
class Receipt:
    """A signed receipt; the sum may travel with it."""

    signed: Signed
    sum: Annotated[bytes, Length(0, MAX_MODEL_BYTES)]


@dataclass(frozen=True, slots=True)
class Abort:
    """A round ends without a sum; from a hospital: why it does not go on."""

    round: RoundNumber
    reason: Reason
    culprit: Annotated[str, Name(optional=True)]


@dataclass(frozen=True, slots=True)
class LedgerExportRequest:
    """The coordinator asks for the hospital's signed ledger."""

    study_hash: Digest


@dataclass(frozen=True, slots=True)
class LedgerExport:
    """A signed ledger as JSON lines."""

    jsonl: Annotated[bytes, Length(0, 32 << 20)]


@dataclass(frozen=True, slots=True)
class StudyEnd:
    """The study is over."""

    status: Annotated[str, Text(100)]
    reason: Reason


@dataclass(frozen=True, slots=True)
class GraphContribution:
    """What a hospital adds to the seed of the sparse graph; its advert committed to it."""

    contribution: Key


@dataclass(frozen=True, slots=True)
class GraphSeed:
    """The contributions of everybody on the key list, in its order."""

    contributions: Annotated[tuple[Digest, ...], Items(MAX_HOSPITALS)]


@dataclass(frozen=True, slots=True)
class SignRequest:
    """Sparse graph: all members agreed to this set, it is the final one."""

    round: RoundNumber
    set_hash: Digest


@dataclass(frozen=True, slots=True)
class SetSignature:
    """Sparse graph: a member's signature on the final set."""

    round: RoundNumber
    set_hash: Digest
    signature: Signature

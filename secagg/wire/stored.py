"""The records that a hospital keeps on its own disk. They hold secrets in plain: the file is the secret."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from secagg.params import MAX_HOSPITALS
from secagg.wire.records import (
    Digest,
    HospitalId,
    Items,
    Key,
    Length,
    Most,
    OpenedShare,
    OptionalDigest,
    RoundNumber,
    Text,
)

Number = Annotated[int, Most(1 << 31)]


@dataclass(frozen=True, slots=True)
class StoredSecret:
    """Something kept for one peer."""

    hospital: HospitalId
    secret: Key = field(repr=False)


Secrets = Annotated[tuple[StoredSecret, ...], Items(MAX_HOSPITALS, "hospital")]


@dataclass(frozen=True, slots=True)
class StoredSeat:
    """Who the hospital is; the identity key is not part of it."""

    me: HospitalId
    n: Number
    colluding: Number
    threshold: Number
    modulus_bits: Number
    dim: Annotated[int, Most(1 << 40)]
    roster: Annotated[bytes, Length(1, 1 << 21)]
    version: Number
    study_hash: Digest
    session_id: Annotated[bytes, Length(16, 16)]
    degree: Number = 0
    neighbor_threshold: Number = 0


@dataclass(frozen=True, slots=True)
class StoredReady:
    """The session's key list and pair secrets."""

    key_list_hash: Digest
    first_round: RoundNumber
    keys: Secrets
    chains: Secrets = field(repr=False)
    chain_round: RoundNumber


@dataclass(frozen=True, slots=True)
class StoredRound:
    """What is kept of the round under way; empty where the state no longer needs it."""

    round: RoundNumber
    order_hash: Digest
    mask_seeds: Secrets = field(repr=False)
    seal_out: Secrets = field(repr=False)
    seal_in: Secrets = field(repr=False)
    own_header_hash: OptionalDigest
    agreed_set: Annotated[bytes, Length(0, 128 * MAX_HOSPITALS)]
    shares: Annotated[tuple[OpenedShare, ...], Items(MAX_HOSPITALS, "dealer")] = field(repr=False)


@dataclass(frozen=True, slots=True)
class StoredState:
    """One state of `secagg.states`, by its class name."""

    kind: Annotated[str, Text(20)]
    seat: StoredSeat
    highest_round: RoundNumber
    receipt_round: RoundNumber
    receipt_hash: OptionalDigest
    session_key: Annotated[bytes, Length(0, 32)] = field(repr=False)
    ready: Annotated[tuple[StoredReady, ...], Items(1)]
    round: Annotated[tuple[StoredRound, ...], Items(1)]
    contribution: Annotated[bytes, Length(0, 32)] = field(default=b"", repr=False)
    graphs: Number = 0
    key_list: Annotated[bytes, Length(0, 1 << 21)] = b""

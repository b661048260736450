"""The states of a hospital in one session; a round closes by returning to `after`.

Secrets are `SecretBytes`, whose repr is empty; a state that no longer needs a secret does not hold it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from secagg.context import Context
from secagg.pairs import Participants, RoundFrame, RoundSecrets
from secagg.params import SecAggParams
from secagg.receipt import ReceiptRef
from secagg.roster import Roster
from secagg.sealing import HeldShare
from secagg.secret import SecretBytes


@dataclass(frozen=True, slots=True)
class Seat:
    """Who this hospital is, fixed for a session."""

    identity: SecretBytes
    params: SecAggParams
    roster: Roster
    context: Context
    me: str


@dataclass(frozen=True, slots=True)
class Advertised:
    """The session key is made; the key list is awaited."""

    seat: Seat
    session_key: SecretBytes
    highest_round: int
    last_receipt: ReceiptRef


@dataclass(frozen=True, slots=True)
class Ready:
    """Between rounds.

    Attributes:
        seat: who this hospital is.
        participants: the key list.
        chains: pair secret with each peer, good for chain_round and later; earlier ones cannot be computed back.
        chain_round: the lowest round that can still be run.
        highest_round: the highest round ever started in this study, across sessions.
        last_receipt: the latest receipt accepted.
    """

    seat: Seat
    participants: Participants
    chains: Mapping[str, SecretBytes]
    chain_round: int
    highest_round: int
    last_receipt: ReceiptRef


@dataclass(frozen=True, slots=True)
class Ordered:
    """A round order is accepted; nothing has left."""

    after: Ready
    frame: RoundFrame
    secrets: Mapping[str, RoundSecrets]


@dataclass(frozen=True, slots=True)
class Uploaded:
    """Header, seals and vector are made; they must be stored before they are sent."""

    after: Ready
    frame: RoundFrame
    mask_seeds: Mapping[str, SecretBytes]
    seal_in: Mapping[str, SecretBytes]
    own_share: HeldShare
    own_header_hash: bytes


@dataclass(frozen=True, slots=True)
class Agreed:
    """A set is signed. `shares` holds one share per member; the mask seeds of all others are revealed."""

    after: Ready
    frame: RoundFrame
    mask_seeds: Mapping[str, SecretBytes]
    own_header_hash: bytes
    agreed_set: bytes
    shares: Mapping[str, HeldShare]


@dataclass(frozen=True, slots=True)
class Opened:
    """The shares are given, once; only the receipt is awaited. No secret of the round is left."""

    after: Ready
    frame: RoundFrame
    agreed_set: bytes


InRound: TypeAlias = Ordered | Uploaded | Agreed | Opened
HospitalState: TypeAlias = Advertised | Ready | InRound

"""The states of a hospital in one session; a round closes by returning to `after`.

Secrets are `SecretBytes`, whose repr is empty; a state that no longer needs a secret does not hold it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeAlias, TypeVar

from secagg.context import Context
from secagg.drawing import Listed
from secagg.pairs import Participants, RoundFrame, RoundSecrets
from secagg.params import SecAggParams
from secagg.receipt import ReceiptRef
from secagg.roster import Roster
from secagg.sealing import HeldShare
from secagg.secret import SecretBytes
from secagg.wire.flat import Written

T = TypeVar("T")


class Once(Generic[T]):
    """Something that follows from a frozen record, made when it is first asked for. A changed copy of the record has its own."""

    __slots__ = ("_made",)

    def __init__(self) -> None:
        self._made: T | None = None

    def get(self, make: Callable[[], T]) -> T:
        """What was made the first time."""
        if self._made is None:
            self._made = make()
        return self._made


@dataclass(frozen=True, slots=True)
class Seat:
    """Who this hospital is, fixed for a session.

    Attributes:
        stored: as `state_codec` writes it, the same in every state of the session.
    """

    identity: SecretBytes
    params: SecAggParams
    roster: Roster
    context: Context
    me: str
    stored: Once[Written] = field(default_factory=Once, init=False, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Advertised:
    """The session key is made; the key list is awaited.

    Attributes:
        seat: who this hospital is.
        session_key: X25519.
        highest_round: the highest round ever started in this study, across sessions.
        last_receipt: the latest receipt accepted.
        contribution: to the seed of the sparse graph; None in the complete graph.
        graphs: graphs that this hospital has helped to draw in this study, across sessions.
    """

    seat: Seat
    session_key: SecretBytes
    highest_round: int
    last_receipt: ReceiptRef
    contribution: SecretBytes | None = None
    graphs: int = 0


@dataclass(frozen=True, slots=True)
class Revealed:
    """Sparse graph: the own contribution is given, for this key list; everybody's are awaited.

    Attributes:
        advertised: the state before, without its contribution.
        listed: the key list, whose signatures are not verified yet.
    """

    advertised: Advertised
    listed: Listed

    @property
    def seat(self) -> Seat:
        """Who this hospital is."""
        return self.advertised.seat

    @property
    def highest_round(self) -> int:
        """As in `Advertised`."""
        return self.advertised.highest_round

    @property
    def last_receipt(self) -> ReceiptRef:
        """As in `Advertised`."""
        return self.advertised.last_receipt


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
        graphs: as in `Advertised`.
        stored: key list and chains as `state_codec` writes them, the same in every state of a round; with the secrets in it, it is dropped
            with them.
    """

    seat: Seat
    participants: Participants
    chains: Mapping[str, SecretBytes]
    chain_round: int
    highest_round: int
    last_receipt: ReceiptRef
    graphs: int = 0
    stored: Once[Written] = field(default_factory=Once, init=False, repr=False, compare=False)


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
    own_share: HeldShare | None
    own_header_hash: bytes


@dataclass(frozen=True, slots=True)
class Agreed:
    """A set is agreed to. `shares` holds those of its members; the mask seeds of all other peers are revealed.

    In the complete graph the set is signed and can be opened; in the sparse graph `Settled` follows first.
    """

    after: Ready
    frame: RoundFrame
    mask_seeds: Mapping[str, SecretBytes]
    own_header_hash: bytes
    agreed_set: bytes
    shares: Mapping[str, HeldShare]


@dataclass(frozen=True, slots=True)
class Settled:
    """Sparse graph: the one final set is signed; nothing else is agreed to in this round."""

    after: Ready
    frame: RoundFrame
    agreed_set: bytes
    shares: Mapping[str, HeldShare]


@dataclass(frozen=True, slots=True)
class Opened:
    """The shares are given, once; only the receipt is awaited. No secret of the round is left."""

    after: Ready
    frame: RoundFrame
    agreed_set: bytes


InRound: TypeAlias = Ordered | Uploaded | Agreed | Settled | Opened
Joining: TypeAlias = Advertised | Revealed
HospitalState: TypeAlias = Joining | Ready | InRound

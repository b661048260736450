"""The states of the coordinator. It holds no secret of its own but its identity key, until shares are opened.

The shell may store the messages it received instead of these states: every arrow is deterministic, so that giving the
same messages again after a restart leads to the same state and the same outgoing bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from secagg.context import Context
from secagg.drawing import Listed
from secagg.pairs import Participants, RoundFrame
from secagg.params import SecAggParams
from secagg.roster import Roster
from secagg.secret import SecretBytes
from secagg.wire.records import AgreedSet, RoundOrder, Seal, Signed, UploadHeader


@dataclass(frozen=True, slots=True)
class Desk:
    """What is fixed for a session."""

    identity: SecretBytes
    params: SecAggParams
    roster: Roster
    context: Context


@dataclass(frozen=True, slots=True)
class Collecting:
    """Adverts come in."""

    desk: Desk
    first_round: int
    adverts: Mapping[str, Signed]


@dataclass(frozen=True, slots=True)
class Revealing:
    """Sparse graph: the key list is out; contributions come in."""

    desk: Desk
    listed: Listed
    contributions: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Session:
    """The key list is made; rounds can start."""

    desk: Desk
    participants: Participants


@dataclass(frozen=True, slots=True)
class Upload:
    """What one hospital uploaded, beside its vector."""

    signed: Signed
    header: UploadHeader
    header_hash: bytes
    seals: Mapping[str, Seal]


@dataclass(frozen=True, slots=True)
class Uploading:
    """The order is out; uploads come in."""

    session: Session
    frame: RoundFrame
    order: RoundOrder
    uploads: Mapping[str, Upload]


@dataclass(frozen=True, slots=True)
class Agreeing:
    """A set is proposed; signatures and mask seeds come in.

    Attributes:
        uploading: all uploads.
        proposed: the set.
        proposed_bytes: the set as sent and signed.
        signatures: id to signature on this set; of the sparse graph empty bytes of who agreed, until it is settled.
        mask_seeds: id to (dropped peer to mask seed).
        superseded: hashes of sets proposed before in this round.
    """

    uploading: Uploading
    proposed: AgreedSet
    proposed_bytes: bytes
    signatures: Mapping[str, bytes]
    mask_seeds: Mapping[str, Mapping[str, SecretBytes]]
    superseded: frozenset[bytes]


@dataclass(frozen=True, slots=True)
class Settling:
    """Sparse graph: every member agreed to the final set; signatures on it come in.

    Attributes:
        agreeing: the final set; `signatures` holds those on it.
    """

    agreeing: Agreeing


@dataclass(frozen=True, slots=True)
class BadOpening:
    """A share that was skipped because it does not match its commitment."""

    holder: str
    dealer: str


@dataclass(frozen=True, slots=True)
class Opening:
    """The final set is signed, in the complete graph by all its members; shares come in.

    Attributes:
        agreeing: the final set and the mask seeds.
        opened_by: who answered.
        good_shares: dealer to (holder to share), each matching its commitment.
        bad_shares: what was skipped.
    """

    agreeing: Agreeing
    opened_by: frozenset[str]
    good_shares: Mapping[str, Mapping[str, SecretBytes]]
    bad_shares: tuple[BadOpening, ...]

    @property
    def members(self) -> tuple[str, ...]:
        """The hospitals in the sum, in roster order."""
        return tuple(member.hospital for member in self.agreeing.proposed.members)

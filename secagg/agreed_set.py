"""The set U: how it is hashed and signed, and what a set of signatures on it is worth."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping, Sequence, Set

from secagg import identity
from secagg.context import label
from secagg.errors import TooFewSurvivors, WrongStep
from secagg.pairs import RoundFrame
from secagg.params import SecAggParams
from secagg.roster import Roster
from secagg.secret import SecretBytes
from secagg.wire import codec
from secagg.wire.records import AgreedSet, MemberSignature, UploadHeader


def read_set(data: bytes, params: SecAggParams) -> AgreedSet:
    """Parse the bytes of a set."""
    return _read_set(data, 128 * params.n + 100)


@functools.lru_cache(maxsize=8)
def _read_set(data: bytes, max_bytes: int) -> AgreedSet:
    """A round looks into its set at every step, and once more with the receipt."""
    return codec.decode(AgreedSet, data, max_bytes)


def member_headers(agreed: AgreedSet) -> dict[str, bytes]:
    """Id to header hash, in roster order."""
    return {member.hospital: member.header_hash for member in agreed.members}


def set_hash(frame: RoundFrame, data: bytes) -> bytes:
    """SHA-256 of the set's bytes, to tell proposals of one round apart."""
    return hashlib.sha256(frame.label("set-hash") + data).digest()


def header_hash(frame: RoundFrame, body: bytes) -> bytes:
    """SHA-256 of a header's bytes; who was told which order stays out, the header itself says it."""
    tag = label(frame.context, "header-hash", key_list=frame.participants.hash)
    return hashlib.sha256(tag + body).digest()


def header_label(frame: RoundFrame, header: UploadHeader) -> bytes:
    """The tag that a header is signed under: with the order hash that its sender was told."""
    told = frame
    if (header.round, header.order_hash) != (frame.round, frame.order_hash):
        told = RoundFrame(frame.context, frame.participants, header.round, header.order_hash)
    return told.label("header", hospital=header.hospital)


def sign_set(private: SecretBytes, frame: RoundFrame, data: bytes) -> bytes:
    """A member's signature on the bytes of the set."""
    return identity.sign(private, frame.label("agree"), data)


def verify_set_signature(
    roster: Roster, frame: RoundFrame, data: bytes, hospital: str, signature: bytes
) -> None:
    """Raise BadSignature unless the hospital signed the bytes of this set in this round."""
    public = roster.member(hospital).identity_key
    identity.verify(public, frame.label("agree"), data, signature, what="agreed set", who=hospital)


def signers_are_members(signers: Set[str], members: Mapping[str, bytes]) -> None:
    """Only members count towards the threshold; with v in U the second of two rules that either alone suffice."""
    if not signers <= members.keys():
        raise WrongStep("a hospital outside the set cannot sign it")


def check_signatures(
    signatures: Sequence[MemberSignature],
    data: bytes,
    frame: RoundFrame,
    params: SecAggParams,
    roster: Roster,
) -> None:
    """Return only if a threshold of distinct members signed this set.

    Two sets with t signatures each share an honest signer, because t > (n + T) / 2 (SPEC.md, section 9).

    Raises:
        WrongStep: a signature of a hospital that is not in the set.
        TooFewSurvivors: fewer distinct signers than the threshold.
        BadSignature: a signature does not verify.
    """
    members = member_headers(read_set(data, params))
    signers = {entry.hospital for entry in signatures}
    signers_are_members(signers, members)
    if len(signers) < params.threshold:
        raise TooFewSurvivors(params.threshold, len(signers), "open")
    for entry in signatures:
        verify_set_signature(roster, frame, data, entry.hospital, entry.signature)

"""The coordinator between a proposed set and its opening: who agreed, and in the sparse graph who signed the final set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import cast

from secagg import agreed_set, rules
from secagg.errors import WrongStep
from secagg.tables import Agreeing, Settling, Uploading
from secagg.wire import codec, flat
from secagg.wire.flat import Written
from secagg.wire.records import AgreeRequest, Deposit, SetSignature, Signed, SignRequest


@dataclass(frozen=True, slots=True)
class AgreeRequests(Mapping[str, bytes]):
    """The request to each member; made when asked for, since each holds the headers of all whose shares it is for."""

    uploading: Uploading
    members: tuple[str, ...]
    agreed_set: bytes
    _headers: dict[str, Written] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __getitem__(self, hospital: str) -> bytes:
        if hospital not in self.members:
            raise KeyError(hospital)
        inside = frozenset(self.members)
        dealers = (who for who in self.uploading.frame.participants.holders(hospital) if who in inside)
        deposits = tuple(self._deposit(dealer, hospital) for dealer in dealers)
        return codec.pack("agree_request", AgreeRequest(self.agreed_set, deposits))

    def _deposit(self, dealer: str, receiver: str) -> Deposit:
        """A dealer's header is in the requests to all who hold a share of it, and is written once."""
        upload = self.uploading.uploads[dealer]
        header, seal = self._headers.get(dealer), upload.seals.get(receiver)
        if header is None:
            header = self._headers[dealer] = flat.written(upload.signed)
        nonce, ciphertext = (seal.nonce, seal.ciphertext) if seal else (b"", b"")
        return Deposit(cast(Signed, header), nonce, ciphertext)

    def __iter__(self) -> Iterator[str]:
        return iter(self.members)

    def __len__(self) -> int:
        return len(self.members)


def missing_agreements(state: Agreeing) -> frozenset[str]:
    """Members that have not agreed to the current set."""
    return frozenset(member.hospital for member in state.proposed.members) - state.signatures.keys()


def everybody_agreed(state: Agreeing) -> None:
    """Raise WrongStep unless every member agreed to the current set."""
    missing = missing_agreements(state)
    if missing:
        raise WrongStep(f"{', '.join(sorted(missing))} did not agree yet; wait or shrink the set")


def request_signatures(state: Agreeing) -> tuple[Settling, dict[str, bytes]]:
    """Sparse graph: ask every member to sign the set that all of them agreed to; it is the final one.

    Raises:
        WrongStep: a member has not agreed to this very set, or the graph is complete.
    """
    rules.one_final_set(state.uploading.session.desk.params)
    everybody_agreed(state)
    frame = state.uploading.frame
    digest = agreed_set.set_hash(frame, state.proposed_bytes)
    message = codec.pack("sign_request", SignRequest(frame.round, digest))
    members = (member.hospital for member in state.proposed.members)
    return Settling(replace(state, signatures={})), dict.fromkeys(members, message)


def add_signature(state: Settling, hospital: str, data: bytes) -> Settling:
    """Sparse graph: take a member's signature on the final set.

    Raises:
        WireError, StaleRound, WrongStep, BadSignature: not this member's signature on this set.
    """
    agreeing = state.agreeing
    desk, frame = agreeing.uploading.session.desk, agreeing.uploading.frame
    answer = codec.unpack("set_signature", SetSignature, data, 1000)
    rules.round_is(frame, answer.round)
    members = agreed_set.member_headers(agreeing.proposed)
    if hospital not in members or answer.set_hash != agreed_set.set_hash(frame, agreeing.proposed_bytes):
        raise WrongStep("it signed a set that was not proposed to it", hospital)
    agreed_set.verify_set_signature(desk.roster, frame, agreeing.proposed_bytes, hospital, answer.signature)
    signatures = {**agreeing.signatures, hospital: answer.signature}
    return Settling(replace(agreeing, signatures=signatures))


def missing_signatures(state: Settling) -> frozenset[str]:
    """Members that have not signed the final set; a threshold of signatures is enough to go on."""
    return (
        frozenset(member.hospital for member in state.agreeing.proposed.members)
        - state.agreeing.signatures.keys()
    )

"""Everything that secure aggregation refuses, by type.

`ProtocolError.culprit` names the party whose message cannot be explained by an honest party and a lossy network. It is
None where nobody can be blamed on the evidence at hand, in particular for messages that carry no signature.
"""

from __future__ import annotations

from collections.abc import Iterable


class SecAggError(Exception):
    """Any refusal of this package."""


class ParameterError(SecAggError):
    """Parameters that the protocol's proof does not cover, or an argument of the wrong shape: our own fault."""


class RosterError(SecAggError):
    """A roster that is not well formed or that somebody did not sign."""


class WireError(SecAggError):
    """Bytes that are not a message of the schema, within its bounds."""

    def __init__(self, where: str, reason: str) -> None:
        self.where = where
        self.reason = reason
        super().__init__(f"{where}: {reason}; the sender must run the same protocol version")


class OutsideClip(SecAggError):
    """A vector has coordinates that are not finite or lie outside the clip; nothing was sent."""

    def __init__(self, count: int, clip: float) -> None:
        self.count = count
        self.clip = clip
        super().__init__(
            f"{count} coordinates are not finite or exceed the clip {clip:g}; clip the vector before encoding it"
        )


class RingOverflow(SecAggError):
    """The sum of so many vectors would not fit into the ring."""

    def __init__(self, summands: int, limit: int) -> None:
        self.summands = summands
        self.limit = limit
        super().__init__(
            f"{summands} summands exceed the {limit} that fit into the ring; use modulus_bits = 64"
        )


class ProtocolError(SecAggError):
    """A peer or the coordinator broke a rule of the protocol, or a message belongs elsewhere."""

    def __init__(self, reason: str, culprit: str | None = None) -> None:
        self.reason = reason
        self.culprit = culprit
        super().__init__(reason if culprit is None else f"{culprit}: {reason}")


class BadSignature(ProtocolError):
    """A signature does not verify under the roster's key, in this context."""

    def __init__(self, what: str, culprit: str | None = None) -> None:
        self.what = what
        super().__init__(
            f"the signature of the {what} does not verify; compare roster, study and key list with the sender",
            culprit,
        )


class KeyListError(ProtocolError):
    """A key list that must not be used: a key missing, copied, changed or not canonical, or too few hospitals."""


class StaleRound(ProtocolError):
    """A round that this hospital already started, closed or passed, or that lies too far ahead."""

    def __init__(self, asked: int, expected: str) -> None:
        self.asked = asked
        super().__init__(f"round {asked} is refused, {expected}; a retry is a new round with a higher number")


class OrderMismatch(ProtocolError):
    """Hospitals of the proposed set were given different round orders; the round must be aborted."""

    def __init__(self, hospitals: Iterable[str]) -> None:
        self.hospitals = tuple(sorted(hospitals))
        super().__init__(
            f"{', '.join(self.hospitals)} signed another round order (model or settings) than this one; abort the round"
        )


class TooFewSurvivors(ProtocolError):
    """A set, a key list or a group of openers smaller than the threshold."""

    def __init__(self, needed: int, present: int, step: str) -> None:
        self.needed = needed
        self.present = present
        self.step = step
        super().__init__(
            f"{present} hospitals at step {step}, the threshold is {needed}; abort and start a new round"
        )


class TooFewNeighbors(ProtocolError):
    """Sparse graph: fewer neighbors of a hospital than it may sign a set with."""

    def __init__(self, needed: int, present: int, hospital: str) -> None:
        self.needed = needed
        self.present = present
        self.hospital = hospital
        super().__init__(
            f"{present} neighbors of {hospital} are there, the neighbor threshold is {needed}; propose a set without it"
        )


class GraphNotDrawn(ProtocolError):
    """Sparse graph: a contribution is missing, or one too many was asked for; this session has no graph.

    Going on without it would let whoever holds it back choose between two graphs.
    """


class NotInSet(ProtocolError):
    """The proposed set leaves out the hospital that is asked to sign it."""


class HeaderChanged(ProtocolError):
    """The proposed set names another header for a hospital than the one signed or agreed to before."""


class SetGrew(ProtocolError):
    """The proposed set names hospitals that the set agreed to before did not hold."""

    def __init__(self, hospitals: Iterable[str]) -> None:
        self.hospitals = tuple(sorted(hospitals))
        super().__init__(f"the proposed set grew by {', '.join(self.hospitals)}; an agreed set only shrinks")


class BothShareKinds(SetGrew):
    """The request would reveal both the mask seed and the self-mask share of one peer."""


class BadShare(ProtocolError):
    """A share that does not open, or not to its commitment."""

    def __init__(self, dealer: str, holder: str, culprit: str | None = None) -> None:
        self.dealer = dealer
        self.holder = holder
        super().__init__(f"the share dealt by {dealer} to {holder} does not match its commitment", culprit)


class InconsistentDealer(ProtocolError):
    """Shares that all match their commitments reconstruct to a seed that does not: the dealer cheated."""

    def __init__(self, dealer: str) -> None:
        super().__init__(
            "the committed shares do not reconstruct the committed seed; abort the round", dealer
        )


class WrongStep(ProtocolError):
    """A message that does not belong to the current step, or that contradicts one sent before."""


class VectorMismatch(ProtocolError):
    """The uploaded vector is not the one whose hash the header signs."""


class CheckFailed(ProtocolError):
    """The check coordinate of the sum is not the number of summands: somebody uploaded or revealed garbage."""

    def __init__(self, expected: int, found: int) -> None:
        self.expected = expected
        self.found = found
        super().__init__(
            f"the check coordinate is {found} for {expected} hospitals; the sum is not used, abort the round"
        )


class ReceiptMismatch(ProtocolError):
    """A receipt that contradicts what this hospital took part in, or that does not chain."""

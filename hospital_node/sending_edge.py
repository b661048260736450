"""The hospital's edge: the one place through which everything passes that leaves, and where what nothing pays for stays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hospital_node.ledger_store import LedgerStore
from privacy.ledgers.release_tags import OUTGOING, UntaggedRelease, charged_release, is_noted, untagged
from privacy.studies.agreement import WEIGHT_COORDINATES, Agreement
from privacy.studies.exchange import task_at
from secagg.masks import Ring
from secagg.wire import codec
from secagg.wire.records import Signed, SpareNoise, UploadHeader, VectorChunk


@dataclass(frozen=True, slots=True, repr=False)
class TaggedVector:
    """A round's vector before it is masked.

    Attributes:
        values: (dim,) ring elements.
        event: name of the release that pays for the payload.
        spare: (layers, length) of the noise in it, where some may be taken out of the sum; kept in memory only.
    """

    values: Ring
    event: str
    spare: NDArray[np.int64] | None = None


@dataclass(frozen=True, slots=True)
class SendingEdge:
    """What may leave, by the tags and by this hospital's ledger."""

    me: str
    ledger: LedgerStore

    def check_vector(self, agreement: Agreement, round_number: int, tagged: TaggedVector) -> None:
        """Before masking: the payload is tagged with the round's event, and nothing but the declared size lies beside it.

        Raises:
            UntaggedRelease: another event's tag, or numbers outside the task's coordinates.
        """
        task = task_at(agreement, round_number)
        what = f"the vector of round {round_number}"
        if tagged.event != task.name:
            raise UntaggedRelease(what, f"its tag names {tagged.event!r}, and the round is for {task.name!r}")
        beside = tagged.values[task.length : -WEIGHT_COORDINATES]
        if np.any(beside):
            raise UntaggedRelease(what, f"it holds numbers beside the {task.length} that are paid for")
        declared = agreement.study.n_public[self.me]
        if int(tagged.values[-WEIGHT_COORDINATES]) != declared:
            raise UntaggedRelease(what, "its weight is not the declared size")

    def let_out(self, agreement: Agreement | None, message: bytes) -> bytes:
        """The message, if every field of it is tagged and the ledger holds the charge that a paid one needs.

        Raises:
            UntaggedRelease: a kind or field without a tag, or a paid number of a round that was not marked as spent.
            WireError: no message of the schema.
        """
        kind = codec.kind_of(message)
        if missing := untagged(kind):
            raise UntaggedRelease(
                f"a message of kind {kind}",
                f"{', '.join(missing)} has no tag: neither paid nor declared public",
            )
        self.ledger.settle()
        if OUTGOING[kind].needs_event:
            self._check_event(agreement, kind, _round_of(kind, message))
        return message

    def _check_event(self, agreement: Agreement | None, kind: str, round_number: int) -> None:
        what = f"the {kind.replace('_', ' ')} of round {round_number}"
        if agreement is None:
            raise UntaggedRelease(what, "no study was accepted that could pay for it")
        entries = self.ledger.entries()
        if agreement.plan is None:
            if not is_noted(entries, agreement.hash, round_number):
                raise UntaggedRelease(what, "the ledger does not say that it leaves without noise")
            return
        event = charged_release(entries, agreement.hash, round_number)
        if event != task_at(agreement, round_number).name:
            raise UntaggedRelease(what, "the ledger holds no spent charge for its event")


def _round_of(kind: str, message: bytes) -> int:
    if kind == "vector_chunk":
        return codec.unpack_views(kind, VectorChunk, message).round
    if kind == "spare_noise":
        return codec.unpack_views(kind, SpareNoise, message).round
    return codec.decode(UploadHeader, codec.unpack(kind, Signed, message).body).round

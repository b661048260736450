"""The hospital's side of a study: one message in, the replies out, and on disk before they leave.

The same object serves the gRPC link, the in-process simulation and the tests. It decides nothing twice: a request that was answered gets the
same bytes again, and whatever the coordinator says, the agreement is the one that this hospital derived for itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hospital_node.graph_messages import settle, take_seed
from hospital_node.node_words import STAYS, Declined, NodeEvent, asked_round, blamed, kind_of, wire_reason
from hospital_node.participant import Participant
from hospital_node.round_messages import (
    agree,
    check_upload,
    open_shares,
    take_abort,
    take_receipt,
    train_and_upload,
)
from hospital_node.round_work import RoundRefused
from hospital_node.sending_edge import SendingEdge
from hospital_node.study_messages import end_study, export_ledger, open_session, take_keys, take_offer
from hospital_node.upload_files import UploadLost
from privacy.ledgers.ledger import LedgerBroken
from privacy.ledgers.policy_refusal import PolicyRefusal
from privacy.ledgers.release_tags import UntaggedRelease
from privacy.studies.exchange import ExchangeError
from secagg.errors import SecAggError, WireError
from secagg.params import MAX_HOSPITALS, PROTOCOL_VERSION
from secagg.wire import codec
from secagg.wire.records import Abort, Hello, LedgerExportRequest

# The longest key list that any arrow takes; no longer one is kept in memory.
KEY_LIST_BYTES = 1000 * MAX_HOSPITALS + 200


@dataclass(slots=True)
class Node(Participant):
    """One hospital in one study at a time."""

    def on_connect(self) -> Iterator[bytes]:
        """The first message on a fresh link: who speaks and where its state stands."""
        study_hash = b"" if self.admitted is None else bytes.fromhex(self.admitted.agreement.hash)
        yield self._let_out(codec.pack("hello", Hello(PROTOCOL_VERSION, self.me, study_hash, b"", 0)))

    def on_message(self, message: bytes) -> Iterator[bytes]:
        """The replies to one message of the coordinator, each past the edge.

        Whatever is wrong with the message becomes an abort with the reason; the node itself goes on.
        """
        try:
            for reply in self._replies(message):
                yield self._let_out(reply)
        except UntaggedRelease as error:
            round_number = asked_round(message)
            self.report(NodeEvent("refused", f"refused to send: {error}", round_number))
            yield self._let_out(codec.pack("abort", Abort(round_number, STAYS, "")))

    def _let_out(self, message: bytes) -> bytes:
        """The only way out of this hospital."""
        agreement = None if self.admitted is None else self.admitted.agreement
        return SendingEdge(self.me, self.ledger).let_out(agreement, message)

    def _replies(self, message: bytes) -> Iterator[bytes]:
        try:
            kind = codec.kind_of(message)
            if kind == "key_list" and len(message) <= KEY_LIST_BYTES:
                self.listed = message
            stored = self._answered_before(message)
            if stored is not None:
                if kind == "round_order":
                    check_upload(self, stored)
                yield from stored
                return
            match kind:
                case "study_offer":
                    yield from take_offer(self, codec.expect(kind, message))
                case "session_start":
                    yield from open_session(self, codec.expect(kind, message), message)
                case "key_list":
                    yield from take_keys(self, message)
                case "graph_seed":
                    take_seed(self, message)
                case "round_order":
                    yield from train_and_upload(self, message)
                case "agree_request":
                    yield from agree(self, message)
                case "sign_request":
                    yield from settle(self, message)
                case "open_request":
                    yield from open_shares(self, message)
                case "receipt":
                    take_receipt(self, message)
                case "abort":
                    take_abort(self, codec.expect(kind, message))
                case "ledger_export_request":
                    yield from export_ledger(self, codec.unpack(kind, LedgerExportRequest, message))
                case "study_end":
                    end_study(self, codec.expect(kind, message))
                case _:
                    raise WireError(kind, "a hospital does not take this kind of message")
        except (
            SecAggError,
            ExchangeError,
            RoundRefused,
            PolicyRefusal,
            LedgerBroken,
            Declined,
            UploadLost,
        ) as error:
            round_number = asked_round(message)
            self.report(NodeEvent("refused", f"refused {kind_of(message)}: {error}", round_number))
            yield codec.pack("abort", Abort(round_number, wire_reason(error)[:500], blamed(error)))

    def _answered_before(self, message: bytes) -> tuple[bytes, ...] | None:
        if self.admitted is None:
            return None
        return self.journal.replies(bytes.fromhex(self.admitted.agreement.hash), message)

"""What receipts whose signatures hold prove of the rounds: who was in which sum, and whether the chain is whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from privacy.assessment.evidence import Evidence, RoundRecord
from privacy.studies.agreement import Agreement
from privacy.studies.exchange import ExchangeError, removed_in
from secagg.errors import SecAggError
from secagg.fixed_point import from_ring
from secagg.params import SecAggParams
from secagg.receipt import ReceiptRef, VerifiedReceipt, audit_receipt
from secagg.roster import SignedRoster


@dataclass(frozen=True, slots=True)
class RoundFacts:
    """One round: the coordinator's record beside its receipt.

    Attributes:
        problem: "" when the receipt verifies and says what the record says, or the round was aborted.
        receipt: without its sum, which is as long as the model and is read again where it is asked for.
        has_sum: whether the receipt carries its sum.
    """

    record: RoundRecord
    problem: str
    receipt: VerifiedReceipt | None = None
    has_sum: bool = False


def read_rounds(
    evidence: Evidence, agreement: Agreement | None, signed: SignedRoster | None
) -> tuple[RoundFacts, ...]:
    found: list[RoundFacts] = []
    previous: ReceiptRef | None = ReceiptRef()
    for record in evidence.rounds or ():
        facts = _round(evidence, record, agreement, signed, previous)
        if record.status == "done":
            # Behind a missing receipt the chain cannot be followed: that is a gap, named as such, no contradiction.
            previous = facts.receipt.ref if facts.receipt is not None else None
        found.append(facts)
    return tuple(found)


def _round(
    evidence: Evidence,
    record: RoundRecord,
    agreement: Agreement | None,
    signed: SignedRoster | None,
    previous: ReceiptRef | None,
) -> RoundFacts:
    data = evidence.receipt(record.round)
    if record.status == "aborted":
        return RoundFacts(record, "an aborted round has a receipt" if data is not None else "")
    if data is None:
        return RoundFacts(record, "missing")
    if agreement is None or signed is None:
        return RoundFacts(record, "cannot be checked without agreement and roster")
    try:
        receipt = audit_receipt(data, bytes.fromhex(agreement.hash), signed.roster, parameters(agreement))
    except SecAggError as error:
        return RoundFacts(record, str(error))
    problem = _difference(record, receipt, previous, agreement)
    return RoundFacts(record, problem, replace(receipt, sum=b""), len(receipt.sum) > 0)


def parameters(agreement: Agreement) -> SecAggParams:
    """The agreement's numbers as secagg checks them."""
    return agreement.secagg


def _difference(
    record: RoundRecord, receipt: VerifiedReceipt, previous: ReceiptRef | None, agreement: Agreement
) -> str:
    """What the coordinator wrote down that its own receipt does not bear out; "" where both agree."""
    body = receipt.body
    missing = {(gone.hospital, gone.step) for gone in body.missing}
    pairs = (
        (body.round == record.round, "the receipt is of another round"),
        (body.order_hash.hex() == record.order_hash, "the receipt names another order"),
        (
            tuple(sorted(receipt.members)) == tuple(sorted(record.answered)),
            "the receipt names another cohort",
        ),
        (
            {(gone.hospital, gone.step) for gone in record.missing} == missing,
            "the receipt names others as missing",
        ),
        (
            set(record.noise_removed) <= set(record.answered)
            and _told_of_noise(receipt, agreement) in (None, len(record.noise_removed)),
            "the signed sum counts other hospitals whose spare noise is out",
        ),
        (record.threshold == agreement.threshold, "the threshold is not the agreed one"),
        (
            previous is None
            or (body.previous_round, body.previous_receipt) == (previous.round, previous.hash),
            "the receipt does not follow the one before: a receipt is missing or the chain was cut",
        ),
    )
    return "; ".join(problem for holds, problem in pairs if not holds)


def _told_of_noise(receipt: VerifiedReceipt, agreement: Agreement) -> int | None:
    """Of how many hospitals the signed sum says that spare noise is out, 0 in studies without; None where the receipt came without its sum."""
    if not receipt.sum:
        return None
    ring = np.dtype("<u4") if agreement.modulus_bits == 32 else np.dtype("<u8")
    total = from_ring(np.frombuffer(receipt.sum, dtype=ring), agreement.modulus_bits)
    try:
        return removed_in(agreement, total, receipt.members)
    except ExchangeError:
        return -1


def stray_receipts(evidence: Evidence) -> tuple[str, ...]:
    """Receipts of rounds that ``rounds.jsonl`` does not list: somebody left a round out."""
    listed = {f"evidence/receipts/{record.round}.bin" for record in evidence.rounds or ()}
    return tuple(
        sorted(
            path for path in evidence.files if path.startswith("evidence/receipts/") and path not in listed
        )
    )


def participation(hospitals: Sequence[str], rounds: Sequence[RoundFacts]) -> tuple[int, tuple[str, ...]]:
    """Rank of the matrix rounds x hospitals, and the hospitals that a solver could isolate.

    A hospital is isolable when its unit vector lies in the row space: then some combination of published sums is its
    own contribution, if the model stood still (So et al. 2021, arXiv 2106.03328).
    """
    rows = [
        [float(hospital in facts.record.answered) for hospital in hospitals]
        for facts in rounds
        if facts.record.status == "done"
    ]
    if not rows or not hospitals:
        return 0, ()
    matrix = np.unique(np.array(rows), axis=0)
    rank = int(np.linalg.matrix_rank(matrix))
    isolable = tuple(
        hospital
        for hospital, unit in zip(hospitals, np.eye(len(hospitals)), strict=True)
        if int(np.linalg.matrix_rank(np.vstack([matrix, unit]))) == rank
    )
    return rank, isolable

"""What one round came to, and what is remembered of it once the next one begins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from coordinator.gather import Silence
from secagg.receipt import without_sum


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one round came to.

    Attributes:
        round: its number.
        order_hash: SHA-256 of the order's bytes.
        status: "done" or "aborted".
        answered: hospitals whose vectors are in the sum, sorted; of an aborted round those that had uploaded.
        missing: hospitals of the roster that were not there, with the step and the reason; of a finished round exactly those of its receipt.
        total: the ring integers of the sum, signed, (dim,) int64; None when aborted, or when only the state holds it any more.
        receipt: the signed receipt as sent, later perhaps without its sum; None when aborted.
        reason, culprit: why it was aborted.
        seconds: wall time from order to receipt.
        noise_removed: hospitals in the sum whose spare noise was taken out of it.
        at_fault: of an aborted round, whose own messages the coordinator found wrong, with the reason. Whom only others accuse is not in it.
    """

    round: int
    order_hash: bytes
    status: Literal["done", "aborted"]
    answered: tuple[str, ...]
    missing: tuple[Silence, ...]
    total: NDArray[np.int64] | None
    receipt: bytes | None
    reason: str
    culprit: str
    seconds: float
    at_fault: Mapping[str, str] = field(default_factory=dict)
    noise_removed: tuple[str, ...] = ()


def remembered(outcome: Outcome, long_bytes: int) -> Outcome:
    """The outcome of a round before the latest: a receipt of so many bytes, and its sum, are in the state, and a study would come to hold them all."""
    if outcome.receipt is None or len(outcome.receipt) < long_bytes:
        return outcome
    return replace(outcome, total=None, receipt=without_sum(outcome.receipt))

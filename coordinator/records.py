"""What a round leaves behind, as canonical JSON, and back again after a restart."""

from __future__ import annotations

from datetime import datetime

import numpy as np

from coordinator.gather import Silence
from coordinator.outcome import Outcome
from coordinator.state import StoredRound
from privacy.link.canonical import canonical, parse_canonical

NO_ORDER_HASH = bytes(32)


def round_record(outcome: Outcome, task: str, threshold: int, finished: datetime) -> bytes:
    """One line of the bundle's rounds.jsonl."""
    return canonical(
        {
            "round": outcome.round,
            "task": task,
            "status": outcome.status,
            "reason": outcome.reason,
            "order_hash": outcome.order_hash.hex(),
            "answered": list(outcome.answered),
            "noise_removed": list(outcome.noise_removed),
            "missing": [{"hospital": s.hospital, "step": s.step} for s in outcome.missing],
            "threshold": threshold,
            "seconds": round(outcome.seconds, 3),
            "finished_at": finished.isoformat(timespec="seconds"),
        }
    )


def outcome_of(stored: StoredRound) -> Outcome:
    """A finished or aborted round as it was, from the coordinator's own state."""
    match parse_canonical(stored.record):
        case {
            "status": "done" | "aborted" as status,
            "reason": str(reason),
            "order_hash": str(order_hash),
            "answered": list(answered),
            "noise_removed": list(removed),
            "missing": list(missing),
            "seconds": int() | float() as seconds,
        }:
            total = (
                None
                if stored.total is None
                else np.frombuffer(stored.total, dtype="<i8").astype(np.int64, copy=False)
            )
            silent = tuple(
                Silence(entry["hospital"], entry["step"], "stored", "it was silent before the restart")
                for entry in missing
                if isinstance(entry, dict)
            )
            return Outcome(
                stored.round,
                bytes.fromhex(order_hash),
                status,
                tuple(str(hospital) for hospital in answered),
                silent,
                total,
                stored.receipt,
                reason,
                stored.culprit,
                float(seconds),
                noise_removed=tuple(str(hospital) for hospital in removed),
            )
    raise ValueError(
        f"round {stored.round} in the coordinator's state is damaged; restore the state from its backup"
    )


def interrupted(round_number: int) -> Outcome:
    """A round that was ordered and never finished, because the coordinator's process ended."""
    reason = "the coordinator was restarted while the round was under way; what was uploaded stays charged"
    return Outcome(round_number, NO_ORDER_HASH, "aborted", (), (), None, None, reason, "", 0.0)

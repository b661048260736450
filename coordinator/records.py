"""What a round leaves behind, as canonical JSON."""

from __future__ import annotations

from datetime import datetime

from coordinator.rounds import Outcome
from privacy.canonical import canonical


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
            "missing": [{"hospital": s.hospital, "step": s.step} for s in outcome.missing],
            "threshold": threshold,
            "seconds": round(outcome.seconds, 3),
            "finished_at": finished.isoformat(timespec="seconds"),
        }
    )

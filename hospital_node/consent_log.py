"""What the consent register answered before each round: records that never leave, each one named in the ledger by its hash.

The ledger is handed to the coordinator, and a line in it that says "somebody withdrew" would be a release about one patient
that nothing pays for. So the ledger gets one line before every round, whatever the register said: the hash of a record with
random salt. The record itself, with the affected rounds and the action, stays here and can be shown to an auditor against that hash.
An order that comes again (the operator declined it, the process died) is asked about again and gets no second line, or the ledger could be made to
grow without end; each record names the one before it, so that the next line's hash stands for those records too.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hospital_node.entropy import Entropy
from privacy.ledgers.ledger import Entry
from privacy.link.canonical import canonical, sha256_hex

SALT_BYTES = 32
ACTION = "stop: nothing of them is used from this round on; sums already formed and models already released stay, budget is not refunded"
# Where the rounds live on a private synthetic table.
ACTION_PRIVATE = (
    "stay: the synthetic table was released, within its (epsilon, delta) for each of them, when it was drawn; it is used on, and no real row "
    "is; sums already formed and models already released stay, budget is not refunded"
)


@dataclass(frozen=True, slots=True)
class ConsentLog:
    """One folder a study.

    Attributes:
        folder: of all studies; made where it does not exist.
        study_hash, study_id: of the study.
    """

    folder: Path
    study_hash: str
    study_id: str

    def taking_part(self) -> tuple[str, ...] | None:
        """Pseudonyms that took part in the latest round that was computed, also before a restart; None before the first."""
        held = _participants(self._own / "participants.json")
        return None if held is None else tuple(held["now"])

    def record(
        self,
        round_number: int,
        now: Sequence[str],
        left: Sequence[str],
        problem: str,
        entries: Sequence[Entry],
        entropy: Entropy,
        is_former: bool,
        action: str = ACTION,
    ) -> str:
        """Keeps what was decided before a round; returns the ledger's line, the same form whatever was decided.

        Args:
            round_number: the round that is about to be computed.
            now: pseudonyms that take part.
            left: those who took part before and are not permitted any more.
            problem: why the register could not be asked; "" where it could.
            entries: the whole ledger.
            entropy: of the salt.
            is_former: somebody left, so what was kept before this round is about a former set of patients.
            action: what follows for those who left.
        """
        spent = [entry.record for entry in entries if entry.kind == "SPENT" and entry.record.round > 0]
        affected = sorted({r.round for r in spent if r.study_hash == self.study_hash})
        earlier = sorted({r.study_id for r in spent if r.study_hash != self.study_hash})
        held = _participants(self._own / "participants.json") or {"ever": [], "former_before": [], "last": []}
        body = {
            "salt": entropy.random_bytes(SALT_BYTES).hex(),
            "study_id": self.study_id,
            "round": round_number,
            "before": "".join(held["last"]),
            "problem": problem,
            "withdrawn": sorted(left),
            "affected_rounds": affected if left else [],
            "earlier_studies": earlier if left else [],
            "action": action if left else "",
        }
        digest = sha256_hex(canonical(body))
        self._own.mkdir(parents=True, exist_ok=True, mode=0o700)
        (self._own / f"{digest}.json").write_bytes(canonical(body))
        ever = sorted({*now, *held["ever"]})
        former = [str(round_number)] if is_former else held["former_before"]
        self._keep(
            {
                "study_id": [self.study_id],
                "now": list(now),
                "ever": ever,
                "former_before": former,
                "last": [digest],
            }
        )
        return f"{_asked(round_number)}{digest} stays here"

    def is_noted(self, entries: Sequence[Entry], session: str, round_number: int) -> bool:
        """Whether the ledger has its line for this round of this session."""
        return any(
            (e.record.study_hash, e.record.session) == (self.study_hash, session)
            and e.record.note.startswith(_asked(round_number))
            for e in entries
            if e.kind == "NOTE"
        )

    def former_before(self) -> int:
        """What is kept of the rounds before this one is about a former set of patients; 0 for nothing."""
        held = _participants(self._own / "participants.json")
        return int(held["former_before"][0]) if held is not None and held["former_before"] else 0

    def forgotten(self) -> None:
        """It was deleted."""
        held = _participants(self._own / "participants.json")
        if held is not None:
            self._keep(held | {"former_before": []})

    def _keep(self, kept: dict[str, list[str]]) -> None:
        draft = self._own / "participants.draft"
        draft.write_text(json.dumps(kept), encoding="utf-8")
        draft.replace(self._own / "participants.json")

    @property
    def _own(self) -> Path:
        return self.folder / self.study_hash


def affected_studies(folder: Path, pseudonym: str) -> tuple[str, ...]:
    """Ids of the studies in which a patient ever took part, running or finished."""
    found = set()
    for path in folder.glob("*/participants.json"):
        held = _participants(path)
        if held is not None and pseudonym in held["ever"]:
            found.update(held["study_id"])
    return tuple(sorted(found))


def _participants(path: Path) -> dict[str, list[str]] | None:
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    keys = ("study_id", "now", "ever")
    if not isinstance(held, dict) or not all(isinstance(held.get(key), list) for key in keys):
        return None
    for key in ("former_before", "last"):
        held.setdefault(key, [])
    return held


def _asked(round_number: int) -> str:
    return f"consent: the register was asked before round {round_number}; record "

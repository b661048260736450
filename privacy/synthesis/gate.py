"""What a hospital's ledger says about the quality gate of its synthetic table: the setting, written before anybody looked.

Whether the table passed is no one's business outside: the line is the same whatever the patients are like.
"""

from collections.abc import Iterable, Sequence

from privacy.guarantees.stage_release import StageRelease
from privacy.ledgers.ledger import Entry
from privacy.ledgers.policy_file import SyntheticGate

_NOTE = "synthetic_gate = '{gate}': decided before this study's synthetic table was drawn"


def gate_note(gate: SyntheticGate) -> str:
    """The ledger's line."""
    return _NOTE.format(gate=gate)


def gate_of(entries: Iterable[Entry], study_hash: str) -> SyntheticGate | None:
    """The setting under which a study's table was drawn; None where the ledger has no such line."""
    settings: tuple[SyntheticGate, ...] = ("measure", "stop")
    lines = {gate_note(gate): gate for gate in settings}
    for entry in entries:
        if entry.kind == "NOTE" and entry.record.study_hash == study_hash and entry.record.note in lines:
            return lines[entry.record.note]
    return None


def decided_before(entries: Sequence[Entry], study_hash: str, stage: StageRelease | None) -> bool:
    """Whether the study's setting stood in the ledger before its table was drawn, or before anything of the study was released.

    A table that another study drew is known when this one comes: then that study's setting, written before its own drawing, must be the same.

    Args:
        entries: of the whole ledger, in order.
        study_hash: of the study.
        stage: of its plan.
    """
    first = _first_release(entries, study_hash)
    before = entries[:first]
    if gate_of(before, study_hash) is None:
        return False
    own = any(e.record.study_hash == study_hash and e.record.release == stage for e in entries)
    earlier = [e.record.study_hash for e in before if e.kind == "RESERVE" and e.record.release == stage]
    if stage is None or own or not earlier:
        return True
    drawer = earlier[-1]
    theirs = gate_of(entries[: _first_release(entries, drawer)], drawer)
    return theirs == gate_of(before, study_hash)


def _first_release(entries: Sequence[Entry], study_hash: str) -> int:
    """Position of the first entry that charges a study or notes a round of it; the ledger's length where there is none."""
    return next(
        (
            position
            for position, entry in enumerate(entries)
            if entry.record.study_hash == study_hash
            and (entry.kind == "RESERVE" or (entry.kind == "NOTE" and entry.record.round > 0))
        ),
        len(entries),
    )

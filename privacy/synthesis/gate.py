"""What a hospital's ledger says about the quality gate of its synthetic table: the setting, written before anybody looked.

Whether the table passed is no one's business outside: the line is the same whatever the patients are like.
"""

from collections.abc import Iterable

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

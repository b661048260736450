"""Studies that live on what an earlier study drew: the ledger's line about it, and what it adds to a study read alone."""

from collections.abc import Sequence

from privacy.guarantees.plan import stages
from privacy.guarantees.stage_release import StageRelease
from privacy.ledgers.charges import charged
from privacy.ledgers.ledger import Entry
from privacy.link.canonical import canonical, sha256_hex
from privacy.synthesis.charges import SynthesisRelease

_NOTE = "stage: what this study uses was drawn and charged before, release {digest}"


def reuse_note(release: StageRelease) -> str:
    """The ledger's line of a study whose stage another one paid for."""
    return _NOTE.format(digest=sha256_hex(canonical(release.to_json())))


def reused(entries: Sequence[Entry], study_hash: str) -> tuple[StageRelease, ...]:
    """The drawings of other studies that a study says it uses.

    Args:
        entries: of the ledger; drawings are looked for among all of them.
        study_hash: of the study.
    """
    lines = {e.record.note for e in entries if e.kind == "NOTE" and e.record.study_hash == study_hash}
    if not any(line.startswith(_NOTE.partition("{")[0]) for line in lines):
        return ()
    everything = charged(entries)
    drawings = (*stages(everything), *(c for c in everything if isinstance(c, SynthesisRelease)))
    return tuple(dict.fromkeys(d for d in drawings if reuse_note(d) in lines))

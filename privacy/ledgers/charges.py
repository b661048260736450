"""What the entries of a ledger add up to: which releases count, which study is closed, and the guarantee of everything together."""

from collections.abc import Iterable, Sequence

from privacy.guarantees.guarantee import Guarantee
from privacy.guarantees.plan import Charge
from privacy.guarantees.stage_release import StageRelease
from privacy.ledgers.ledger import Entry, fold

EVERYTHING = "everything this hospital ever released"


def is_closed(entries: Iterable[Entry], study_hash: str) -> bool:
    """Whether nothing more of this study can be released."""
    return any(entry.kind == "CLOSE" and entry.record.study_hash == study_hash for entry in entries)


def highest_round(entries: Iterable[Entry], study_hash: str) -> int:
    """The highest round of a study that was ever reserved, or noted in mode none; 0 where there is none."""
    return max((entry.record.round for entry in entries if entry.record.study_hash == study_hash), default=0)


def charged(entries: Iterable[Entry]) -> tuple[Charge, ...]:
    """Every release that counts: of each (study, session, round) ever reserved, spent or not, once."""
    return tuple(state.release for state in fold(entries).values())


def drawn(entries: Iterable[Entry], stage: StageRelease) -> bool:
    """Whether this stage's release was made already: equal ones are drawn once for all studies of a ledger."""
    return any(state.kind == "SPENT" and state.release == stage for state in fold(entries).values())


def charged_to(entries: Sequence[Entry], study_hash: str, stage: StageRelease | None) -> tuple[Charge, ...]:
    """What one study cost: its own charges, and its stage's release, whoever paid for it.

    An earlier study may have; and a ledger that keeps quiet about a drawing behind which it charged rounds gets no lower number for it.

    Args:
        entries: the whole ledger.
        study_hash: of the study.
        stage: of its plan.
    """
    own = charged(entry for entry in entries if entry.record.study_hash == study_hash)
    if stage is None or stage in own or not own:
        return own
    return (stage, *own)


def without_noise(entries: Iterable[Entry]) -> tuple[str, ...]:
    """Ids of the studies that released exact sums (mode none), in their order: they are noted by round and never charged."""
    noted = (e.record.study_id for e in entries if e.kind == "NOTE" and e.record.round > 0)
    return tuple(dict.fromkeys(noted))


def cumulative(entries: Sequence[Entry], delta: float, further: Sequence[Charge] = ()) -> Guarantee:
    """Guarantee of everything that these entries released, and of what would be released further, at `delta`.

    Exact sums have no price, so with one among them there is no number for the whole.
    """
    # Imported here: reading and checking a chain must not wait a second for the accounting library.
    from privacy.guarantees.accounting import spent

    if exact := without_noise(entries):
        return Guarantee.none(
            f"{', '.join(exact)}: sums were released without noise (mode none)", view=EVERYTHING
        )
    return spent((*charged(entries), *further), delta, view=EVERYTHING)

"""The ledger in lines for people."""

from collections.abc import Iterator, Sequence

from privacy.guarantees.guarantee import Guarantee, rounded_up
from privacy.guarantees.plan import Charge, Release
from privacy.guarantees.stage_release import LevelRelease, ThresholdRelease
from privacy.ledgers.ledger import Entry
from privacy.ledgers.ledger_overview import Overview
from privacy.synthesis.charges import DerivedRelease, SynthesisRelease


def page(entries: Sequence[Entry], shown: Overview, delta: float) -> Iterator[str]:
    """Entries, studies, totals and what one more study would cost."""
    for entry in entries:
        record = entry.record
        what = record.note if record.release is None else charge_text(record.release)
        yield f"{entry.seq:5} {record.time_iso} {record.kind:7} {record.study_id} round {record.round}: {what}"
    if shown.epoch:
        yield f"data epoch {shown.epoch}; all epochs together: {_figure(shown.ever)}"
    if shown.studies:
        yield f"studies, epsilon of each alone and of all up to it (delta {delta:g}, per patient, add/remove):"
    for line in shown.studies:
        aborted = f", {line.aborted} of them aborted" if line.aborted else ""
        without = f", {line.without_noise} without noise" if line.without_noise else ""
        state = "closed" if line.closed else "open"
        yield (
            f"  {line.study_id} ({line.study_hash[:12]}, {state}, from {line.first_iso[:10]}): {line.charged} charged rounds{aborted}{without}; "
            f"alone {_figure(line.alone)}, up to it {_figure(line.cumulative)}"
        )
    if shown.total.epsilon is None:
        yield f"all studies together: no formal guarantee. {shown.total.reason}"
        return
    yield (
        f"all studies together: epsilon {rounded_up(shown.total.number(), 3)} at delta {delta:g} per patient (add/remove); "
        f"limit {shown.limit:g}"
    )
    if shown.added is not None and len(shown.studies) > 1:
        yield (
            "  that holds if no study was chosen by another's results; the filter that admits later studies, which holds "
            f"in any case, counts {rounded_up(shown.filter_epsilon, 3)}; adding the studies' epsilons would say {rounded_up(shown.added, 3)}"
        )
    if shown.curve:
        points = ", ".join(f"{rounded_up(epsilon, 3)} at {at:.0e}" for at, epsilon in shown.curve)
        yield f"  epsilon at other deltas: {points}"
    if shown.one_more is not None:
        more = shown.one_more
        answer = "would be admitted" if more.fits else "would be refused"
        yield f"  one more like {more.like}: {_figure(more.after)} together, {rounded_up(more.filter_epsilon, 3)} by the filter: {answer}"


def charge_text(charge: Charge) -> str:
    """One charge in words."""
    match charge:
        case Release():
            return f"{charge.name}, {charge.steps} steps"
        case ThresholdRelease():
            return (
                f"{charge.name}, k {charge.k}, epsilon {charge.epsilon:g} and delta {charge.delta:g} on top"
            )
        case LevelRelease():
            return f"{charge.name}, k {charge.k}, epsilon {charge.epsilon:g} on top"
        case SynthesisRelease():
            return f"{charge.name}, epsilon {charge.epsilon:g} at delta {charge.delta:g} for the table and all that is made of it"
        case DerivedRelease():
            return f"{charge.name}, made of the synthetic table, costs nothing more"
        case _:
            return f"{charge.name}, without guarantee"


def _figure(guarantee: Guarantee) -> str:
    return "no guarantee" if guarantee.epsilon is None else rounded_up(guarantee.epsilon, 3)

"""Who is asked in a round, and by which step and reason the others are named in its result."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from coordinator.gather import Gatherer, Silence
from coordinator.join import StudyFailed
from privacy.studies.agreement import Agreement


def left_out(number: int, shown: Mapping[str, str], members: frozenset[str]) -> dict[str, Silence]:
    """Members that are `shown` to have made the round before fail, with the reason, and are not asked in this one."""
    return {
        h: Silence(
            h, "upload", "left_out", f"it is left out, since round {number - 1} failed by it: {why}", h
        )
        for h, why in shown.items()
        if h in members
    }


def absent(
    present: frozenset[str], members: frozenset[str], refused: Iterable[Silence]
) -> dict[str, Silence]:
    """Who is not asked, by the steps of receipts: outside the session, or not connected."""
    outside = {s.hospital: replace(s, step="advertise") for s in refused}
    cut = {
        h: Silence(h, "upload", "lost", "it was not connected when the round began")
        for h in members - present
    }
    return outside | cut


def needs_quorum(
    agreement: Agreement,
    gatherer: Gatherer,
    number: int,
    members: frozenset[str],
    before_waiting: Callable[[], None],
) -> None:
    """A round that cannot reach its threshold is not begun: it would cost budget and give nothing.

    Raises:
        StudyFailed: too few of the members are connected, and the deadline passed.
    """
    quorum = max(agreement.threshold, agreement.study.minimum_answers)
    if not gatherer.await_quorum(members, quorum, before_waiting):
        present = sorted(members & gatherer.link.connected())
        gone = sorted(set(agreement.study.hospitals) - set(present))
        raise StudyFailed(
            f"round {number} was not begun: {len(present)} hospitals are connected, {quorum} must answer; "
            f"missing: {', '.join(gone)}"
        )

"""The two ends of a study: offering it to the hospitals, and asking for their ledgers."""

from __future__ import annotations

from collections.abc import Callable

from coordinator.gather import Gatherer, Silence
from coordinator.outcome import Outcome
from coordinator.progress import Progress
from privacy.studies.agreement import Agreement
from secagg.roster import Roster
from secagg.wire import codec
from secagg.wire.records import Hello, LedgerExport, LedgerExportRequest, StudyAnswer, StudyOffer

# Hospitals start and read their data while the coordinator waits: never less than this, whatever a step's deadline is.
JOIN_PATIENCE_S = 120.0


class StudyFailed(Exception):
    """The study ends without a model; one sentence says why. Exit code 3: a peer or the network."""

    exit_code = 3

    def __init__(self, reason: str, refused: tuple[Silence, ...] = ()) -> None:
        super().__init__(reason)
        self.refused = refused
        self.accepted: tuple[str, ...] = ()
        self.outcomes: tuple[Outcome, ...] = ()
        self.ledgers: dict[str, bytes] = {}


def offer_study(
    gatherer: Gatherer,
    agreement: Agreement,
    roster: Roster,
    report: Callable[[Progress], None],
    needed: int | None = None,
) -> tuple[frozenset[str], tuple[Silence, ...]]:
    """Waits for every hospital of the study, shows it the agreement and takes its answer.

    Args:
        needed: how many must accept; the study's `minimum_answers` where it is not given.

    Returns:
        Who accepted, and who did not with the reason.

    Raises:
        StudyFailed: fewer accepted.
    """
    everybody = frozenset(agreement.study.hospitals)
    offer = codec.pack("study_offer", StudyOffer(agreement.to_bytes(), roster.canonical))
    study_hash = bytes.fromhex(agreement.hash)
    for hospital in sorted(everybody):
        gatherer.remember(hospital, offer)
    accepted: set[str] = set()
    refused: dict[str, Silence] = {}

    def take(hospital: str, kind: str, message: bytes) -> bool:
        if kind == "hello":
            codec.unpack("hello", Hello, message)
            return False
        if kind != "study_answer":
            return False
        answer = codec.unpack("study_answer", StudyAnswer, message)
        if answer.study_hash != study_hash:
            return False
        if answer.accepted:
            accepted.add(hospital)
            report(Progress("accepted", f"{hospital} accepts the study", hospital=hospital))
        else:
            refused[hospital] = Silence(hospital, "study", "refused", answer.reason)
            report(Progress("refused", f"{hospital} refuses the study: {answer.reason}", hospital=hospital))
        return True

    patience_s = max(gatherer.deadline_s, JOIN_PATIENCE_S)
    report(Progress("waiting", f"waiting for {', '.join(sorted(everybody))}, at most {patience_s:g} s"))
    silent = gatherer.gather("study", everybody, take, grace_s=patience_s, deadline_s=patience_s)
    refused |= silent
    for hospital in sorted(everybody):
        gatherer.greet(hospital, offer)
    minimum = agreement.study.minimum_answers if needed is None else needed
    if len(accepted) < minimum:
        reasons = "; ".join(
            f"{s.hospital}: {s.reason}" for s in sorted(refused.values(), key=lambda s: s.hospital)
        )
        raise StudyFailed(
            f"{len(accepted)} of {len(everybody)} hospitals accepted, the study needs {minimum} ({reasons})",
            tuple(refused[h] for h in sorted(refused)),
        )
    return frozenset(accepted), tuple(refused[h] for h in sorted(refused))


def collect_ledgers(gatherer: Gatherer, study_hash: bytes, members: frozenset[str]) -> dict[str, bytes]:
    """The signed ledger exports of the hospitals that are still connected; the others have none in the evidence."""
    ledgers: dict[str, bytes] = {}
    present = members & gatherer.link.connected()
    for hospital in sorted(present):
        gatherer.ask(hospital, codec.pack("ledger_export_request", LedgerExportRequest(study_hash)))

    def take(hospital: str, kind: str, message: bytes) -> bool:
        if kind == "ledger_export":
            ledgers[hospital] = codec.unpack("ledger_export", LedgerExport, message).jsonl
        return kind == "ledger_export"

    gatherer.gather("ledger", present, take)
    return ledgers

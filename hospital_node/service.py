"""Runs one hospital: its node behind the link, until the study is over or the operator stops it."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hospital_node import enrolment, keys
from hospital_node.admission import Admission, check_before_dialing
from hospital_node.anchor import ONE_VOLUME, share_a_volume
from hospital_node.clock import SystemClock
from hospital_node.diagnosis import ConnectProblem
from hospital_node.disk_faults import disk_faults
from hospital_node.entropy import DiscreteGaussian, OsEntropy
from hospital_node.epoch_marks import EpochMarks
from hospital_node.home import Home
from hospital_node.journal import Journal
from hospital_node.ledger_store import LedgerStore
from hospital_node.link import LinkClient
from hospital_node.node import Node
from hospital_node.node_words import NodeEvent, Outgoing
from privacy.ledgers.policy_file import read_policy
from privacy.link.collector import set_startup_aside
from privacy.link.kept_memory import keep_freed_memory
from privacy.studies.study import Study


@dataclass(frozen=True, slots=True)
class Settings:
    """What the operator typed.

    Attributes:
        patience_s: how long it tries to reach the coordinator; None: for ever.
        confirm: ask before anything leaves.
        drop_undeclared: leave out columns that the study does not declare.
    """

    home: Home
    study: Study
    data: Path
    coordinator: str
    patience_s: float | None
    confirm: bool
    drop_undeclared: bool = False


class Interrupted(Exception):
    """The operator stopped the node before the study was over."""

    exit_code = 130


def serve(settings: Settings, report: Callable[[NodeEvent], None], ask: Callable[[Outgoing], bool]) -> int:
    """Takes part in the study; returns the exit code.

    Raises:
        ConnectProblem, KeyFileError, EnrolmentError, PolicyFileError, PolicyRefusal, DataError, LedgerBroken: before or instead of
            taking part; what policy and table say is known before anybody is called.
        AnchorLost: the journal's anchor cannot be written, before or in the middle of a study.
        HomeFault: the disk of the home folder is full or broken.
        Interrupted: SIGINT or SIGTERM came; what was reserved stays charged, nothing is half sent.
    """
    home = settings.home
    home.prepare()
    own = keys.load(home.keys)
    roster = enrolment.load_roster(home.keys)
    policy = read_policy(home.policy)
    clock = SystemClock()
    check_before_dialing(
        policy,
        settings.study,
        settings.data,
        clock.now(),
        EpochMarks(home.epochs),
        drop_undeclared=settings.drop_undeclared,
    )
    stop = threading.Event()
    interrupted = _stop_on_signal(stop)
    with disk_faults(home.root), LedgerStore(home.ledger, own.identity_private, clock) as ledger:
        anchor = home.anchor(policy.journal_anchor)
        journal = Journal(home.journal, anchor)
        if share_a_volume(home.journal, anchor):
            report(NodeEvent("one_volume", ONE_VOLUME))
        node = Node(
            Admission(
                own.id,
                roster.roster,
                policy,
                settings.study,
                settings.data,
                home.reports,
                settings.drop_undeclared,
                home.consents,
            ),
            own.identity_private,
            journal,
            ledger,
            OsEntropy(),
            DiscreteGaussian(),
            clock,
            report,
            ask if settings.confirm else _approve,
        )

        def on_message(message: bytes) -> Iterator[bytes]:
            yield from node.on_message(message)
            if node.ended is not None:
                stop.set()

        def on_problem(problem: ConnectProblem) -> None:
            said = f"{str(problem).rstrip('.')}; `wardround-hospital doctor` tries each step by itself"
            report(NodeEvent("not_connected", said))

        client = LinkClient(
            settings.coordinator, own, roster, on_problem=on_problem, patience_s=settings.patience_s
        )
        report(NodeEvent("connecting", f"{own.id} dials {settings.coordinator}"))
        set_startup_aside()
        keep_freed_memory(os.environ)
        try:
            client.run(on_message, node.on_connect, stop)
        finally:
            journal.close()
    if node.ended is None:
        raise Interrupted(
            f"stopped by signal {interrupted[0]}" if interrupted else "stopped before the study was over"
        )
    return node.ended.exit_code


def _approve(_: Outgoing) -> bool:
    return True


def _stop_on_signal(stop: threading.Event) -> list[str]:
    """SIGTERM and SIGINT end the node between two messages."""
    seen: list[str] = []

    def handle(number: int, _: object) -> None:
        seen.append(signal.Signals(number).name)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handle)
    return seen


def ask_on_terminal(outgoing: Outgoing) -> bool:
    """Shows what is about to leave and waits for a line: y lets it go, anything else does not."""
    sys.stderr.write(f"let this leave the hospital? {outgoing.text} [y/n] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")

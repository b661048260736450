"""Waiting for hospitals: one step of a round, its deadline, cuts and returns.

A hospital is silent at a step when it said that it does not go on, when it stayed disconnected for the grace time, or when the step's deadline
passed. Nobody is dropped without a reason that an operator can read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from coordinator.clock import Clock
from coordinator.link import Connected, Disconnected, Link, Received
from coordinator.progress import Progress
from secagg.errors import ProtocolError, WireError
from secagg.wire import codec
from secagg.wire.records import Abort

RECONNECT_GRACE_S = 2.0

# Takes (hospital, kind, whole message); returns True when the hospital has done what this step asks of it.
Take = Callable[[str, str, bytes], bool]


@dataclass(frozen=True, slots=True)
class Silence:
    """Why a hospital did not finish a step; `culprit` is whom it blamed, or who blamed it; `kind` is abort, lost, deadline, refused, blamed, blaming or left_out."""

    hospital: str
    step: str
    kind: str
    reason: str
    culprit: str = ""


@dataclass(slots=True)
class Gatherer:
    """The coordinator's ear: remembers the last request to each hospital, so that a restarted one gets it again.

    `greetings` is what a hospital's new process is sent first once a study runs: the study's offer, the session's key list.
    """

    link: Link
    clock: Clock
    deadline_s: float
    report: Callable[[Progress], None]
    greetings: dict[str, tuple[bytes, ...]] = field(default_factory=dict)
    _last: dict[str, tuple[bytes, ...]] = field(default_factory=dict)

    def ask(self, hospital: str, *messages: bytes) -> None:
        """Sends a request and remembers it until the next one."""
        self._last[hospital] = messages
        for message in messages:
            self.link.send(hospital, message)

    def remember(self, hospital: str, *messages: bytes) -> None:
        """What `hospital` is sent as soon as it connects."""
        self._last[hospital] = messages

    def greet(self, hospital: str, message: bytes) -> None:
        """Adds what `hospital`'s new processes are sent first."""
        self.greetings[hospital] = (*self.greetings.get(hospital, ()), message)

    def tell(self, hospital: str, message: bytes) -> None:
        """Sends what needs no answer."""
        self.link.send(hospital, message)

    def gather(
        self,
        step: str,
        waiting: frozenset[str],
        take: Take,
        *,
        enough: Callable[[], bool] | None = None,
        round_number: int = 0,
        grace_s: float = RECONNECT_GRACE_S,
        deadline_s: float | None = None,
    ) -> dict[str, Silence]:
        """Hands messages to `take` until every hospital of `waiting` is done or silent.

        Args:
            step: its name in results.
            waiting: whose answer is due.
            take: see `Take`; what it raises as ProtocolError or WireError silences the sender, with the reason.
            enough: when it turns true, hospitals that are cut off are not waited for any longer.
            round_number: aborts of other rounds are ignored; 0 stands for whatever is under way.
            grace_s: how long a hospital that is cut off may stay away.
            deadline_s: of this step, where it differs from the study's.

        Returns:
            The silent hospitals.
        """
        deadline_s = deadline_s or self.deadline_s
        end = self.clock.monotonic_s() + deadline_s
        left = set(waiting)
        lost: dict[str, tuple[float, str]] = {
            h: (self.clock.monotonic_s() + grace_s, "it is not connected")
            for h in left - self.link.connected()
        }
        silent: dict[str, Silence] = {}
        while left:
            if enough is not None and left <= lost.keys() and enough():
                silent |= {h: Silence(h, step, "lost", lost[h][1]) for h in left}
                break
            now = self.clock.monotonic_s()
            # Who is there costs nothing here: this is asked once for each message.
            overdue = sorted(left) if now >= end else [h for h in lost if h in left and lost[h][0] <= now]
            for hospital in overdue:
                why = lost.get(hospital, (0.0, f"no answer within {deadline_s:g} s"))[1]
                kind = "lost" if hospital in lost else "deadline"
                self._silence(silent, left, Silence(hospital, step, kind, why))
            if not left:
                break
            limit = min([end, *(until for h, (until, _) in lost.items() if h in left)])
            event = self.link.receive(max(0.0, limit - now))
            match event:
                case None:
                    continue
                case Disconnected(hospital, reason):
                    self.report(
                        Progress("disconnected", f"{hospital} is cut off: {reason}", hospital=hospital)
                    )
                    lost[hospital] = (
                        self.clock.monotonic_s() + grace_s,
                        f"it was cut off: {reason}",
                    )
                case Connected(hospital, fresh):
                    lost.pop(hospital, None)
                    self._came(hospital, fresh, self._last.get(hospital, ()) if hospital in left else ())
                case Received(hospital, message):
                    if hospital in left:
                        self._take(step, hospital, message, take, left, silent, round_number)
        return silent

    def await_quorum(
        self, members: frozenset[str], quorum: int, before_waiting: Callable[[], None] = lambda: None
    ) -> bool:
        """Waits up to the deadline until so many members are connected; says whether they are.

        Who came back meanwhile is let in first, also where enough are there without it. `before_waiting` is called where it has to wait.
        """
        end = self.clock.monotonic_s() + self.deadline_s
        while True:
            enough = len(members & self.link.connected()) >= quorum
            left = 0.0 if enough else max(0.0, end - self.clock.monotonic_s())
            if not enough:
                before_waiting()
            match self.link.receive(left):
                case None:
                    if enough or left == 0.0:
                        return enough
                case Connected(hospital, fresh):
                    self._came(hospital, fresh, ())
                case Disconnected(hospital, reason):
                    self.report(
                        Progress("disconnected", f"{hospital} is cut off: {reason}", hospital=hospital)
                    )

    def _came(self, hospital: str, fresh: bool, pending: tuple[bytes, ...]) -> None:
        """A hospital is back; its new process is told of the study and asked again for what it owes."""
        self.report(Progress("connected", f"{hospital} is connected", hospital=hospital))
        if fresh:
            for message in (*self.greetings.get(hospital, ()), *pending):
                self.link.send(hospital, message)

    def _take(
        self,
        step: str,
        hospital: str,
        message: bytes,
        take: Take,
        left: set[str],
        silent: dict[str, Silence],
        round_number: int,
    ) -> None:
        try:
            kind = codec.kind_of(message)
            if kind == "abort":
                abort = codec.unpack(kind, Abort, message)
                if abort.round in (0, round_number):
                    self._silence(silent, left, Silence(hospital, step, "abort", abort.reason, abort.culprit))
            elif take(hospital, kind, message):
                left.discard(hospital)
        except (ProtocolError, WireError) as error:
            self._silence(silent, left, Silence(hospital, step, "refused", str(error), hospital))

    def _silence(self, silent: dict[str, Silence], left: set[str], silence: Silence) -> None:
        left.discard(silence.hospital)
        silent[silence.hospital] = silence
        self.report(
            Progress(
                "silent",
                f"{silence.hospital} does not go on at {silence.step}: {silence.reason}",
                hospital=silence.hospital,
            )
        )

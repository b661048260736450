"""Acknowledgments ride on data; an alarm sees to those that find none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from privacy.link.ack_timer import AckTimer
from privacy.link.framing import ACK_DELAY_S, ACK_EVERY


@dataclass
class Loop:
    """Alarms that ring when told to."""

    alarms: list[tuple[float, Callable[[], None]]] = field(default_factory=list)
    woken: int = 0
    cancelled: int = 0

    def call_later(self, delay_s: float, call: Callable[[], None]) -> Loop:
        self.alarms.append((delay_s, call))
        return self

    def cancel(self) -> None:
        self.cancelled += 1

    def wake(self) -> None:
        self.woken += 1

    def ring(self) -> None:
        self.alarms.pop(0)[1]()


def test_one_alarm_however_many_frames_come() -> None:
    loop = Loop()
    timer = AckTimer(loop.call_later, loop.wake)
    timer.owe(0)
    assert not loop.alarms
    for frames in range(1, ACK_EVERY):
        timer.owe(frames)
    assert [delay for delay, _ in loop.alarms] == [ACK_DELAY_S]
    assert (loop.woken, timer.take()) == (0, False)
    loop.ring()
    assert loop.woken == 1
    assert (timer.take(), timer.take()) == (True, False)
    timer.owe(1)
    assert len(loop.alarms) == 1


def test_many_frames_do_not_wait() -> None:
    loop = Loop()
    timer = AckTimer(loop.call_later, loop.wake)
    timer.owe(ACK_EVERY)
    assert (loop.woken, loop.alarms) == (1, [])


def test_nothing_rings_behind_the_end() -> None:
    loop = Loop()
    timer = AckTimer(loop.call_later, loop.wake)
    timer.owe(1)
    timer.stop()
    assert loop.cancelled == 1

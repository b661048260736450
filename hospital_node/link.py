"""The hospital's end of the link: dials out, keeps one mutual-TLS gRPC stream, connects again after a cut.

`on_message`, `on_connect` and `on_problem` run in the thread that called `run`. `on_connect` runs on the first connection and whenever the
coordinator's process is a new one; after a mere cut the link resumes and nothing is sent or handled twice. What the callbacks yield is sent as
it is yielded, short answers with what comes behind them. What belongs to a coordinator process that is gone meanwhile, messages and answers, is dropped.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from hospital_node.channel import channel_arguments, printable
from hospital_node.clock import Clock, SystemClock
from hospital_node.diagnosis import ConnectProblem, check_own, diagnose
from hospital_node.talk import Broken, Message, Met, Talk, Trouble
from privacy.link.ack_timer import AckTimer
from privacy.link.framing import PROCESS_BYTES, FrameError, Hello, Limits, MessageTooLarge
from privacy.link.member_keys import MemberKeys
from privacy.link.roster_file import TrustedRoster
from privacy.link.transport_rules import (
    HELLO_DEADLINE_S,
    METHOD,
    REPLACED,
    SERVICE,
    reconnect_delay_s,
    split_address,
)

__all__ = ["ConnectProblem", "LinkClient"]
# Behind `channel`, which sets gRPC up before anybody imports it.
import grpc
import grpc.aio
import uvloop

STOP_POLL_S = 0.1
SHORT_BYTES = 1 << 14
FLUSH_S = 2.0
# Caught where they are raised: kept in a task, their tracebacks would keep the channel and its thread until the next garbage collection.
# The status of the call says why it is over.
CALL_IS_OVER = (grpc.aio.AioRpcError, grpc.aio.BaseError, asyncio.InvalidStateError)


class LinkClient:
    """Connects to the coordinator at `address` ("host:port")."""

    def __init__(
        self,
        address: str,
        keys: MemberKeys,
        roster: TrustedRoster,
        *,
        on_problem: Callable[[ConnectProblem], None] | None = None,
        patience_s: float | None = None,
        limits: Limits | None = None,
        clock: Clock | None = None,
        entropy: Callable[[int], bytes] | None = None,
    ) -> None:
        """Nothing is dialed before `run`.

        Args:
            on_problem: told why there is no connection, once for each new reason.
            patience_s: `run` gives up after so long without a connection; None waits for ever.
            entropy: gives so many unpredictable bytes; the operating system's by default.

        Raises:
            AddressError: the address has no host or port.
        """
        self._host, self._port = split_address(address)
        self._keys = keys
        self._pins = roster.pins()
        self._root = roster.certificates[roster.roster.coordinator.id]
        self._on_problem = on_problem
        self._patience_s = patience_s
        self._clock = clock or SystemClock()
        self._talk = Talk((entropy or _os_entropy())(PROCESS_BYTES), limits or Limits())
        self._loop: asyncio.AbstractEventLoop | None = None
        self._leaving: asyncio.Event | None = None

    def run(
        self,
        on_message: Callable[[bytes], Iterable[bytes]],
        on_connect: Callable[[], Iterable[bytes]],
        stop: threading.Event,
    ) -> None:
        """Serve until `stop` is set; a callback that runs then is finished, and what it yielded has two seconds to arrive.

        Raises:
            ConnectProblem: a fatal one, or any after `patience_s` seconds.
            ImportError: gRPC was imported too early to be told of TLS 1.3 alone.
            QueueFull, MessageTooLarge: a callback yielded more than the link holds.
        """
        check_own(self._keys, self._pins, self._clock.now())
        ready = threading.Event()
        thread = threading.Thread(target=self._run_loop, args=(ready,), name="hospital-link")
        thread.start()
        ready.wait()
        try:
            while not stop.is_set():
                match self._talk.get(STOP_POLL_S):
                    case Met(generation):
                        self._answer(generation, on_connect())
                    case Message(generation, body):
                        self._answer(generation, on_message(body))
                    case Trouble(problem):
                        self._complain(problem)
                    case Broken(error):
                        raise error
                    case None:
                        pass
        finally:
            self._leave(thread)

    def _answer(self, generation: int, replies: Iterable[bytes]) -> None:
        """What is short waits for what follows it, so that both go in one frame; after the last one nothing waits."""
        held: list[bytes] = []
        try:
            for reply in replies:
                held.append(reply)
                if len(reply) >= SHORT_BYTES:
                    self._talk.send(generation, *held)
                    held.clear()
        finally:
            if held:
                self._talk.send(generation, *held)

    def _complain(self, problem: ConnectProblem) -> None:
        if problem.fatal:
            raise problem
        if self._on_problem is not None:
            self._on_problem(problem)

    def _leave(self, thread: threading.Thread) -> None:
        end = self._clock.monotonic_s() + FLUSH_S
        while thread.is_alive() and not self._talk.flushed() and self._clock.monotonic_s() < end:
            time.sleep(0.01)
        if self._loop is not None and self._leaving is not None and thread.is_alive():
            # The loop may end by itself between the question and this call.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._leaving.set)
        thread.join()

    def _run_loop(self, ready: threading.Event) -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._until_leaving(ready))
        except Exception as error:  # noqa: BLE001 - the outermost frame of this thread; `run` raises it
            self._talk.report(Broken(error))

    async def _until_leaving(self, ready: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._leaving = asyncio.Event()
        ready.set()
        work = asyncio.create_task(self._dial())
        leaving = asyncio.create_task(self._leaving.wait())
        await asyncio.wait({work, leaving}, return_when=asyncio.FIRST_COMPLETED)
        for task in (work, leaving):
            task.cancel()
        for outcome in await asyncio.gather(work, leaving, return_exceptions=True):
            if isinstance(outcome, Exception):
                raise outcome

    async def _dial(self) -> None:
        """Connect again and again; ends with a fatal problem only."""
        attempt, reported = 0, ""
        lost_at = self._clock.monotonic_s()
        while True:
            met, problem = await self._one_stream()
            if met:
                attempt, reported = 0, ""
                lost_at = self._clock.monotonic_s()
            attempt += 1
            waited_s = self._clock.monotonic_s() - lost_at
            if self._patience_s is not None and waited_s >= self._patience_s:
                problem.fatal = True
            if problem.fatal or str(problem) != reported:
                self._talk.report(Trouble(problem))
                reported = str(problem)
            if problem.fatal:
                return
            await asyncio.sleep(reconnect_delay_s(attempt, self._keys.id))

    async def _one_stream(self) -> tuple[bool, ConnectProblem]:
        """One connection from dialing to its end: whether the coordinator greeted, and why it ended."""
        met = False
        dialed = channel_arguments(self._host, self._port, self._keys, self._root)
        async with grpc.aio.secure_channel(*dialed) as channel:
            call = channel.stream_stream(f"/{SERVICE}/{METHOD}")()
            try:
                async with asyncio.timeout(HELLO_DEADLINE_S):
                    met = await self._greet(call)
                if met:
                    await self._carry(call)
            except TimeoutError:
                call.cancel()
            except (FrameError, MessageTooLarge) as problem:
                self._talk.forget()
                return met, ConnectProblem("lost", f"The coordinator broke the link's rules: {problem}.")
            return met, await self._explain(met, await call.code(), await call.details())

    async def _greet(self, call: Any) -> bool:
        """Exchange greetings; False when the call is over before."""
        try:
            await call.write(self._talk.hello().encode())
            frame = await call.read()
        except CALL_IS_OVER:
            return False
        if frame is grpc.aio.EOF:
            return False
        self._talk.meet(Hello.decode(frame))
        return True

    async def _carry(self, call: Any) -> None:
        """Read and write until the stream ends."""
        loop = asyncio.get_running_loop()
        wake, room = asyncio.Event(), asyncio.Event()
        due = AckTimer(loop.call_later, wake.set)

        def look_again() -> None:
            wake.set()
            room.set()

        def poke() -> None:
            loop.call_soon_threadsafe(look_again)

        self._talk.set_poke(poke)
        reader = asyncio.create_task(self._read(call, due, room))
        writer = asyncio.create_task(self._write(call, wake, due))
        try:
            done, _ = await asyncio.wait({reader, writer}, return_when=asyncio.FIRST_COMPLETED)
            for part in done:
                part.result()
        finally:
            self._talk.set_poke(None)
            due.stop()
            reader.cancel()
            writer.cancel()
            await asyncio.gather(reader, writer, return_exceptions=True)

    async def _read(self, call: Any, due: AckTimer, room: asyncio.Event) -> None:
        while True:
            room.clear()
            if not self._talk.has_room():
                await room.wait()
                continue
            try:
                frame = await call.read()
            except CALL_IS_OVER:
                return
            if frame is grpc.aio.EOF:
                return
            due.owe(self._talk.take(frame))

    async def _write(self, call: Any, wake: asyncio.Event, due: AckTimer) -> None:
        while True:
            wake.clear()
            frame = self._talk.next_frame(acknowledge=due.take())
            if frame is None:
                await wake.wait()
                continue
            try:
                await call.write(frame)
            except CALL_IS_OVER:
                return

    async def _explain(self, met: bool, code: grpc.StatusCode, details: str) -> ConnectProblem:
        said = printable(details)
        where = f"{self._host}:{self._port}"
        if said == REPLACED:
            return ConnectProblem(
                "replaced",
                f"Another process of {self._keys.id} connected to {where} with the same certificate and took over: run only one.",
                fatal=True,
            )
        if code in (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.INVALID_ARGUMENT):
            return ConnectProblem("refused", f"The coordinator at {where} says: {said}")
        if met:
            return ConnectProblem(
                "lost", f"The connection to {where} was lost ({said.rstrip('.')}); connecting again."
            )
        now = self._clock.now()
        return await asyncio.to_thread(diagnose, self._host, self._port, self._keys, self._pins, now)


def _os_entropy() -> Callable[[int], bytes]:
    # Imported here because OpenDP loads with it, for seconds.
    from hospital_node.entropy import OsEntropy

    return OsEntropy().random_bytes

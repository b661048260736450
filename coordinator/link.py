"""The coordinator's end of the link: one mutual-TLS gRPC stream per hospital behind a thread-safe facade.

What the round engine may rely on:

- `receive` hands out events in order. `Connected(fresh=True)` means a new hospital process (or its first connection), `fresh=False` the same
  process after a cut: nothing was lost, nothing comes twice.
- `send` never blocks. While a hospital is cut off, messages wait (bounded) until the same process is back. What was sent before `receive` handed
  out a `Connected(fresh=True)` is dropped: the new process knows nothing of it. So the engine sends its last request again on that event, and it
  arrives exactly once.
- A hospital is known by its certificate alone. A second connection with the same certificate ends the first; a question (`privacy.link.inquiry`)
  is answered at the door and no connection in this sense.
"""

from __future__ import annotations

import asyncio
import os
import threading
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Protocol

from coordinator.clock import Clock, SystemClock
from coordinator.entropy import Entropy, OsEntropy
from coordinator.sessions import (
    Connected,
    Disconnected,
    LinkEvent,
    Received,
    Session,
    Sessions,
    StreamReplaced,
)
from coordinator.tls_probe import speaks_tls_1_2
from privacy.link.ack_timer import AckTimer
from privacy.link.certificates import check_valid_at, read_certificate
from privacy.link.framing import PROCESS_BYTES, VERSION, FrameError, Hello, Limits, MessageTooLarge
from privacy.link.inquiry import Standing, is_inquiry
from privacy.link.member_keys import MemberKeys
from privacy.link.release import installed_release
from privacy.link.roster_file import TrustedRoster
from privacy.link.transport_rules import (
    HELLO_DEADLINE_S,
    METHOD,
    REPLACED,
    SERVER_OPTIONS,
    SERVICE,
    NotAdmitted,
    admit,
    grpc_environment,
    split_address,
)
from secagg.params import PROTOCOL_VERSION

# gRPC reads it when it is first imported; `start` finds out whether somebody else was first.
os.environ.update(grpc_environment(os.environ))
import grpc
import grpc.aio
import uvloop

__all__ = ["Connected", "Disconnected", "Link", "LinkEvent", "LinkServer", "ListenError", "Received"]

FLUSH_S = 2.0
LAST_WRITE_S = 1.0
# Also for an orderly end: which of the two gRPC reports for a killed process depends on timing.
LOST = "The connection was lost."


class Link(Protocol):
    """What the round engine needs of a link; `LinkServer` is the one over the network."""

    def send(self, hospital: str, message: bytes) -> None:
        """Queue a message."""

    def receive(self, timeout_s: float) -> LinkEvent | None:
        """The next event, None after the timeout."""

    def connected(self) -> frozenset[str]:
        """Who can be reached now."""


class ListenError(Exception):
    """The coordinator cannot listen; one sentence with the remedy."""

    exit_code = 3


class _Stream:
    """One connection while it lasts. `wake`, `room` and `ended` belong to the loop; `poke` may come from any thread."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.wake = asyncio.Event()
        self.due = AckTimer(self._loop.call_later, self.wake.set)
        self.room = asyncio.Event()
        self.ended: asyncio.Future[str] = self._loop.create_future()

    def poke(self) -> None:
        self._loop.call_soon_threadsafe(self._look_again)

    def _look_again(self) -> None:
        self.wake.set()
        self.room.set()

    def end(self, reason: str) -> None:
        if not self.ended.done():
            self.ended.set_result(reason)


class LinkServer:
    """Listens on `address` ("host:port", port 0 picks a free one) in a background thread."""

    def __init__(
        self,
        address: str,
        keys: MemberKeys,
        roster: TrustedRoster,
        *,
        limits: Limits | None = None,
        clock: Clock | None = None,
        entropy: Entropy | None = None,
    ) -> None:
        """Nothing listens before `start`.

        Raises:
            AddressError: the address has no host or port.
            ListenError: the keys are not the roster's coordinator's.
        """
        self._host, self._port = split_address(address)
        if keys.member() != roster.roster.coordinator:
            raise ListenError(
                "The keys on this machine are not the coordinator's in the roster: draft a new roster."
            )
        self._keys = keys
        self._roots = b"".join(roster.certificates.values())
        self._pins = roster.pins()
        self._roster_hash = roster.roster.hash
        self._release = installed_release()
        self._clock = clock or SystemClock()
        process = (entropy or OsEntropy()).take(PROCESS_BYTES)
        self._sessions = Sessions(roster.roster.ids, process, limits or Limits())
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None

    def start(self) -> int:
        """Listen; returns the port.

        Raises:
            ListenError: the port is taken, the host is not this machine's, or gRPC would take up TLS 1.2.
            CertificateProblem: the coordinator's certificate expired.
        """
        check_valid_at(self._keys.certificate, self._clock.now(), "this coordinator")
        started: Future[int] = Future()
        self._thread = threading.Thread(target=self._run, args=(started,), name="coordinator-link")
        self._thread.start()
        try:
            return started.result()
        except (RuntimeError, OSError) as problem:
            raise ListenError(
                f"Cannot listen on {self._host}:{self._port}: choose a free port and an address of this machine (0.0.0.0: all of them)."
            ) from problem
        finally:
            if started.exception() is not None:
                self._thread.join()
                self._thread = None

    def stop(self) -> None:
        """Give queued messages up to two seconds to arrive, end all streams and the thread. May be called twice."""
        thread, self._thread = self._thread, None
        if thread is None or self._loop is None or self._stopping is None:
            return
        self._loop.call_soon_threadsafe(self._stopping.set)
        thread.join()

    def send(self, hospital: str, message: bytes) -> None:
        """Queue `message` for a hospital; the top of this module says what is dropped.

        Raises:
            KeyError: the roster has no such hospital.
            QueueFull: too much waits for this hospital already.
            MessageTooLarge: above the limit for one message.
        """
        self._sessions.send(hospital, message)

    def receive(self, timeout_s: float) -> LinkEvent | None:
        """The next event, None after `timeout_s` seconds without one."""
        return self._sessions.receive(timeout_s)

    def connected(self) -> frozenset[str]:
        """The hospitals whose stream is up and whose Connected event was handed out."""
        return self._sessions.connected()

    def _run(self, started: Future[int]) -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._serve(started))
        except (RuntimeError, OSError, ListenError) as problem:
            if started.done():
                raise
            # The traceback would keep the server, and its thread, for as long as the caller keeps the error.
            started.set_exception(problem.with_traceback(None))

    async def _serve(self, started: Future[int]) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        server = grpc.aio.server(options=SERVER_OPTIONS)
        method = grpc.stream_stream_rpc_method_handler(self._connect)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {METHOD: method}),))
        credentials = grpc.ssl_server_credentials(
            [(self._keys.tls_private.reveal(), self._keys.certificate_pem)],
            root_certificates=self._roots,
            require_client_auth=True,
        )
        host = f"[{self._host}]" if ":" in self._host else self._host
        try:
            port = server.add_secure_port(f"{host}:{self._port}", credentials)
            await server.start()
            await self._check_tls(port)
            started.set_result(port)
            await self._stopping.wait()
            await self._flush()
        finally:
            await server.stop(FLUSH_S)

    async def _check_tls(self, port: int) -> None:
        here = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self._host, self._host)  # noqa: S104 - compared, not bound
        if await speaks_tls_1_2(here, port):
            raise ListenError(
                "The port would take up TLS 1.2: grpc was imported before coordinator.link; import that one first, or set "
                "GRPC_SSL_CIPHER_SUITES as privacy.link.transport_rules says before the process starts."
            )

    async def _flush(self) -> None:
        end = self._clock.monotonic_s() + FLUSH_S
        while not self._sessions.flushed() and self._clock.monotonic_s() < end:
            await asyncio.sleep(0.01)
        for stream in self._sessions.streams():
            stream.end("The coordinator stopped.")

    async def _connect(self, _: object, context: Any) -> None:
        """One stream from greeting to end.

        The status is set, not raised by `context.abort`: gRPC keeps that exception, and with it the server and its thread, after the end.
        """
        try:
            hospital, expires_s = self._admit(context)
            first = await self._first_frame(context)
            if is_inquiry(first):
                await self._tell_standing(context, hospital)
                return
            hello = Hello.decode(first)
            stream = _Stream()
            session, answer = self._sessions.attach(hospital, hello, stream)
        except NotAdmitted as refusal:
            context.set_code(grpc.StatusCode.PERMISSION_DENIED)
            context.set_details(str(refusal))
            return
        except FrameError as problem:
            context.set_code(grpc.StatusCode.INVALID_ARGUMENT)
            context.set_details(f"Refused: {problem}.")
            return
        reason = LOST
        try:
            reason = await self._carry(context, session, stream, answer, expires_s)
        finally:
            self._sessions.detach(session, stream, reason)
        context.set_code(grpc.StatusCode.ABORTED)
        context.set_details(reason)

    def _admit(self, context: Any) -> tuple[str, float]:
        """Who connects, and for how many seconds its certificate is good. Raises NotAdmitted."""
        facts = context.auth_context()
        version = facts.get("ssl_tls_version", (b"no TLS",))[0]
        pem = facts.get("x509_pem_cert", (b"",))[0]
        now = self._clock.now()
        hospital = admit(self._pins, "hospital", version, pem, now)
        return hospital, (read_certificate(pem).not_after - now).total_seconds()

    async def _first_frame(self, context: Any) -> bytes:
        try:
            async with asyncio.timeout(HELLO_DEADLINE_S):
                frame = await context.read()
        except TimeoutError:
            raise FrameError(f"no greeting came within {HELLO_DEADLINE_S:.0f} s") from None
        return b"" if frame is grpc.aio.EOF else bytes(frame)

    async def _tell_standing(self, context: Any, hospital: str) -> None:
        """Answers a question at the door; no session begins, and a node of this hospital that is connected stays so."""
        standing = Standing(
            link=VERSION,
            protocol=PROTOCOL_VERSION,
            connected=hospital in self.connected(),
            clock_ms=int(self._clock.now().timestamp() * 1000),
            roster=self._roster_hash,
            release=self._release,
        )
        # Who asks and takes no answer holds nothing here any longer than who says nothing.
        with suppress(grpc.aio.BaseError, TimeoutError):
            async with asyncio.timeout(HELLO_DEADLINE_S):
                await context.write(standing.encode())

    async def _carry(
        self, context: Any, session: Session, stream: _Stream, answer: Hello, expires_s: float
    ) -> str:
        """Read and write until the stream ends; returns the reason."""
        reader = asyncio.create_task(self._read(context, session, stream))
        writer = asyncio.create_task(self._write(context, session, stream, answer))
        parts: set[asyncio.Future[str]] = {reader, writer, stream.ended}
        try:
            done, _ = await asyncio.wait(parts, timeout=expires_s, return_when=asyncio.FIRST_COMPLETED)
            return done.pop().result() if done else "The hospital's certificate expired."
        except StreamReplaced:
            return REPLACED
        except (FrameError, MessageTooLarge) as problem:
            self._sessions.forget(session)
            return f"Refused: {problem}"
        finally:
            # gRPC cannot send the status while a write is under way: the writer finishes it and leaves, unless the hospital takes nothing.
            stream.end("")
            stream.due.stop()
            stream.wake.set()
            await asyncio.wait({writer}, timeout=LAST_WRITE_S)
            reader.cancel()
            writer.cancel()
            await asyncio.gather(reader, writer, return_exceptions=True)

    async def _read(self, context: Any, session: Session, stream: _Stream) -> str:
        while True:
            stream.room.clear()
            if not self._sessions.has_room(session):
                await stream.room.wait()
                continue
            try:
                frame = await context.read()
            except grpc.aio.BaseError:
                return LOST
            if frame is grpc.aio.EOF:
                return LOST
            stream.due.owe(self._sessions.take(session, stream, frame))

    async def _write(self, context: Any, session: Session, stream: _Stream, answer: Hello) -> str:
        frame: bytes | None = answer.encode()
        while not stream.ended.done():
            if frame is None:
                await stream.wake.wait()
            else:
                try:
                    await context.write(frame)
                except grpc.aio.BaseError:
                    return LOST
            stream.wake.clear()
            frame = self._sessions.next_frame(session, stream, acknowledge=stream.due.take())
        return stream.ended.result()

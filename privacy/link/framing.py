"""Messages over a stream that may be cut: chunks with sequence numbers and acknowledgements, as a machine without sockets.

A *process* is one lifetime of one program, named by 16 random bytes. Two processes that meet again after a cut resume: each says how many frames
of the other it has, the other goes on behind that. So no frame is handled twice and none is lost while both processes live. When either process
is a new one, both start from nothing and the layer above decides what is said again (it journals; this layer remembers nothing on disk).

Frames, big endian::

    HELLO  0 | version u16 | process 16 | peer process or zeros 16 | frames received u64
    DATA   1 | number u64 | frames received u64 | message length u64 | offset u64 | payload
    ACK    2 | frames received u64
    JOINED 3 | (length u32 | DATA frame of that length), once or more

Short messages that wait together travel JOINED; numbers and acknowledgements are those of the DATA frames in it. Every length is checked against `Limits` before anything of that length is kept.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

VERSION = 2
PROCESS_BYTES = 16
FRAME_BYTES = 4 * 2**20
# Most frames carry data the other way soon after: an acknowledgment waits so long for one, or for so many frames.
ACK_DELAY_S = 0.1
ACK_EVERY = 16
# A chunk of this length is worth an object of its own.
LONG_BYTES = 1 << 12
# What a message takes in the inbox beside its bytes: joined frames bring a hundred thousand messages of one byte in 4 MiB.
MESSAGE_BYTES = 256
_NOBODY = bytes(PROCESS_BYTES)
_HELLO, _DATA, _ACK, _JOINED = 0, 1, 2, 3
_HELLO_FORM = struct.Struct(f">BH{PROCESS_BYTES}s{PROCESS_BYTES}sQ")
_DATA_FORM = struct.Struct(">BQQQQ")
_ACK_FORM = struct.Struct(">BQ")
_LENGTH_FORM = struct.Struct(">I")
# For the payload of a frame, or of the first of joined ones with what stands before it.
_ROOM = FRAME_BYTES - _DATA_FORM.size - _LENGTH_FORM.size - 1


class FrameError(Exception):
    """The peer broke the framing; the stream cannot go on."""


class MessageTooLarge(Exception):
    """A message above the limit, refused before it was queued or kept."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"A message of {size} bytes is above the link's limit of {limit} bytes.")
        self.size, self.limit = size, limit


class QueueFull(Exception):
    """The peer does not take messages as fast as they are sent, or is cut off."""

    def __init__(self, queued: int, limit: int) -> None:
        super().__init__(
            f"{queued} bytes wait for the peer already, the limit is {limit}: end or skip this peer."
        )
        self.queued, self.limit = queued, limit


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one link, bytes: payload of a frame, whole message, messages waiting for the peer, messages waiting for this side's reader."""

    payload_bytes: int = 2**20
    message_bytes: int = 256 * 2**20
    queue_bytes: int = 512 * 2**20
    inbox_bytes: int = 256 * 2**20

    def __post_init__(self) -> None:
        if not 0 < self.payload_bytes <= _ROOM:
            raise ValueError(f"a frame's payload has 1 to {_ROOM} bytes")
        if not 0 < self.message_bytes <= self.queue_bytes:
            raise ValueError("a whole message must fit into the queue")


@dataclass(frozen=True, slots=True)
class Hello:
    """First frame of either side: who I am, whom I talked to last (None: nobody), how many frames of that one I have."""

    process: bytes
    peer: bytes | None
    received: int

    def encode(self) -> bytes:
        return _HELLO_FORM.pack(_HELLO, VERSION, self.process, self.peer or _NOBODY, self.received)

    @staticmethod
    def decode(frame: bytes) -> Hello:
        """Raises FrameError."""
        if len(frame) != _HELLO_FORM.size:
            raise FrameError("the first frame is not a greeting")
        kind, version, process, peer, received = _HELLO_FORM.unpack(frame)
        if kind != _HELLO:
            raise FrameError("the first frame is not a greeting")
        if version != VERSION:
            raise FrameError(
                f"the peer speaks version {version} of the link, this side version {VERSION}: install the same release"
            )
        if process == _NOBODY:
            raise FrameError("the greeting names no process")
        return Hello(process, None if peer == _NOBODY else peer, received)


@dataclass(frozen=True, slots=True)
class _Chunk:
    number: int
    total: int
    offset: int
    payload: memoryview


class Endpoint:
    """One side of the talk between two processes; outlives the streams that carry it.

    Not thread-safe: the shell holds a lock. `send` queues, `next_frame` gives what to write next, `receive` takes what was read and returns a
    message when it is whole, `resume` starts the next stream.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._waiting: deque[_Chunk] = deque()
        self._flying: deque[_Chunk] = deque()
        self._queued_bytes = 0
        self._sent = 0
        self._received = 0
        self._told = 0
        # Long chunks as they came, joined once; short ones in one growing buffer: a million one-byte chunks must not cost more than a million bytes.
        self._partial: list[bytearray | bytes | memoryview] = []
        self._have = 0
        self._total = 0

    @property
    def received(self) -> int:
        """Frames taken from the peer so far."""
        return self._received

    @property
    def idle(self) -> bool:
        """True when the peer has acknowledged everything."""
        return not self._waiting and not self._flying

    def send(self, message: bytes) -> None:
        """Queue a message. Raises MessageTooLarge, QueueFull, ValueError (empty message)."""
        total = len(message)
        if total == 0:
            raise ValueError("an empty message cannot be sent")
        if total > self._limits.message_bytes:
            raise MessageTooLarge(total, self._limits.message_bytes)
        if self._queued_bytes + total > self._limits.queue_bytes:
            raise QueueFull(self._queued_bytes, self._limits.queue_bytes)
        view = memoryview(message)
        for offset in range(0, total, self._limits.payload_bytes):
            payload = view[offset : offset + self._limits.payload_bytes]
            self._waiting.append(_Chunk(self._sent, total, offset, payload))
            self._sent += 1
        self._queued_bytes += total

    @property
    def owed(self) -> int:
        """Frames of the peer that it was not told of yet."""
        return self._received - self._told

    def next_frame(self, acknowledge: bool = True) -> bytes | None:
        """The next frame to write, None when there is nothing to say.

        Args:
            acknowledge: a frame of its own may say how many came; otherwise that waits for data to ride on, but not beyond `ACK_EVERY`
                frames.
        """
        if self._waiting:
            self._told = self._received
            first, *more = self._next_chunks()
            if not more:
                return b"".join(first)
            parts: list[bytes | memoryview] = [bytes([_JOINED])]
            for head, payload in (first, *more):
                parts += (_LENGTH_FORM.pack(len(head) + len(payload)), head, payload)
            return b"".join(parts)
        if self._told < self._received and (acknowledge or self._received - self._told >= ACK_EVERY):
            self._told = self._received
            return _ACK_FORM.pack(_ACK, self._received)
        return None

    def _next_chunks(self) -> Iterator[tuple[bytes, memoryview]]:
        """Head and payload of what goes into the next frame: one chunk, and further ones as long as they fit beside it."""
        room = self._limits.payload_bytes
        while self._waiting and (room := room - len(self._waiting[0].payload)) >= 0:
            chunk = self._waiting.popleft()
            self._flying.append(chunk)
            room -= _DATA_FORM.size + _LENGTH_FORM.size
            yield (
                _DATA_FORM.pack(_DATA, chunk.number, self._received, chunk.total, chunk.offset),
                chunk.payload,
            )

    def receive(self, frame: bytes) -> list[bytes]:
        """Take one frame; the messages that are whole with it. Raises FrameError, MessageTooLarge."""
        if len(frame) > FRAME_BYTES:
            raise FrameError("a frame is too long")
        match frame[:1]:
            case b"\x01":
                message = self._receive_data(memoryview(frame))
                return [] if message is None else [message]
            case b"\x02" if len(frame) == _ACK_FORM.size:
                self._acknowledge(_ACK_FORM.unpack(frame)[1])
                return []
            case b"\x03" if len(frame) > 1:
                return [
                    message for data in _split(frame) if (message := self._receive_data(data)) is not None
                ]
            case _:
                raise FrameError("a frame of unknown kind or length")

    def resume(self, peer_received: int) -> None:
        """Start a new stream to the same process, which has `peer_received` of our frames. Raises FrameError."""
        self._acknowledge(peer_received)
        self._waiting.extendleft(reversed(self._flying))
        self._flying.clear()
        self._told = self._received

    def _acknowledge(self, count: int) -> None:
        first_waiting = self._waiting[0].number if self._waiting else self._sent
        first_flying = self._flying[0].number if self._flying else first_waiting
        if not first_flying <= count <= first_waiting:
            raise FrameError("the peer acknowledges frames that were not sent or were acknowledged before")
        for _ in range(count - first_flying):
            self._queued_bytes -= len(self._flying.popleft().payload)

    def _receive_data(self, frame: memoryview) -> bytes | None:
        if len(frame) <= _DATA_FORM.size or frame[0] != _DATA:
            raise FrameError("a data frame is empty, or none")
        _, number, acknowledged, total, offset = _DATA_FORM.unpack_from(frame)
        self._acknowledge(acknowledged)
        if number != self._received:
            raise FrameError(f"frame {number} came where frame {self._received} was due")
        if total > self._limits.message_bytes:
            raise MessageTooLarge(total, self._limits.message_bytes)
        payload = frame[_DATA_FORM.size :]
        have = self._have
        if offset != have or (offset and total != self._total) or offset + len(payload) > total:
            raise FrameError("a chunk does not continue its message")
        self._received += 1
        self._total = total
        if len(payload) == total:
            return bytes(payload)
        self._gather(payload)
        if self._have < total:
            return None
        message = b"".join(self._partial)
        self._partial, self._have = [], 0
        return message

    def _gather(self, payload: memoryview) -> None:
        self._have += len(payload)
        if len(payload) >= LONG_BYTES:
            # A view keeps all of its frame: of a joined one a small part, so that such messages would take many times their bytes.
            is_most = 2 * len(payload) >= memoryview(payload.obj).nbytes
            self._partial.append(payload if is_most else bytes(payload))
        elif self._partial and isinstance(self._partial[-1], bytearray):
            self._partial[-1] += payload
        else:
            self._partial.append(bytearray(payload))


def _split(frame: bytes) -> Iterator[memoryview]:
    """The DATA frames of a JOINED one, views of it. Raises FrameError."""
    view, start = memoryview(frame), 1
    while start < len(frame):
        if len(frame) - start < _LENGTH_FORM.size:
            raise FrameError("a joined frame ends within a length")
        (length,) = _LENGTH_FORM.unpack_from(frame, start)
        start += _LENGTH_FORM.size
        if length > len(frame) - start:
            raise FrameError("a joined frame ends within a frame")
        yield view[start : start + length]
        start += length

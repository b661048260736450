"""A hospital's question to the coordinator's door, and the answer: enough to see why a link does not come about, without opening one.

The question stands where a greeting would, on a stream that is over with the answer. No session begins, so a node of the same
hospital that is connected stays so. Whoever gets an answer was admitted by its certificate; a coordinator that does not
know the question refuses it as no greeting.

Frames, big endian::

    INQUIRY   4 | version of the link u16
    STANDING  5 | version of the link u16 | of the protocol u16 | a node is connected u8 | wall clock, ms since 1970 u64 | SHA-256 of the roster 32 | release, ASCII
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from privacy.link.framing import VERSION, FrameError

RELEASE_BYTES = 64
_INQUIRY, _STANDING = 4, 5
_INQUIRY_FORM = struct.Struct(">BH")
_STANDING_FORM = struct.Struct(">BHHBQ32s")

INQUIRY = _INQUIRY_FORM.pack(_INQUIRY, VERSION)


def is_inquiry(frame: bytes) -> bool:
    """Whether a first frame is a question, of whichever version of the link: the answer says which one is spoken here."""
    return len(frame) == _INQUIRY_FORM.size and frame[0] == _INQUIRY


@dataclass(frozen=True, slots=True)
class Standing:
    """How a hospital stands with the coordinator, and what that one runs.

    Attributes:
        link, protocol: versions that the coordinator speaks.
        connected: whether a node of the asking hospital is connected now.
        clock_ms: its wall clock, milliseconds since 1970, 64 bits.
        roster: SHA-256 of the roster that it trusts.
        release: of wardround, up to 64 printable ASCII characters.
    """

    link: int
    protocol: int
    connected: bool
    clock_ms: int
    roster: bytes
    release: str

    def encode(self) -> bytes:
        """The frame."""
        head = _STANDING_FORM.pack(
            _STANDING, self.link, self.protocol, self.connected, self.clock_ms, self.roster
        )
        return head + self.release.encode("ascii")

    @staticmethod
    def decode(frame: bytes) -> Standing:
        """Raises FrameError."""
        said = frame[_STANDING_FORM.size :]
        if len(frame) <= _STANDING_FORM.size or len(said) > RELEASE_BYTES or frame[0] != _STANDING:
            raise FrameError("the answer is of another form")
        if not all(0x20 < byte < 0x7F for byte in said):
            raise FrameError("the answer names its release in other characters than ASCII")
        _, link, protocol, connected, clock_ms, roster = _STANDING_FORM.unpack_from(frame)
        if connected > 1:
            raise FrameError("the answer is of another form")
        return Standing(link, protocol, bool(connected), clock_ms, roster, said.decode("ascii"))

"""The question at the door: one form, and every other bytes refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privacy.link.framing import FrameError, Hello
from privacy.link.inquiry import INQUIRY, RELEASE_BYTES, Standing, is_inquiry

STANDING = Standing(2, 1, True, 1_772_366_400_000, bytes(range(32)), "0.1.0")
WORDS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=RELEASE_BYTES)


@given(
    st.builds(
        Standing,
        st.integers(0, 2**16 - 1),
        st.integers(0, 2**16 - 1),
        st.booleans(),
        st.integers(0, 2**64 - 1),
        st.binary(min_size=32, max_size=32),
        WORDS,
    )
)
def test_what_is_told_comes_back(standing: Standing) -> None:
    assert Standing.decode(standing.encode()) == standing


@given(st.binary(max_size=160) | st.binary(max_size=60).map(lambda tail: b"\x05" + tail))
def test_any_bytes_are_a_standing_of_one_form_or_refused(data: bytes) -> None:
    try:
        standing = Standing.decode(data)
    except FrameError:
        return
    assert standing.encode() == data


@pytest.mark.parametrize(
    "spoiled",
    [
        b"",
        STANDING.encode()[:-5],
        b"\x04" + STANDING.encode()[1:],
        STANDING.encode()[:5] + b"\x02" + STANDING.encode()[6:],
        STANDING.encode() + b"\x1b[2J",
        STANDING.encode() + b"x" * RELEASE_BYTES,
    ],
)
def test_a_spoiled_answer_is_refused(spoiled: bytes) -> None:
    with pytest.raises(FrameError):
        Standing.decode(spoiled)


def test_a_question_is_no_greeting_and_a_greeting_no_question() -> None:
    assert is_inquiry(INQUIRY)
    assert is_inquiry(b"\x04\xff\xff")
    for frame in (b"", b"\x04", INQUIRY + b"\x00", Hello(bytes(range(1, 17)), None, 0).encode()):
        assert not is_inquiry(frame)
    with pytest.raises(FrameError):
        Hello.decode(INQUIRY)

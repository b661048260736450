"""Canonical JSON: fixed bytes, and nothing else is read back."""

import tracemalloc
from collections.abc import Callable

import pytest

from privacy.ledgers.ledger import LedgerBroken
from privacy.ledgers.ledger_export import MAXIMUM_EXPORT_BYTES, read_sealed
from privacy.link.canonical import NotCanonicalError, canonical, each_line, parse_canonical, sha256_hex


def test_bytes_of_the_rfc() -> None:
    # RFC 8785, section 3.2.2 and appendix B, shortened.
    value = {
        "numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 1e-27],
        "literals": [None, True, False],
        "\u20ac": "\n",
    }
    assert (
        canonical(value)
        == '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"€":"\\n"}'.encode()
    )


def test_hash_of_empty() -> None:
    assert sha256_hex(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), 1 << 60, {1: 2}, b"x", {"a": {3}}, "\ud800", {"\ud800": 1}]
)
def test_what_has_no_form_is_refused(value: object) -> None:
    with pytest.raises(NotCanonicalError) as caught:
        canonical(value)
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    "data",
    [
        b'{"b":1,"a":2}',
        b'{"a": 1}',
        b'{"a":1}\n',
        b'{"a":1,"a":1}',
        b'{"a":1.0}',
        b"[NaN]",
        b"\xff",
        b"[" * 100_000,
        b"1e400",
        b'{"\\ud800":1}',
        b'{"\xed\xa0\x80":1}',
        b"",
    ],
)
def test_other_bytes_of_a_value_are_refused(data: bytes) -> None:
    with pytest.raises(NotCanonicalError):
        parse_canonical(data)


def test_length_is_bounded_before_parsing() -> None:
    with pytest.raises(NotCanonicalError, match="at most 3"):
        parse_canonical(b"[1,2]", max_bytes=3)


def peak(work: Callable[[], object]) -> int:
    """Bytes that `work`, which must be refused, takes at most."""
    tracemalloc.start()
    try:
        with pytest.raises((NotCanonicalError, LedgerBroken)):
            work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("value", [b"[]", b'{"a":0}', b'"ab"', b"999"])
def test_memory_is_bounded_whatever_the_bytes_are(value: bytes) -> None:
    data = b"[" + b",".join([value] * ((4 << 20) // (len(value) + 1))) + b"]"
    assert peak(lambda: parse_canonical(data)) < len(data)


def test_lines_are_read_one_at_a_time() -> None:
    data = b"\n" * (2 << 20)
    assert peak(lambda: read_sealed(data, bytes(32))) < 2 * len(data)
    with pytest.raises(LedgerBroken, match="at most"):
        read_sealed(b"\n" * (MAXIMUM_EXPORT_BYTES + 1), bytes(32))
    assert list(each_line(b"")) == []
    assert list(each_line(b"a\n\nb")) == list(each_line(b"a\n\nb\n")) == [b"a", b"", b"b"]
    assert list(each_line(b"a\nb\nc\n", 2)) == [b"a"]


def test_round_trip() -> None:
    value = {"a": [1, 2.5, "x", None, {"b": True}]}
    assert parse_canonical(canonical(value)) == value

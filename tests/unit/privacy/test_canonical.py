"""Canonical JSON: fixed bytes, and nothing else is read back."""

import pytest

from privacy.canonical import NotCanonicalError, canonical, parse_canonical, sha256_hex


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


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1 << 60, {1: 2}, b"x", {"a": {3}}])
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
        b"",
    ],
)
def test_other_bytes_of_a_value_are_refused(data: bytes) -> None:
    with pytest.raises(NotCanonicalError):
        parse_canonical(data)


def test_length_is_bounded_before_parsing() -> None:
    with pytest.raises(NotCanonicalError, match="at most 3"):
        parse_canonical(b"[1,2]", max_bytes=3)


def test_round_trip() -> None:
    value = {"a": [1, 2.5, "x", None, {"b": True}]}
    assert parse_canonical(canonical(value)) == value

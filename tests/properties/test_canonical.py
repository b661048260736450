"""The quick way to canonical JSON writes what the library writes, and refuses what it refuses."""

from typing import Any

import rfc8785
from hypothesis import example, given, settings
from hypothesis import strategies as st

from privacy.link.canonical import NotCanonicalError, canonical

TEXTS = st.text(max_size=6) | st.text(st.characters(max_codepoint=0x80), max_size=6)
# Where the two ways of spelling a number part, and what lies between.
NUMBERS = (
    st.floats()
    | st.floats(1e-8, 1e-3)
    | st.floats(1e14, 1e23)
    | st.integers(-(1 << 54), 1 << 54)
    | st.integers(-(1 << 54), 1 << 54).map(float)
    | st.sampled_from(
        [1e-4, 9.999e-5, 1e-5, 1e-6, 1e-7, 1e15 + 0.5, 1e16, 1e21, 2.0**53, -0.0, 0.1, 333333333.33333329]
    )
)
SCALARS = st.none() | st.booleans() | TEXTS | NUMBERS
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(
            TEXTS | st.sampled_from(["\ue000", "\U0001f600", "a", "B", "\x7f"]), inner, max_size=5
        )
        | st.dictionaries(st.integers() | st.booleans() | st.none(), inner, max_size=1)
    ),
    max_leaves=12,
)


@settings(max_examples=100)
@given(VALUES)
@example({"\ue000": 1, "\U0001f600": 2})
@example(
    {
        "b": 1.0,
        "a": [-0.0, 1e-5, 5e-324, 1.5, 2.0**53, 2**53 - 1, 1e16],
        "": {},
        "\x7f": '\x00\x1f"\\/\b\f\n\r\t\x7f',
    }
)
@example([2**53])
@example({1: 2})
@example("\ud800")
def test_both_ways_are_one(value: Any) -> None:
    try:
        expected: bytes | None = rfc8785.dumps(value)
    except rfc8785.CanonicalizationError:
        expected = None
    try:
        assert canonical(value) == expected
    except NotCanonicalError:
        assert expected is None

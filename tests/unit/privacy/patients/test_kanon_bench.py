"""The anonymity benchmark runs and prints what the design's table asks for."""

from tests.bench.kanon import lines


def test_every_method_has_a_line() -> None:
    found = list(lines(20_000))
    assert [line.method for line in found] == ["k", "l", "t", "threshold", "level", "mondrian"]
    assert [line.rows for line in found] == [20_000] * 5 + [2_000]
    assert all(line.seconds > 0 for line in found)

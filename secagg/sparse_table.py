"""How many neighbors are enough: the failure probabilities of SPEC.md, section 10, computed exactly.

Hospitals stand on a ring in a random order that nobody chose; the neighbors of one are the k/2 before and the k/2 behind it.
Everything below is an exact hypergeometric tail times the number of places where the event may happen (union bound), as a
fraction of integers. `python -m secagg.sparse_table` prints the table.
"""

from __future__ import annotations

import functools
import sys
from fractions import Fraction
from math import comb, log2

# A hospital helps to draw at most so many graphs in a study: who does not like one and breaks it off gets no more than these.
# A graph of use needs more than half of the honest hospitals, so that there are fewer than twice as many in all.
GRAPHS_PER_HOSPITAL = 8
GRAPHS_PER_STUDY = 2 * GRAPHS_PER_HOSPITAL
STUDY_FAILURE = Fraction(1, 1 << 40)
GRAPH_FAILURE = STUDY_FAILURE / GRAPHS_PER_STUDY


def tail(population: int, marked: int, drawn: int, least: int) -> Fraction:
    """P(at least `least` marked ones among `drawn` of a population), without replacement."""
    most = min(marked, drawn)
    ways = sum(comb(marked, i) * comb(population - marked, drawn - i) for i in range(max(least, 0), most + 1))
    return Fraction(ways, comb(population, drawn))


def two_arcs(n: int, colluding: int, length: int, least: int) -> Fraction:
    """P(each of two fixed disjoint arcs of the ring, `length` places long, holds at least `least` corrupted hospitals)."""
    reach = range(max(least, 0), min(length, colluding) + 1)
    inside = {number: comb(length, number) for number in reach}
    both: dict[int, int] = {}
    for one in reach:
        for other in reach:
            both[one + other] = both.get(one + other, 0) + inside[one] * inside[other]
    outside = n - 2 * length
    ways = sum(count * comb(outside, colluding - held) for held, count in both.items() if held <= colluding)
    return Fraction(ways, comb(n, colluding))


def neighborhood_failure(n: int, colluding: int, degree: int, threshold: int) -> Fraction:
    """Bound for: some honest hospital has 2 t_k - k or more corrupted neighbors, so that t_k <= (k + c) / 2."""
    return (n - colluding) * tail(n - 1, colluding, degree, 2 * threshold - degree)


def arc_failure(n: int, colluding: int, degree: int, threshold: int) -> Fraction:
    """Bound for: two disjoint arcs of k/2 places, apart from each other on both sides, each t_k - k/2 or more corrupted."""
    pairs = Fraction(n * max(n - degree - 1, 0), 2)
    if not pairs:
        return Fraction(0)
    return pairs * two_arcs(n, colluding, degree // 2, threshold - degree // 2)


@functools.lru_cache(maxsize=256)
def security_failure(n: int, colluding: int, degree: int, threshold: int) -> Fraction:
    """Bound for the probability that one graph lets the adversary learn more than one sum, or a smaller one.

    Args:
        n: hospitals on the roster, at least degree + 1.
        colluding: T, fixed before the graph is drawn.
        degree: k, even.
        threshold: t_k, from k/2 to k.
    """
    return neighborhood_failure(n, colluding, degree, threshold) + arc_failure(
        n, colluding, degree, threshold
    )


def correctness_failure(n: int, dropped: int, degree: int, threshold: int) -> Fraction:
    """Bound for: of so many silent hospitals, fixed without a look at the graph, some other loses more than k - t_k neighbors.

    That one refuses to agree and is left out of the sum; nobody learns anything.
    """
    return (n - dropped) * tail(n - 1, dropped, degree, degree - threshold + 1)


def smallest_threshold(n: int, colluding: int, degree: int) -> int | None:
    """The smallest t_k with `security_failure` at most 2**-44 in one graph; None if k itself is not enough."""
    low, high = degree // 2 + 1, degree + 1
    while low < high:
        middle = (low + high) // 2
        if security_failure(n, colluding, degree, middle) <= GRAPH_FAILURE:
            high = middle
        else:
            low = middle + 1
    return low if low <= degree else None


def smallest_degree(n: int, colluding: int, dropped: int, correctness: Fraction) -> tuple[int, int] | None:
    """The smallest even k, and t_k, within both bounds; None if the complete graph is all that is left."""
    for degree in range(2, n, 2):
        threshold = smallest_threshold(n, colluding, degree)
        if threshold and correctness_failure(n, dropped, degree, threshold) <= correctness:
            return degree, threshold
    return None


def bits(failure: Fraction) -> float:
    """Minus the binary logarithm of a probability."""
    return log2(failure.denominator) - log2(failure.numerator) if failure else float("inf")


def rows() -> list[str]:
    """The table of SPEC.md, section 10.6, as Markdown."""
    lines = []
    for n in (100, 300, 1000):
        for colluding in (n // 5, n // 3):
            for correctness in (20, 40):
                found = smallest_degree(n, colluding, n // 10, Fraction(1, 1 << correctness))
                if found is None:
                    continue
                degree, threshold = found
                figures = (
                    neighborhood_failure(n, colluding, degree, threshold),
                    arc_failure(n, colluding, degree, threshold),
                    correctness_failure(n, n // 10, degree, threshold),
                )
                cells = [n, colluding, (n + colluding) // 2 + 1, f"2^-{correctness}", degree, threshold]
                lines.append("| " + " | ".join([*map(str, cells), *map(_power, figures)]) + " |")
    return lines


def _power(failure: Fraction) -> str:
    return f"2^-{bits(failure):.1f}" if failure else "0"


if __name__ == "__main__":
    sys.stdout.write("\n".join(rows()) + "\n")

"""Which graph of secure aggregation a study chooses, and how many neighbors follow from it (secagg/SPEC.md, section 10.6).

The rule is public: hospital and coordinator derive the same numbers from the same study file, and both are in the agreement.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import ceil, floor

from privacy.studies.study_sections import SecureAggregation
from secagg.errors import ParameterError
from secagg.params import MAX_HOSPITALS, Neighborhood, check_neighborhood
from secagg.sparse_table import (
    GRAPHS_PER_STUDY,
    bits,
    correctness_failure,
    security_failure,
    smallest_degree,
)

SPARSE = "sparse"
DEFAULT_DROPOUT = 0.10
# A hospital that loses too many neighbors is left out of the sum: rare enough never to be seen, for the silence declared.
CORRECTNESS = Fraction(1, 1 << 40)
# Below, everybody masks against everybody in less time than the sparse graph's further trip may take.
WORTH_FROM = 100


@dataclass(frozen=True, slots=True)
class GraphFacts:
    """The sparse graph of a study in numbers, as `price`, `lint` and the assessment show it.

    Attributes:
        neighbors: k. neighbor_threshold: t_k. hospitals: n. colluding: T.
        silent: hospitals that may be silent, chosen without a look at the graph.
        security_bits: the adversary learns more than one sum in a study with probability 2**-security_bits at most; None: never.
        correctness_bits: that many silent ones cost another hospital its place in one graph's sums with probability
            2**-correctness_bits at most; None: never.
    """

    neighbors: int
    neighbor_threshold: int
    hospitals: int
    colluding: int
    silent: int
    security_bits: float | None
    correctness_bits: float | None

    def to_json(self) -> dict[str, object]:
        """Plain JSON value."""
        return {
            "graph": SPARSE,
            "neighbors": self.neighbors,
            "neighbor_threshold": self.neighbor_threshold,
            "hospitals": self.hospitals,
            "colluding": self.colluding,
            "silent": self.silent,
            "security_failure_bits": self.security_bits,
            "correctness_failure_bits": self.correctness_bits,
        }

    def sentence(self) -> str:
        """What people should know before they agree to it."""
        return (
            f"sparse graph: each of {self.hospitals} hospitals masks against {self.neighbors} random neighbors and needs "
            f"{self.neighbor_threshold} of them; short of broken cryptography, the chance that the coordinator and {_some(self.colluding)} "
            f"that collude with it, chosen before the graph is drawn, learn more than one sum of a round is {_chance(self.security_bits)} "
            f"over all graphs of the study; that {_some(self.silent)} that are silent cost another one its place in a sum, "
            f"{_chance(self.correctness_bits)} in each graph"
        )


def choose(section: SecureAggregation, n: int, colluding: int) -> Neighborhood | None:
    """k and t_k of a section that `problem` found nothing wrong with; None for the complete graph."""
    if section.graph != SPARSE:
        return None
    if section.neighbors is not None and section.neighbor_threshold is not None:
        return Neighborhood(section.neighbors, section.neighbor_threshold)
    found = _derived(n, colluding, silent(section, n))
    return None if found is None else Neighborhood(*found)


def facts(section: SecureAggregation, n: int, colluding: int) -> GraphFacts | None:
    """What `choose` comes to; None for the complete graph."""
    chosen = choose(section, n, colluding)
    if chosen is None:
        return None
    quiet = silent(section, n)
    security = GRAPHS_PER_STUDY * security_failure(n, colluding, chosen.degree, chosen.threshold)
    correctness = correctness_failure(n, quiet, chosen.degree, chosen.threshold)
    likely = min(correctness, Fraction(1))
    return GraphFacts(chosen.degree, chosen.threshold, n, colluding, quiet, _bits(security), _bits(likely))


def silent(section: SecureAggregation, n: int) -> int:
    """D: the declared share of hospitals that may be silent in a round, at least one."""
    return max(1, ceil(n * (DEFAULT_DROPOUT if section.dropout is None else section.dropout)))


def problem(section: SecureAggregation, n: int, colluding: int, threshold: int) -> str:
    """What is wrong with the section in a consortium of this size, one sentence with the remedy; "" for nothing."""
    given = [
        key for key in ("dropout", "neighbors", "neighbor_threshold") if getattr(section, key) is not None
    ]
    if section.graph != SPARSE:
        return (
            f"[secure_aggregation] {given[0]} is for graph = 'sparse'; leave it out or ask for that graph"
            if given
            else ""
        )
    if n > MAX_HOSPITALS:
        return f"[cohort] hospitals lists {n}; secure aggregation takes {MAX_HOSPITALS} at most"
    if (section.neighbors is None) != (section.neighbor_threshold is None):
        return "[secure_aggregation] neighbors and neighbor_threshold go together; give both or neither"
    quiet = silent(section, n)
    if n - quiet < threshold:
        return (
            f"[secure_aggregation] {quiet} silent hospitals leave {n - quiet} of {n}, and every sum needs {threshold}; "
            "declare a smaller dropout or keep the complete graph"
        )
    if section.neighbors is not None and section.neighbor_threshold is not None:
        return _explicit_problem(Neighborhood(section.neighbors, section.neighbor_threshold), n, colluding)
    found = _derived(n, colluding, quiet)
    if found is None or found[0] >= n - 1:
        return (
            f"[secure_aggregation] graph = 'sparse' is for larger consortia: with {n} hospitals, colluding = {colluding} and {quiet} "
            "silent nobody can be spared as a neighbor; leave graph out, the complete graph is as good"
        )
    return ""


def remark(found: GraphFacts) -> str:
    """What `lint` says of a graph that is legal."""
    small = (
        f"; below about {WORTH_FROM} hospitals the complete graph saves a trip in every round and needs no such bound"
        if found.hospitals < WORTH_FROM
        else ""
    )
    permitted = "; each hospital's policy.toml has to permit it (allow_sparse_graph), which none does unless it says so"
    return f"[secure_aggregation] {found.sentence()}{permitted}{small}"


def _explicit_problem(chosen: Neighborhood, n: int, colluding: int) -> str:
    where = f"[secure_aggregation] neighbors = {chosen.degree}, neighbor_threshold = {chosen.threshold}"
    if chosen.degree >= n - 1:
        return f"{where}: of {n} hospitals that is everybody; leave graph out, the complete graph is as good"
    try:
        check_neighborhood(n, colluding, chosen)
    except ParameterError as error:
        return f"{where}: not safe ({error}); leave both out, and the rule takes enough"
    return ""


@lru_cache(maxsize=64)
def _derived(n: int, colluding: int, quiet: int) -> tuple[int, int] | None:
    """Smallest k, then t_k; the search takes seconds at a thousand hospitals."""
    return smallest_degree(n, colluding, quiet, CORRECTNESS)


def _bits(failure: Fraction) -> float | None:
    return None if failure == 0 else floor(10 * bits(failure)) / 10


def _some(count: int) -> str:
    return "1 hospital" if count == 1 else f"{count} hospitals"


def _chance(failure_bits: float | None) -> str:
    match failure_bits:
        case None:
            return "zero"
        case 0.0:
            return "not small"
        case _:
            return f"at most 2^-{failure_bits:.1f}"

"""`python -m tests.bench.scale --json`: one round of 1,000 hospitals over the sparse graph, in one process.

Every hospital is the real machine: advert, contribution, graph, order, upload, agree, sign, open; a tenth never uploads. The sum
is compared with that of the vectors. Declared: hospitals run one after the other in one process. What is a pure function of
public bytes that all of them get is computed once and kept: whether a signature verifies (a real hospital checks those of its
neighbors' adverts and headers and of a threshold of signers itself), what the key list says, and the graph with its contributions.
`--no-cache` does all of it for each. Nothing else is shared or left out.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import resource
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from time import perf_counter, process_time
from typing import TypeVar
from unittest.mock import patch

import numpy as np

from secagg import collecting, identity, joining
from secagg import coordinator as co
from secagg import hospital as ho
from secagg.masks import Ring, Speed
from secagg.params import Neighborhood, SecAggParams, default_threshold
from secagg.sparse_table import smallest_threshold
from tests.unit.secagg.rounds import Consortium, entropy, exact_sum, names, vector_of

T = TypeVar("T")

# Of the table of SPEC.md, section 10.6, for T = n/5; other sizes are looked up.
TABLE = {1000: Neighborhood(190, 138)}


@dataclass(frozen=True, slots=True)
class Line:
    """One run; seconds of wall time (and of CPU, which another load does not stretch), memory of the process at its peak."""

    hospitals: int
    colluding: int
    degree: int
    neighbor_threshold: int
    coordinates: int
    dropped: int
    seconds: float
    cpu_seconds: float
    join_seconds: float
    upload_seconds: float
    agree_seconds: float
    open_seconds: float
    unmask_seconds: float
    peak_rss_mib: float
    exact: bool
    cached: bool
    signature_checks: int
    signature_checks_done: int


@contextmanager
def public_bytes_read_once(cached: bool) -> Iterator[dict[str, int]]:
    """The declared cache; what is refused is refused each time. Counts signature checks, asked for and done."""
    counts, real = {"asked": 0, "done": 0}, identity.verify
    good: set[tuple[bytes, ...]] = set()

    def verify(public: bytes, label: bytes, body: bytes, signature: bytes, **about: str) -> None:
        counts["asked"] += 1
        case = (public, label, body, signature)
        if not cached or case not in good:
            counts["done"] += 1
            # The process keeps good ones itself; here every check that is counted is one.
            identity._check.cache_clear()
            real(public, label, body, signature)
            good.add(case)

    with patch.object(identity, "verify", verify), ExitStack() as stack:
        if cached:
            shared = {
                "read_listed": _once(joining.read_listed),
                "draw_participants": _once(joining.draw_participants),
            }
            for module, (name, function) in itertools.product((joining, collecting), shared.items()):
                stack.enter_context(patch.object(module, name, function))
        yield counts


def _once(function: Callable[..., T]) -> Callable[..., T]:
    """The function, with its last result kept; arguments are compared by value."""
    last: list[tuple[tuple[object, ...], T]] = []

    def kept(*arguments: object) -> T:
        if not last or last[0][0] != arguments:
            last[:] = [(arguments, function(*arguments))]
        return last[0][1]

    return kept


def parameters(hospitals: int, colluding: int, coordinates: int) -> SecAggParams:
    """The table's row, or k = n/2 with the threshold that it needs."""
    chosen = TABLE.get(hospitals)
    if chosen is None:
        degree = 2 * (hospitals // 4)
        threshold = smallest_threshold(hospitals, colluding, degree)
        assert threshold is not None
        chosen = Neighborhood(degree, threshold)
    return SecAggParams(
        hospitals, colluding, default_threshold(hospitals, colluding), 32, coordinates, chosen
    )


def measure(hospitals: int, colluding: int, coordinates: int, cached: bool = True) -> Line:
    """One round."""
    params = parameters(hospitals, colluding, coordinates)
    assert params.neighborhood is not None
    everybody = names(hospitals)
    gone = frozenset(everybody[5::10])
    clock, cpu = [perf_counter()], process_time()
    with public_bytes_read_once(cached) as checks:
        consortium = Consortium(params)
        clock.append(perf_counter())
        uploading, vectors = _uploads(consortium, [who for who in everybody if who not in gone])
        clock.append(perf_counter())
        settling = consortium.settle_all(consortium.agree_all(*co.propose(uploading)))
        clock.append(perf_counter())
        opening = consortium.open_all(*co.request_open(settling))
        clock.append(perf_counter())
        total = co.unmask(opening, vectors)
        clock.append(perf_counter())
    exact = exact_sum(params, [vector_of(who, 1, params) for who in opening.members])
    steps = [after - before for before, after in itertools.pairwise(clock)]
    return Line(
        hospitals,
        colluding,
        params.neighborhood.degree,
        params.neighborhood.threshold,
        coordinates,
        hospitals - len(opening.members),
        clock[-1] - clock[0],
        process_time() - cpu,
        *steps,
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        bool((total == exact).all()) and len(opening.members) == hospitals - len(gone),
        cached,
        checks["asked"],
        checks["done"],
    )


def _uploads(consortium: Consortium, present: Sequence[str]) -> tuple[co.Uploading, dict[str, Ring]]:
    """Every vector on its way to the coordinator, which keeps the masked ones in memory here."""
    uploading, vectors = consortium.order(1, consortium.hospitals), {}
    for who in present:
        state = consortium.hospitals[who]
        assert isinstance(state, ho.Ordered)
        vector = vector_of(who, 1, consortium.params)
        consortium.hospitals[who], sent = ho.upload(state, vector, entropy("upload", who), Speed(threads=1))
        digest = hashlib.sha256(sent.vector).digest()
        uploading = co.add_upload(uploading, who, sent.header, sent.seals, digest)
        vectors[who] = np.frombuffer(sent.vector, dtype=consortium.params.ring)
    return uploading, vectors


def main(arguments: Sequence[str]) -> int:
    """Print the run; 1 if the sum is not exact."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.scale", description=__doc__)
    parser.add_argument("--json", action="store_true", help="JSON lines on standard output")
    parser.add_argument("--hospitals", type=int, default=1000)
    parser.add_argument("--colluding", type=int)
    parser.add_argument("--coordinates", type=int, default=10_000)
    parser.add_argument("--no-cache", action="store_true", help="every hospital does its own checks")
    asked = parser.parse_args(arguments)
    colluding = asked.hospitals // 5 if asked.colluding is None else asked.colluding
    line = measure(asked.hospitals, colluding, asked.coordinates, not asked.no_cache)
    if asked.json:
        print(json.dumps(asdict(line)), flush=True)
    print(
        f"{line.hospitals} hospitals, k = {line.degree}, t_k = {line.neighbor_threshold}, {line.dropped} dropped, "
        f"{line.coordinates} coordinates: {line.seconds:.0f} s, {line.peak_rss_mib:.0f} MiB, "
        f"sum {'exact' if line.exact else 'WRONG'}; {line.signature_checks_done} of {line.signature_checks} "
        "signature checks done, the others were repeats in this process",
        file=sys.stderr,
        flush=True,
    )
    return 0 if line.exact else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

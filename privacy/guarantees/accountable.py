"""Whether somebody else's list of charges can be accounted for in reasonable time and memory, decided before it is tried.

A ledger is written by one hospital and read by everybody: a charge with next to no noise would make each reader's accountant tabulate
a grid without end. What is refused here has a loss so large that its number would mean nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from privacy.guarantees.accounting import renyi_epsilon
from privacy.guarantees.composition import RDP_ORDERS, gaussian_mu, merged
from privacy.guarantees.plan import Charge, vectors

LARGEST_EPSILON = 200.0
# Row sensitivity over noise of one step: a full batch is exact at any size below the first, a sampled step is tabulated.
LARGEST_RATIO = 20.0
LARGEST_MIXTURE_RATIO = 4.0
LARGEST_MIXTURE_ROWS = 50
MOST_KINDS = 200
REFERENCE_DELTA = 1e-5
REFERENCE_ORDER = int(RDP_ORDERS[0])


def accounting_problem(charges: Sequence[Charge]) -> str:
    """Why the accountant is not asked about these charges; "" where it can be. Stages are added, not tabulated."""
    everything = merged(charges)
    if len(everything) > MOST_KINDS:
        return f"it holds {len(everything)} different kinds of charges, more than the {MOST_KINDS} that are accounted for"
    kinds = vectors(everything)
    for release in kinds:
        ratio, mixture = release.sensitivity_rows / release.noise_multiplier, release.sensitivity_rows > 1
        limit = LARGEST_MIXTURE_RATIO if mixture and release.kind == "poisson_gaussian" else LARGEST_RATIO
        if ratio > limit or release.sensitivity_rows > LARGEST_MIXTURE_ROWS:
            return f"release {release.name!r} is charged with too little noise to be accounted for"
    mu = gaussian_mu(kinds)
    loss = renyi_epsilon(kinds, REFERENCE_DELTA, REFERENCE_ORDER) if mu is None else mu * mu / 2
    if not loss < LARGEST_EPSILON:
        return f"its charges add up to a loss beyond epsilon {LARGEST_EPSILON:g}, which is not accounted for"
    return ""

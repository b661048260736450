"""A round's patients made ready for many private steps: what no step changes is computed once."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from hospital_node.survival.follow_up import FollowUp
from privacy.noise.whole import Whole, factor_bits, unusual
from privacy.studies.grid import FloatArray


@dataclass(frozen=True, slots=True, repr=False)
class Prepared:
    """Patients on a time grid, columns in whole units. It never prints: every row is a patient.

    Attributes:
        columns: (n, d), or (n, d + 1) with a last column of ones; truncated to 2**-bits, which is all a private step sees.
        exposure: (n, K). events: (n, K).
        bits: sums are of 2**bits units per clip.
    """

    columns: Whole
    exposure: FloatArray
    events: FloatArray
    bits: int

    @classmethod
    def of(cls, patients: FollowUp, *, constant: bool, bits: int) -> Self:
        """Ready for sums of 2**bits units per clip; a patient with a column that no dictionary permits is never at risk and counts as nothing.

        Args:
            patients: of the hospital, all of them.
            constant: whether a column of ones is added.
            bits: the plan's.
        """
        x, exposure, events = patients.x, patients.exposure, patients.events
        strange = unusual(x)
        if strange is not None:
            x, exposure, events = (np.where(strange[:, None], 0.0, part) for part in (x, exposure, events))
        columns = Whole.of(x, factor_bits(bits, x.shape[1] + constant), constant=constant)
        return cls(columns, exposure, events, bits)

    def among(self, places: NDArray[np.intp]) -> Self:
        """The patients at these places."""
        return type(self)(
            self.columns.take(places),
            self.exposure.take(places, axis=0),
            self.events.take(places, axis=0),
            self.bits,
        )

"""What a hospital tells of its own noise once a sum is open that needs less of it: once, for one set, from memory.

The condition is that of giving shares: all members signed the set, it is the last that this hospital signed, and its state on disk says that
it opened (secagg/SPEC.md, 7.4 and 9). Nothing here is stored: a hospital that crashed leaves its noise in.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from privacy.noise.noise_layers import spare_part
from privacy.studies.agreement import Agreement
from secagg.agreed_set import member_headers, read_set
from secagg.fixed_point import to_ring
from secagg.pairs import RoundFrame
from secagg.states import Opened
from secagg.wire import codec


@dataclass(frozen=True, slots=True)
class SpareNoise:
    """The layers of the noise in one upload.

    Attributes:
        frame: session, round and order of the upload.
        layers: (layers, length), the one that is always kept first; as secret as the exact sum.
        fewest: t, hospitals in the smallest sum that is opened.
        modulus_bits: ring of one coordinate.
    """

    frame: RoundFrame
    layers: NDArray[np.int64] = field(repr=False)
    fewest: int
    modulus_bits: int

    def told(self, opened: Opened) -> tuple[bytes, ...]:
        """The messages for the set that was opened; none where it needs all of the noise, where the round is another, or over a sparse graph."""
        if opened.frame.context != self.frame.context or opened.frame.round != self.frame.round:
            return ()
        if opened.after.seat.params.neighborhood is not None:
            # There a set opens without the signatures of all its members, on which the proof rests.
            return ()
        members = member_headers(read_set(opened.agreed_set, opened.after.seat.params))
        if len(members) <= self.fewest:
            return ()
        noise = to_ring(spare_part(self.layers, len(members) - self.fewest), self.modulus_bits)
        return tuple(codec.noise_chunks(self.frame.round, noise.tobytes()))


def spare_of(frame: RoundFrame, layers: NDArray[np.int64] | None, agreement: Agreement) -> SpareNoise | None:
    """What an upload's noise can be told of later; None where it has one layer."""
    if layers is None:
        return None
    return SpareNoise(frame, layers, agreement.threshold, agreement.modulus_bits)

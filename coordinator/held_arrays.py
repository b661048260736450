"""Arrays of Flower's that stay in this process: the values themselves, which become bytes only where somebody asks for them.

Flower's own `Array` writes a .npy file into memory when it is made and reads it again for every `numpy()`; between a strategy and
`SecureGrid` nothing travels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord
from numpy.typing import NDArray

# Name of the one array of every record.
ARRAY = "theta"


class HeldArray(Array):  # type: ignore[misc]  # flwr is checked as Any
    """An `Array` made of values; its fields (dtype, shape, stype, data) are made whenever they are read, and are those of `Array(values)`."""

    def __init__(self, values: NDArray[np.float64]) -> None:
        """Take the values; the caller does not write to them afterwards."""
        held = values.view()
        held.flags.writeable = False
        self.__dict__["_held"] = held

    def __getattr__(self, name: str) -> Any:
        """Flower's fields, which this object does not have."""
        if name not in ("dtype", "shape", "stype", "data"):
            raise AttributeError(name)
        return getattr(Array(self.__dict__["_held"]), name)

    def numpy(self) -> NDArray[np.float64]:
        """The values, read-only."""
        held: NDArray[np.float64] = self.__dict__["_held"]
        return held


def record_of(values: NDArray[np.float64]) -> ArrayRecord:
    """A record that holds one array. Flower's constructor would copy it into an `Array` of its own."""
    record = ArrayRecord()
    record[ARRAY] = HeldArray(values)
    return record


def values_of(record: ArrayRecord) -> NDArray[np.float64]:
    """The values of the one array, of any kind of `Array`; to be read only."""
    return np.asarray(record[ARRAY].numpy(), dtype=np.float64)

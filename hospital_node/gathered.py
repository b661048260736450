"""One column of a table while its pieces come in, in one array that is as long as the file can need.

Parts that are joined at the end would take twice the column, and what they leave behind stays with the process.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hospital_node.cell_faults import kinds_of, problem_of
from hospital_node.cells import parse_cells
from hospital_node.findings import Finding, about
from privacy.patients.field import Field


@dataclass(slots=True, repr=False)
class Gathered:
    """One column; of wrong cells only kinds and numbers are kept.

    Attributes:
        field: the column's.
        room: rows that the file can hold at most; more are taken all the same.
        hashed: keep 64-bit hashes instead of the cells' texts (a patient id's).
    """

    field: Field
    room: int
    hashed: bool = False
    _values: NDArray[Any] | None = None
    _filled: int = 0
    _missing: int = 0
    _wrong: Counter[str] = dataclass_field(default_factory=Counter)
    _labels: pd.CategoricalDtype | None = None

    def add(self, cells: pd.Series) -> None:
        """The column's cells of the next piece."""
        parsed = parse_cells(self.field, cells)
        self._missing += parsed.missing
        self._wrong += kinds_of(self.field, parsed.wrong)
        if isinstance(parsed.typed.dtype, pd.CategoricalDtype):
            self._labels = parsed.typed.dtype
            self._append(parsed.typed.cat.codes.to_numpy())
        elif self.hashed:
            self._append(pd.util.hash_array(parsed.typed.to_numpy(dtype=object), categorize=False))
        else:
            self._append(parsed.typed.to_numpy())

    def typed(self) -> pd.Series:
        """The whole column, as `parse_cells` types it."""
        values = np.empty(0) if self._values is None else self._values[: self._filled]
        if self._labels is None:
            return pd.Series(values, copy=False)
        return pd.Series(pd.Categorical.from_codes(values, dtype=self._labels), copy=False)

    def findings(self) -> Iterator[Finding]:
        """What is wrong with its cells."""
        if self._missing and self.field.missing is None:
            covariate = self.field.is_covariate
            remedy = "have `missing` declared in the study" if covariate else "leave those patients out"
            remedy = f"fill it, or {remedy}"
            yield Finding("error", self.field.name, f"is empty {about(self._missing)}; {remedy}")
        if self._wrong:
            yield Finding("error", self.field.name, problem_of(self.field, self._wrong))

    def _append(self, values: NDArray[Any]) -> None:
        end = self._filled + len(values)
        if self._values is None:
            # Pages that are never written cost nothing.
            self._values = np.empty(max(self.room, end), dtype=values.dtype)
        elif end > len(self._values):
            self._values = np.concatenate([self._values[: self._filled], np.empty_like(values, shape=end)])
        self._values[self._filled : end] = values
        self._filled = end

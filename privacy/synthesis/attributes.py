"""The attributes of a synthetic patient: what is drawn for each field, in which cells, and how it is written as columns."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from privacy.patients.dictionary import Column, Dictionary
from privacy.patients.field import Field
from privacy.studies.grid import FloatArray, IntArray

# Equal parts of a number's public range, on its scale in the model.
NUMBER_CELLS = 8


@dataclass(frozen=True, slots=True)
class Attribute:
    """One histogram of the margins, and the columns of the design matrix that it fills.

    Attributes:
        field: that it belongs to.
        kind: "number", "category", "bool", or "missing" (whether the field's cell is empty).
        first: position of its first column.
        columns: its columns, in order.
        cells: of its histogram.
    """

    field: Field
    kind: Literal["number", "category", "bool", "missing"]
    first: int
    columns: tuple[Column, ...]
    cells: int

    @property
    def span(self) -> slice:
        """Its columns in the design matrix."""
        return slice(self.first, self.first + len(self.columns))


def attributes(dictionary: Dictionary) -> tuple[Attribute, ...]:
    """All attributes, in the order of the columns of the design matrix."""
    made: list[Attribute] = []
    position = 0
    for field in dictionary.covariates:
        main = tuple(column for column in field.columns if column.kind != "missing")
        kind: Literal["number", "category", "bool"] = "number"
        cells = NUMBER_CELLS
        if field.type == "category":
            kind, cells = "category", len(field.categories)
        elif field.type == "bool":
            kind, cells = "bool", 2
        made.append(Attribute(field, kind, position, main, cells))
        position += len(main)
        for absent in field.columns[len(main) :]:
            made.append(Attribute(field, "missing", position, (absent,), 2))
            position += 1
    return tuple(made)


def cell_of(attribute: Attribute, x: FloatArray) -> IntArray:
    """The cell of each patient, (n,), from the design matrix (n, d)."""
    own = x[:, attribute.span]
    match attribute.kind:
        case "number":
            cell = np.floor((own[:, 0] + 1) / 2 * attribute.cells)
            return np.clip(cell, 0, attribute.cells - 1).astype(np.int64)
        case "category":
            return np.where(own.max(axis=1, initial=0.0) > 0.5, own.argmax(axis=1) + 1, 0).astype(np.int64)
        case "bool" | "missing":
            return (own[:, 0] > 0.5).astype(np.int64)


def columns_of(attribute: Attribute, value: FloatArray) -> FloatArray:
    """Columns of the design matrix, (n, width), from values: scaled numbers in [-1, 1], category index, or 0/1."""
    if attribute.kind != "category":
        return value[:, None]
    levels = np.arange(1, attribute.cells)
    return np.asarray(value[:, None] == levels, dtype=np.float64)

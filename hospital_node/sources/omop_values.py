"""Values of OMOP measurements and observations: numbers in the declared unit, coded values as categories."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hospital_node.findings import about
from hospital_node.sources.concepts import Concepts
from hospital_node.sources.facts import Ints, Request, SourceError
from hospital_node.sources.units import scale_for, spoken

# operator_concept_id of "=", and of no operator.
_EQUALS = (0, 4172703)
_UNIT_PARTS = ["concept", "unit_id", "unit_code", "unit_source"]


def numbers_of(
    rows: pd.DataFrame, request: Request, concepts: Concepts
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Numbers in the declared unit (NaN without), and which rows have one that counts.

    Raises:
        SourceError: no number, a comparison sign, or a unit without a conversion.
    """
    number = rows["number"].to_numpy(dtype=np.float64)
    wrong = rows["value"].notna().to_numpy() & ~np.isfinite(number)
    if wrong.any():
        concept = concepts.spoken(int(rows["concept"].to_numpy()[wrong][0]))
        raise SourceError(
            request.name,
            f"{concept} has a value_as_number that is no number {about(int(wrong.sum()))}; correct the export",
        )
    valued = rows["value"].notna().to_numpy()
    compared = ~rows["operator"].fillna(0).isin(_EQUALS).to_numpy() & valued
    if compared.any() and request.comparator == "refuse":
        concept = concepts.spoken(int(rows["concept"].to_numpy()[compared][0]))
        raise SourceError(
            request.name,
            f"{concept} has values with a comparison sign (operator_concept_id) {about(int(compared.sum()))}; say comparator = 'as_value' or 'drop'",
        )
    if request.comparator == "drop":
        valued &= ~compared
    return _scaled(rows, number, valued, request, concepts), valued


def _scaled(
    rows: pd.DataFrame,
    number: NDArray[np.float64],
    valued: NDArray[np.bool_],
    request: Request,
    concepts: Concepts,
) -> NDArray[np.float64]:
    scaled = np.full(len(rows), np.nan)
    kinds = rows.loc[valued, _UNIT_PARTS].groupby(_UNIT_PARTS, dropna=False, sort=True).ngroup().to_numpy()
    place = np.flatnonzero(valued)
    for kind in range(int(kinds.max(initial=-1)) + 1):
        chosen = place[kinds == kind]
        first = rows.iloc[chosen[0]]
        found = _unit_texts(first)
        scale = scale_for(found, request.unit, request.convert)
        if scale is None:
            concept = concepts.spoken(int(first["concept"]))
            raise SourceError(
                "mapping",
                f"{concept} of {request.name} has {spoken(found)} for which no conversion is declared; add it to convert (declared unit: '{request.unit}')",
            )
        scaled[chosen] = number[chosen] * scale.factor + scale.offset
    return scaled


def _unit_texts(row: pd.Series) -> tuple[str, ...]:
    """Code, id; the source's own text only where no concept stands for the unit."""
    id_ = 0 if pd.isna(row["unit_id"]) else int(row["unit_id"])
    source = "" if pd.isna(row["unit_source"]) else str(row["unit_source"])
    if id_ == 0:
        return (source,) if source else ()
    code = "" if pd.isna(row["unit_code"]) else str(row["unit_code"])
    return (code, str(id_)) if code else (str(id_),)


def labels_of(rows: pd.DataFrame, request: Request, concepts: Concepts) -> Ints:
    """Position of each row's category by its coded value; -1 without one.

    Raises:
        SourceError: a coded value that neither value_map nor other covers.
    """
    labels = np.full(len(rows), -1, dtype=np.int64)
    values = rows["value_concept"].to_numpy(dtype=np.float64)
    for value in np.unique(values[~np.isnan(values)]):
        label = request.value_labels.get(str(int(value)), request.other)
        if label is None:
            raise SourceError(
                "mapping",
                f"value {concepts.spoken(int(value))} of {request.name} has no category in value_map; add it, or say other",
            )
        labels[values == value] = label
    return labels

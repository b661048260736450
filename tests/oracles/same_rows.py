"""Compares a flat table with rows that another script made."""

from typing import Any

import pandas as pd


def assert_same_rows(table: pd.DataFrame, expected: list[dict[str, Any]]) -> None:
    """Same rows in the same order; None is an empty cell; floats to 1e-9."""
    assert list(table.columns) == list(expected[0])
    assert len(table) == len(expected)
    for name in table.columns:
        for got, wanted in zip(table[name], [row[name] for row in expected], strict=True):
            if wanted is None:
                assert pd.isna(got), name
            elif isinstance(wanted, float):
                assert abs(got - wanted) < 1e-9, name
            else:
                assert got == wanted, name

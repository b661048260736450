"""Runs SDV in a process of its own: JSON on standard input, JSON on standard output. Imports nothing of this project.

SDV takes 13 s and more to import, prints and keeps a log of its own; none of that belongs into a hospital's process. The columns and their
public bounds come from the study's dictionary. Nothing is detected, and no minimum or maximum of the patients enters: SDV's
own bounds would repeat the most extreme patients.
"""

import json
import sys
import warnings
from typing import Any

import numpy as np
import pandas as pd

_TABLE = "patients"


def main() -> None:
    """One request: {"strata": [{"columns": {name: [...]}, "rows": n}], "kinds": {name: "number" | "category"}, "bounds": {name: [low, high]}}."""
    answer, sys.stdout = sys.stdout, sys.stderr
    warnings.simplefilter("ignore")
    request = json.load(sys.stdin)
    made = [
        sampled(pd.DataFrame(stratum["columns"]), stratum["rows"], request["kinds"], request["bounds"])
        for stratum in request["strata"]
    ]
    json.dump([{str(name): table[name].tolist() for name in table} for table in made], answer)


def sampled(
    patients: pd.DataFrame, rows: int, kinds: dict[str, str], bounds: dict[str, list[float]]
) -> pd.DataFrame:
    """`rows` synthetic patients of one stratum."""
    from copulas.univariate import TruncatedGaussian
    from sdv.metadata import Metadata
    from sdv.single_table import GaussianCopulaSynthesizer

    class PublicBounds(GaussianCopulaSynthesizer):  # type: ignore[misc]  # SDV has no types
        """SDV's synthesizer, its truncated normals between the dictionary's bounds instead of the patients' extremes."""

        def _get_numerical_distributions(self, processed_data: pd.DataFrame) -> dict[str, Any]:
            found: dict[str, Any] = super()._get_numerical_distributions(processed_data)
            for name, (low, high) in bounds.items():
                found[name] = TruncatedGaussian(minimum=low, maximum=high)
            return found

    constant = {name: patients[name].iloc[0] for name in patients if patients[name].nunique() == 1}
    varying = [name for name in patients if name not in constant]
    types = {"number": "numerical", "category": "categorical"}
    metadata = Metadata.load_from_dict(
        {
            "tables": {_TABLE: {"columns": {name: {"sdtype": types[kinds[name]]} for name in varying}}},
            "relationships": [],
        }
    )
    numbers = [name for name in varying if kinds[name] == "number"]
    synthesizer = PublicBounds(
        metadata,
        enforce_min_max_values=False,
        enforce_rounding=False,
        numerical_distributions=dict.fromkeys(numbers, "truncnorm"),
        default_distribution="truncnorm",
    )
    synthesizer.fit({_TABLE: patients[varying]})
    # SDV starts every sampling from the same state unless it is told otherwise.
    synthesizer._set_random_state(np.random.SeedSequence().generate_state(1)[0].item())
    table: pd.DataFrame = synthesizer.sample(rows)[_TABLE]
    for name, (low, high) in bounds.items():
        if name in varying:
            table[name] = table[name].clip(low, high)
    for name, value in constant.items():
        table[name] = value
    return table[list(patients)]


if __name__ == "__main__":
    main()

"""Public survival sets in five pretended hospitals: data from SurvSet (a bench extra, never vendored), dictionaries from `studies/`.

Folds are stratified on the event with random state 0. Hospitals are bands of age with a fifth of the patients mixed, so that they differ.
Everything that a study declares comes from the dictionary and from rounded public sizes.
"""

import tempfile
import tomllib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from deploy.baselines import CoxFit, fit_cox, pooled
from hospital_node.cohort import Cohort, build_cohort
from hospital_node.table import read_table
from privacy.studies.study import Study, parse_study

STUDIES = Path(__file__).parent / "studies"
HOSPITALS = ("a", "b", "c", "d", "e")
FOLDS = 5
MIXED = 0.2
SETS = tuple(sorted(path.stem for path in STUDIES.glob("*.toml")))


@dataclass(frozen=True)
class Split:
    """One fold.

    Attributes:
        study: with the declared sizes of this fold's training patients.
        tables: each hospital's training table, then test table, as text cells.
        train: each hospital's cohort. held_out: all test patients.
        cox: pooled Cox on the training patients.
    """

    study: Study
    tables: Mapping[str, tuple[pd.DataFrame, pd.DataFrame]]
    train: Mapping[str, Cohort]
    held_out: Cohort
    cox: CoxFit


def dictionary_of(name: str) -> dict[str, Any]:
    """The public dictionary of a set."""
    return tomllib.loads((STUDIES / f"{name}.toml").read_text(encoding="utf-8"))


def source(name: str) -> pd.DataFrame:
    """The set as text cells with the study's columns, one row a patient."""
    raw = _actg175(name) if name.startswith("ACTG175") else _from_survset(name)
    public = dictionary_of(name)
    table = pd.DataFrame({"patient": [f"P{i:06d}" for i in range(len(raw))]})
    days = raw["time"].astype(float) * public["days_per_unit"]
    # A patient who left on the day of entry was there for half of it.
    table["days"] = np.maximum(days, 0.5)
    table["event"] = raw["event"].astype(int)
    for number in public.get("number", []):
        values = raw[number["name"]].astype(float)
        table[number["name"]] = values.fillna(number.get("fill", np.nan)).clip(
            number["minimum"], number["maximum"]
        )
    for factor in public.get("factor", []):
        table[factor["name"]] = raw[factor["name"]].astype(str)
    return table


def _from_survset(name: str) -> pd.DataFrame:
    from SurvSet.data import SurvLoader

    frame: pd.DataFrame = SurvLoader().load_dataset(ds_name=name)["df"].reset_index(drop=True)
    return frame


def _actg175(name: str) -> pd.DataFrame:
    """The table that comes with lifelines, named as SurvSet names columns."""
    raw = pd.read_csv(str(files("lifelines").joinpath("datasets", "ACTG175.csv")))
    public = dictionary_of(name)
    wanted = [field["name"] for field in (*public["number"], *public["factor"])]
    columns = {column: raw[column.split("_", 1)[1]] for column in wanted}
    return pd.DataFrame({**columns, "time": raw["days"], "event": raw["cens"]})


def study_text(name: str, mode: str, epsilon: float, recipe: str, n_public: Mapping[str, int]) -> str:
    """The study file of a set."""
    public = dictionary_of(name)
    sizes = ", ".join(f"{hospital} = {size}" for hospital, size in n_public.items())
    parts = [
        f'[study]\nid = "{name}"\npurpose = "benchmark"\nhorizon_days = {public["horizon_days"]}',
        f"n_public = {{{sizes}}}",
        "[cohort]\nthreshold = 4\ncolluding = 1",
        f'[privacy]\nmode = "{mode}"\nepsilon = {epsilon:g}\ndelta = 1e-5',
        f'[model]\nfamily = "piecewise_exponential"\nrecipe = "{recipe}"',
        '[[field]]\nname = "patient"\ntype = "category"\nrole = "id"\npurpose = "benchmark"',
        '[[field]]\nname = "days"\ntype = "float"\nrole = "time"\nunit = "days"\npurpose = "benchmark"',
        '[[field]]\nname = "event"\ntype = "int"\nrole = "event"\npurpose = "benchmark"',
    ]
    for number in public.get("number", []):
        parts.append(
            f'[[field]]\nname = "{number["name"]}"\ntype = "float"\nrole = "feature"\npurpose = "benchmark"\n'
            f'minimum = {number["minimum"]}\nmaximum = {number["maximum"]}\nsource = "{number["source"]}"\n'
            f"log1p = {str(number.get('log1p', False)).lower()}"
        )
    for factor in public.get("factor", []):
        levels = ", ".join(f'"{level}"' for level in factor["levels"])
        parts.append(
            f'[[field]]\nname = "{factor["name"]}"\ntype = "category"\nrole = "feature"\npurpose = "benchmark"\n'
            f"categories = [{levels}]"
        )
    return "\n\n".join(parts)


def splits(
    name: str, mode: str, epsilon: float, recipe: str, folds: Collection[int] = range(FOLDS)
) -> Iterator[tuple[int, Split]]:
    """These folds of a set, ascending."""
    from sklearn.model_selection import StratifiedKFold

    table = source(name)
    cutter = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    for fold, (train, test) in enumerate(cutter.split(table, table["event"])):
        if fold in folds:
            yield fold, _split(name, mode, epsilon, recipe, table.iloc[train], table.iloc[test], fold)


def _split(
    name: str, mode: str, epsilon: float, recipe: str, train: pd.DataFrame, test: pd.DataFrame, fold: int
) -> Split:
    places = {"train": _hospital_of(train, fold), "test": _hospital_of(test, fold)}
    sizes = {h: _declared(int((places["train"] == h).sum())) for h in HOSPITALS}
    study = parse_study(study_text(name, mode, epsilon, recipe, sizes), name)
    tables = {h: (train[places["train"] == h], test[places["test"] == h]) for h in HOSPITALS}
    with tempfile.TemporaryDirectory() as folder:
        cohorts = {
            h: tuple(_cohort(part, Path(folder) / f"{h}{i}.csv", study) for i, part in enumerate(parts))
            for h, parts in tables.items()
        }
    trained = {h: pair[0] for h, pair in cohorts.items()}
    return Split(
        study,
        tables,
        trained,
        pooled([pair[1] for pair in cohorts.values()]),
        fit_cox(pooled(list(trained.values()))),
    )


def _cohort(part: pd.DataFrame, path: Path, study: Study) -> Cohort:
    part.to_csv(path, index=False)
    return build_cohort(read_table(path, study.dictionary), study.dictionary, study.horizon_days)


def _hospital_of(part: pd.DataFrame, fold: int) -> np.ndarray:
    """Bands of age, a fifth of the patients anywhere."""
    rng = np.random.default_rng(fold)
    rank = part["num_age"].rank(method="first").to_numpy() - 1
    place = (rank * len(HOSPITALS) / len(part)).astype(int)
    mixed = rng.random(len(part)) < MIXED
    place[mixed] = rng.integers(0, len(HOSPITALS), int(mixed.sum()))
    return np.array(HOSPITALS)[place]


def _declared(patients: int) -> int:
    """What a hospital would have said before extraction: the size to about five percent."""
    step = 10 ** max(1, len(str(patients)) - 2)
    return max(step, round(patients / step) * step)

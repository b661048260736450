"""The demo's data: a published HIV trial, cut into four pretended hospitals.

Provenance: AIDS Clinical Trials Group study 175, S. M. Hammer et al., "A trial comparing nucleoside monotherapy with
combination therapy in HIV-infected adults with CD4 cell counts from 200 to 500 per cubic millimeter", New England
Journal of Medicine 335 (1996), 1081-1090. The table of 2,139 patients comes with the lifelines package
(`lifelines/datasets/ACTG175.csv`, taken from the R package speff2trial). Real patients, public and without names.

Used: what was known at baseline. Never used: the index and `pidnum`, `zprior` (constant), `treat` (arms above 0), and
everything measured after baseline (`cd420`, `cd496`, `r`, `cd820`, `offtrt`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd

COVARIATES = ("age", "wtkg", "karnof", "cd40", "cd80", "preanti", "symptom", "hemo", "arms")
TIME, EVENT, PATIENT = "days", "cens", "patient"

HOSPITALS = ("north", "east", "south", "west")
# A hospital for each age band, [a, b) years, so that hospitals differ as real ones do ...
AGE_BANDS = (30, 35, 40)
# ... and one patient in five is treated anywhere.
MIXING = 0.2
HELD_OUT = 0.2
SEED = 175


class DemoDataMissing(Exception):
    """The lifelines package, which carries the table, is not installed."""

    def __init__(self) -> None:
        """Say how to install it."""
        super().__init__(
            "ACTG175.csv is not here: it comes with lifelines; install the extra wardround[study]"
        )


@dataclass(frozen=True, slots=True)
class Split:
    """One hospital's patients.

    Attributes:
        train: rows that the hospital trains on.
        test: rows held out, scored by the simulation only.
    """

    train: pd.DataFrame
    test: pd.DataFrame


def read_source() -> pd.DataFrame:
    """The 2,139 patients in the source's order: covariates, days, cens.

    Raises:
        DemoDataMissing: lifelines is not installed.
    """
    package = find_spec("lifelines")
    if package is None or package.origin is None:
        raise DemoDataMissing
    path = Path(package.origin).parent / "datasets" / "ACTG175.csv"
    return pd.read_csv(path, usecols=[*COVARIATES, TIME, EVENT])[[*COVARIATES, TIME, EVENT]]


def split(source: pd.DataFrame, seed: int = SEED) -> Mapping[str, Split]:
    """Patients by hospital, a fifth of each held out, stratified by event.

    Args:
        source: as `read_source` returns it.
        seed: fixes mixing, order and held-out patients; the demo's by default.
    """
    rng = np.random.default_rng(seed)
    band = np.digitize(source["age"], AGE_BANDS)
    anywhere = rng.random(len(source)) < MIXING
    hospital = np.where(anywhere, rng.integers(0, len(HOSPITALS), len(source)), band)
    return {
        name: _hold_out(source[hospital == number].sample(frac=1, random_state=rng), name, rng)
        for number, name in enumerate(HOSPITALS)
    }


def _hold_out(rows: pd.DataFrame, hospital: str, rng: np.random.Generator) -> Split:
    numbers = [f"{hospital[0].upper()}{number:04d}" for number in range(1, len(rows) + 1)]
    rows = rows.assign(**{PATIENT: numbers})[[PATIENT, *COVARIATES, TIME, EVENT]]
    held_out = np.zeros(len(rows), dtype=bool)
    for code in (0, 1):
        stratum = np.flatnonzero(rows[EVENT] == code)
        held_out[rng.permutation(stratum)[: round(HELD_OUT * len(stratum))]] = True
    return Split(train=rows[~held_out], test=rows[held_out])


def write_demo(directory: Path, *, seed: int = SEED) -> None:
    """Write `<hospital>.csv`, `<hospital>.test.csv`, `<hospital>.policy.toml` and `study.toml`.

    Args:
        directory: made where it does not exist; files in it are replaced.
        seed: see `split`.

    Raises:
        DemoDataMissing: lifelines is not installed.
    """
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "study.toml").write_text(study_text(), encoding="utf-8")
    policy = files("deploy").joinpath("actg175_policy.toml").read_text(encoding="utf-8")
    for hospital, rows in split(read_source(), seed).items():
        rows.train.to_csv(directory / f"{hospital}.csv", index=False)
        rows.test.to_csv(directory / f"{hospital}.test.csv", index=False)
        (directory / f"{hospital}.policy.toml").write_text(policy, encoding="utf-8")


def study_text() -> str:
    """The demo's study file."""
    return files("deploy").joinpath("actg175.toml").read_text(encoding="utf-8")

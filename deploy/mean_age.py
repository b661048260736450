"""The smallest analytics study: the mean age of a subgroup at epsilon 1, over the demo's tables. `python -m deploy.mean_age FOLDER`."""

from __future__ import annotations

import sys
from importlib.resources import files
from pathlib import Path

from deploy.actg175 import EVENT, PATIENT, TIME, read_source, split

COLUMNS = (PATIENT, TIME, EVENT, "age", "symptom")


def study_text() -> str:
    """The study file."""
    return files("deploy").joinpath("mean_age.toml").read_text(encoding="utf-8")


def write_example(directory: Path) -> None:
    """Write `study.toml` and `<hospital>.csv` with the columns that the study declares.

    Raises:
        DemoDataMissing: lifelines is not installed.
    """
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "study.toml").write_text(study_text(), encoding="utf-8")
    for hospital, rows in split(read_source()).items():
        rows.train[list(COLUMNS)].to_csv(directory / f"{hospital}.csv", index=False)


if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "out/mean-age")
    write_example(folder)
    sys.stdout.write(
        f"wardround-study price {folder}/study.toml\n"
        f"wardround-study simulate {folder}/study.toml --data {folder} --out {folder}/run\n"
    )

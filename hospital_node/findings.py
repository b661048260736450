"""What is wrong with a table, said without a patient's value."""

from dataclasses import dataclass
from typing import ClassVar, Literal

Severity = Literal["error", "note"]


class DataError(Exception):
    """A table that does not fit the study's dictionary; the message holds no patient's value.

    Attributes:
        where: file name.
        column: declared column, empty where the whole file is meant.
        problem: what is wrong and what to do.
        exit_code: 2, bad input.
    """

    exit_code: ClassVar[int] = 2

    def __init__(self, where: str, column: str, problem: str) -> None:
        """Message: "where: column 'x': problem"."""
        super().__init__(f"{where}: {placed(column, problem)}")
        self.where = where
        self.column = column
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence about one column.

    Attributes:
        severity: "error" keeps the table out of a study, "note" deserves a second look.
        column: declared column, empty where the whole table is meant.
        problem: completes "column 'x' ..."; says what to do.
    """

    severity: Severity
    column: str
    problem: str

    @property
    def sentence(self) -> str:
        """The whole sentence."""
        return placed(self.column, self.problem)


def placed(column: str, problem: str) -> str:
    """The problem with its column in front."""
    return f"column '{column}' {problem}" if column else problem


def about(rows: int) -> str:
    """A number of rows as a bucket, so that a message never counts single patients."""
    counted = bucket(rows)
    return (
        f"in {counted.removesuffix(' or more')} rows or more"
        if counted.endswith("or more")
        else f"in {counted} rows"
    )


def bucket(number: int) -> str:
    """ "100 or more", "fewer than 10"."""
    for least in (1_000_000, 100_000, 10_000, 1_000, 100, 10):
        if number >= least:
            return f"{least:,} or more"
    return "fewer than 10"

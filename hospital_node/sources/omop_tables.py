"""OMOP CDM tables in a folder, as DuckDB sees them: CSV or Parquet, one file or a folder of parts for each table.

DuckDB runs in memory and may neither write a temporary file (it would hold patients) nor load an extension from the
network. Its error texts repeat cells, so none of them is ever passed on.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from hospital_node.sources.facts import SourceError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

INSTALL = "reading OMOP needs DuckDB; install it with `pip install 'wardround[sources]'`"
_SETTINGS = (
    "SET temp_directory = ''",
    "SET autoinstall_known_extensions = false",
    "SET autoload_known_extensions = false",
    "SET preserve_insertion_order = false",
    # It goes to standard output, between the lines of --json, where DuckDB takes the process for an interactive one.
    "SET enable_progress_bar = false",
)
_SUFFIXES = (".csv", ".tsv", ".txt", ".parquet")
_MAX_FIRST_LINE = 1 << 16


class Tables:
    """The tables of one folder; made by `open_tables`."""

    def __init__(self, folder: Path, connection: "DuckDBPyConnection") -> None:
        """Nothing is read before a table is asked for."""
        self.folder = folder
        self._connection = connection
        self._columns: dict[str, frozenset[str]] = {}

    def has(self, table: str) -> bool:
        """Whether the folder holds the table."""
        return bool(_files(self.folder, table))

    def columns(self, table: str) -> frozenset[str]:
        """Lower-case names of the table's columns; makes it known to DuckDB.

        Raises:
            SourceError: no such table, or its first line cannot be read.
        """
        if table not in self._columns:
            self._open(table)
            described = self.query(f"DESCRIBE {table}", table)
            self._columns[table] = frozenset(str(name).lower() for name in described["column_name"])
        return self._columns[table]

    def text(self, table: str, column: str, *, required: bool = False, alias: str = "t") -> str:
        """SQL for a column as trimmed text, NULL where empty or where an optional column is absent.

        Raises:
            SourceError: a required column is absent.
        """
        if column not in self.columns(table):
            if required:
                raise SourceError(
                    table, f"has no column '{column}', which OMOP CDM 5.4 requires; add it to the export"
                )
            return "NULL::VARCHAR"
        return f"nullif(trim({alias}.{column}::VARCHAR), '')"

    def key(self, table: str, column: str, *, required: bool = False, alias: str = "t") -> str:
        """As `text`, for ids: software that once saw an empty cell exports 1 as 1.0."""
        return f"regexp_replace({self.text(table, column, required=required, alias=alias)}, '\\.0+$', '')"

    def concept(self, table: str, column: str, *, required: bool = False, alias: str = "t") -> str:
        """As `key`, as a number; NULL where it is none."""
        return f"try_cast({self.key(table, column, required=required, alias=alias)} AS BIGINT)"

    def query(self, sql: str, where: str) -> pd.DataFrame:
        """Rows of a query.

        Raises:
            SourceError: DuckDB cannot; `where` names the table.
        """
        import duckdb

        out_of_memory = False
        try:
            found: pd.DataFrame = self._connection.execute(sql).df()
            return found
        except duckdb.OutOfMemoryException:
            out_of_memory = True
        except duckdb.Error:
            out_of_memory = False
        if out_of_memory:
            raise SourceError(
                where, "does not fit into memory; export the cohort's persons alone, or take a larger machine"
            )
        raise SourceError(
            where,
            "cannot be read as a table; export it as UTF-8 CSV with one line for each row, or as Parquet",
        )

    def show(self, name: str, frame: pd.DataFrame) -> None:
        """Make a frame of ours a table of DuckDB's."""
        self._connection.register(name, frame)

    def _open(self, table: str) -> None:
        files = _files(self.folder, table)
        if not files:
            raise SourceError(
                self.folder.name,
                f"holds no table '{table}' ({table}.csv or {table}.parquet); export it from the CDM",
            )
        if len({file.suffix.lower() for file in files}) > 1:
            raise SourceError(table, "is there as CSV and as Parquet; keep one")
        listed = "[" + ", ".join(_literal(str(file)) for file in files) + "]"
        if files[0].suffix.lower() == ".parquet":
            self.query(f"CREATE VIEW {table} AS SELECT * FROM read_parquet({listed})", table)
            return
        separator, names = _first_line(files[0], table)
        columns = ", ".join(f"{_literal(name)}: 'VARCHAR'" for name in names)
        # Tab separated vocabularies (Athena) do not quote, and names in them hold quotation marks.
        quote = "" if separator == "\t" else '"'
        self.query(
            f"CREATE VIEW {table} AS SELECT * FROM read_csv({listed}, auto_detect = false, header = true, "
            f"delim = {_literal(separator)}, quote = {_literal(quote)}, escape = {_literal(quote)}, columns = {{{columns}}})",
            table,
        )


@contextmanager
def open_tables(folder: Path) -> Iterator[Tables]:
    """The tables of a folder, until the block ends.

    Raises:
        SourceError: no such folder, or DuckDB is not installed.
    """
    if not folder.is_dir():
        raise SourceError(
            str(folder), "is no folder; give the folder that holds person.csv and the other tables"
        )
    connection = _connect()
    try:
        for setting in _SETTINGS:
            connection.execute(setting)
        yield Tables(folder, connection)
    finally:
        connection.close()


def _connect() -> Any:
    connection = None
    try:
        import duckdb

        connection = duckdb.connect(":memory:")
    except ModuleNotFoundError:
        connection = None
    if connection is None:
        raise SourceError("[source] kind = 'omop'", INSTALL)
    return connection


def _files(folder: Path, table: str) -> Sequence[Path]:
    """`table.csv` in any case, or the parts in a folder `table`."""
    found = []
    for entry in sorted(folder.iterdir()):
        if entry.is_dir() and entry.name.lower() == table:
            found += [part for part in sorted(entry.iterdir()) if part.suffix.lower() in _SUFFIXES]
        elif entry.stem.lower() == table and entry.suffix.lower() in _SUFFIXES:
            found.append(entry)
    return found


def _first_line(path: Path, table: str) -> tuple[str, list[str]]:
    line = ""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            line = file.readline(_MAX_FIRST_LINE)
    except UnicodeDecodeError:
        line = ""
    separator = max(",\t;|", key=line.count)
    names = [name.strip().lower() for name in next(csv.reader(io.StringIO(line), delimiter=separator), [])]
    if (not line.endswith("\n") and len(line) == _MAX_FIRST_LINE) or not any(names):
        raise SourceError(table, "has no readable first line with column names; export it as UTF-8 CSV")
    if len(set(names)) < len(names):
        raise SourceError(table, "names a column twice in its first line; export it again")
    return separator, names


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"

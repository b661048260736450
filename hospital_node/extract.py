"""The rows of a CSV or Parquet file in pieces, so that a million patients never lie in memory as text.

Nothing is raised inside an `except` block: Python would keep the library's exception, with values in its text, as
`__context__` of ours.
"""

import warnings
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from hospital_node.findings import DataError

ROWS_AT_ONCE = 50_000
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


def pieces(path: Path) -> Iterator[pd.DataFrame]:
    """The file's rows, at most `ROWS_AT_ONCE` at a time, at least one piece: a CSV as text throughout.

    Raises:
        DataError: the file cannot be read as a table.
    """
    problem = ""
    try:
        match path.suffix.lower():
            case ".csv":
                yield from _csv(path)
                return
            case ".parquet":
                yield from _parquet(path)
                return
            case _:
                problem = "is neither .csv nor .parquet; export one of them"
    except UnicodeDecodeError:
        problem = "is not UTF-8; export it again with encoding UTF-8"
        if _starts_with(path, _UTF16):
            problem = "is UTF-16 ('Unicode text' of a spreadsheet); export it again as CSV UTF-8"
    except pd.errors.EmptyDataError:
        problem = "is empty; check the extract"
    except (pd.errors.ParserError, pd.errors.ParserWarning):
        problem = "has rows with more cells than the first line has names; check separators, quotes and decimal commas"
    except OSError as error:
        problem = f"cannot be read: {error.strerror or 'the file is damaged'}"
    except ValueError:
        problem = "cannot be read as a table; export it again"
    raise DataError(path.name, "", problem)


def rows_at_most(path: Path) -> int:
    """As many rows as the file can hold, or more: lines of a CSV; 0 where it cannot be read, which `pieces` explains."""
    try:
        if path.suffix.lower() == ".parquet":
            from pyarrow.parquet import read_metadata

            return int(read_metadata(path).num_rows)
        with path.open("rb") as file:
            # The last line may have no end. One of old Macintosh files has no line feed; then room is made as rows come.
            return 1 + sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))
    except (OSError, ValueError):
        return 0


def _csv(path: Path) -> Iterator[pd.DataFrame]:
    piece: pd.DataFrame | None = None
    with pd.read_csv(
        path, dtype=str, na_filter=False, encoding="utf-8-sig", index_col=False, chunksize=ROWS_AT_ONCE
    ) as reader:
        while True:
            with warnings.catch_warnings():
                # Rows longer than the first line are cut with a warning, which would shift a patient's cells.
                warnings.simplefilter("error", pd.errors.ParserWarning)
                piece = next(reader, None)
            if piece is None:
                return
            yield piece


def _parquet(path: Path) -> Iterator[pd.DataFrame]:
    # Imported here: it takes half a second and most extracts are CSV files.
    from pyarrow.parquet import ParquetFile

    # Column chunks as streams: a row group may be the whole table.
    with ParquetFile(path, pre_buffer=False, buffer_size=1 << 16) as file:
        some = False
        for batch in file.iter_batches(batch_size=ROWS_AT_ONCE):
            some = True
            yield batch.to_pandas().reset_index(drop=True)
        if not some:
            yield file.schema_arrow.empty_table().to_pandas()


def _starts_with(path: Path, marks: tuple[bytes, ...]) -> bool:
    with path.open("rb") as file:
        return file.read(2) in marks

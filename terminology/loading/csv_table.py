"""Tables of comma-separated values with a header, as LOINC is distributed (RFC 4180)."""

import csv
from collections.abc import Iterator, Mapping, Sequence

from terminology.loading.files import ReleaseFiles, fault

Row = Mapping[str, str]


def read_table(files: ReleaseFiles, name: str, needed: Sequence[str]) -> Iterator[Row]:
    """The rows of a file, by the names of its columns.

    Raises:
        UnreadableRelease: a column that is needed is missing, or a line has other columns than the first.
    """
    label, line = name.rpartition("/")[2], 0

    def lines() -> Iterator[str]:
        nonlocal line
        for number, text in files.lines(name):
            line = number
            yield f"{text}\n"

    reader = csv.reader(lines(), strict=True)
    try:
        columns = next(reader, [])
        missing = [column for column in needed if column not in columns]
        if missing:
            raise fault(label, 1, f"there is no column {', '.join(missing)}")
        for values in reader:
            if len(values) != len(columns):
                raise fault(label, line, f"there are {len(values)} columns, in the first line {len(columns)}")
            yield dict(zip(columns, values, strict=True))
    except csv.Error as error:
        raise fault(label, line, f"this is no CSV: {error}") from None

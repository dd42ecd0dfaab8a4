"""The report of a step that writes one row for each row of a table: both are counted, after the write, apart."""

from __future__ import annotations

from lakehouse.contracts.tables import TableSpec
from lakehouse.ops.steps import Report
from lakehouse.storage.lake import Lake


def one_for_one(lake: Lake, source: TableSpec, target: TableSpec, **marked: str) -> Report:
    """Rows of `source` are the rows in, rows of `target` the rows out.

    Args:
        lake: holds both tables.
        source: what the step read.
        target: what it wrote.
        marked: SQL conditions on `target`; the rows that satisfy one are metadata under its name.
    """
    found = {name: lake.count(target, where=condition) for name, condition in marked.items()}
    return Report(rows_in=lake.count(source), rows_out=lake.count(target), conserves=True, metadata=found)

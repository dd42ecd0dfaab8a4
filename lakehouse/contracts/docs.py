"""Renders `docs/data_dictionary.md` from the registry: `python -m lakehouse.contracts.docs [PATH]`."""

from __future__ import annotations

import sys
from pathlib import Path

import pyarrow as pa

from lakehouse.contracts.fields import Field
from lakehouse.contracts.tables import TABLES, TableSpec

TARGET = Path("docs/data_dictionary.md")
HEAD = """# Data dictionary

Generated from `lakehouse/contracts` by `make docs`; do not edit. Tables are Delta tables under `{lake}/delta/{table}`.
Rates are fractions (0-1), times are UTC.
"""


def render() -> str:
    """The whole dictionary as Markdown."""
    return "\n".join([HEAD, *(_table(spec) for spec in TABLES.values())])


def _table(spec: TableSpec) -> str:
    partition = f" Partitioned by {', '.join(f'`{name}`' for name in spec.partition_by)}." if spec.partition_by else ""
    head = f"## `{spec.name}`\n\n{spec.description}. Key: {', '.join(f'`{name}`' for name in spec.key)}.{partition}\n"
    rows = [_row(field, is_required=field.name in spec.not_null) for field in spec.fields]
    return "\n".join([head, "| column | type | unit | null | description |", "|---|---|---|---|---|", *rows, ""])


def _row(field: Field, *, is_required: bool) -> str:
    cells = (f"`{field.name}`", _type(field.type), field.unit, "" if is_required else "yes", field.description)
    return "| " + " | ".join(cells) + " |"


def _type(kind: pa.DataType) -> str:
    if pa.types.is_list(kind):
        return f"list of {_type(kind.value_type)}"
    if pa.types.is_struct(kind):
        return "struct(" + ", ".join(kind.field(i).name for i in range(kind.num_fields)) + ")"
    return str(kind)


def main(argv: list[str]) -> None:
    """Write the dictionary to the path given or to its place in `docs/`."""
    target = Path(argv[0]) if argv else TARGET
    target.write_text(render(), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])

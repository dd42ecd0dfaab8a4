"""Arrow tables as single values: whole batches move through a shuffle as they are, instead of row by row and back."""

from __future__ import annotations

import pyarrow as pa

_OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4")


def pack(table: pa.Table) -> bytes:
    """The table as an Arrow stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=_OPTIONS) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def unpack(body: bytes) -> pa.Table:
    """The table that `pack` was given."""
    return pa.ipc.open_stream(body).read_all()

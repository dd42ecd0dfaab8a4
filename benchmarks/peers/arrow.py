"""Corpora as Arrow tables, for the engines that read those."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from benchmarks.peers.protocol import NUMBERS, Corpus


def tables(corpus: Corpus, rows: int) -> Iterator[pa.Table]:
    """`id`, `vector` and the filtered columns, some rows at a time."""
    for start, vectors, columns in corpus.batches(rows):
        flat = pa.array(vectors.ravel(), pa.float32())
        yield pa.table(
            {
                "id": pa.array(range(start, start + len(vectors)), pa.int32()),
                "vector": pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1]),
                **{name: pa.array(values, pa.int32() if name in NUMBERS else None) for name, values in columns.items()},
            }
        )

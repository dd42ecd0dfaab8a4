"""zvec: HNSW, an inverted index on every filtered column, answers by its low-latency path."""

from __future__ import annotations

from pathlib import Path

import zvec

from benchmarks.peers.protocol import FILTERED, NUMBERS, RANGED, TEXTS, Clause, Corpus, Filter, K, Vector

BATCH_ROWS = 1_000
THREADS = 2


def build(corpus: Corpus, folder: Path) -> None:
    """Insert the rows and let it optimise."""
    zvec.init(log_level=zvec.LogLevel.ERROR, query_threads=THREADS, optimize_threads=THREADS)
    index = zvec.HnswIndexParam(metric_type=zvec.MetricType.IP, m=24, ef_construction=200)
    fields = [
        zvec.FieldSchema(
            name,
            zvec.DataType.STRING if name in TEXTS else zvec.DataType.INT32,
            index_param=zvec.InvertIndexParam(enable_range_optimization=name in RANGED),
        )
        for name in FILTERED
    ]
    schema = zvec.CollectionSchema(
        "docs",
        fields=fields,
        vectors=[zvec.VectorSchema("vector", zvec.DataType.VECTOR_FP32, 384, index_param=index)],
    )
    collection = zvec.create_and_open(str(folder / "zvec"), schema)
    for start, vectors, columns in corpus.batches(BATCH_ROWS):
        listed = [(name, columns[name]) for name in (*TEXTS, *NUMBERS)]
        collection.insert(
            [
                zvec.Doc(
                    id=str(start + place),
                    vectors={"vector": vector},
                    fields={name: values[place] for name, values in listed},
                )
                for place, vector in enumerate(vectors.tolist())
            ]
        )
    collection.flush()
    collection.optimize(zvec.OptimizeOption(concurrency=THREADS))
    collection.flush()
    collection.close()


def open(corpus: Corpus, folder: Path) -> Zvec:  # noqa: A001, ARG001
    """Open it for reading."""
    zvec.init(log_level=zvec.LogLevel.ERROR, query_threads=THREADS)
    return Zvec(folder / "zvec")


class Zvec:
    """A collection."""

    settings = (32, 64, 128, 256, 512)
    """`ef`."""
    is_fixed = False

    def __init__(self, folder: Path) -> None:
        """Open it."""
        self._collection = zvec.open(str(folder), zvec.CollectionOption(read_only=True, enable_mmap=True))

    def prepare(self, clauses: Filter) -> str | None:
        """An expression."""
        return " AND ".join(map(_expression, clauses)) or None

    def search(self, vector: Vector, prepared: str | None, setting: int) -> list[int]:
        """Rows in order."""
        query = zvec.Query("vector", vector=vector, param=zvec.HnswQueryParam(ef=setting))
        found = self._collection.query_internal_ids(query, topk=K, filter=prepared)
        return [int(row) for row in self._collection.resolve_internal_ids(found) if row is not None]

    def pids(self) -> list[int]:
        """None."""
        return []

    def close(self) -> None:
        """Close it."""
        self._collection.close()


def _expression(clause: Clause) -> str:
    if not clause.values:
        return f"{clause.column} >= {clause.least} AND {clause.column} <= {clause.most}"
    listed = ", ".join(f"'{value}'" if isinstance(value, str) else str(value) for value in clause.values)
    return f"{clause.column} = {listed}" if len(clause.values) == 1 else f"{clause.column} IN ({listed})"

"""Qdrant Edge, the engine of Qdrant in this process: HNSW over 8-bit rows, an index on every filtered column."""

from __future__ import annotations

from pathlib import Path

import qdrant_edge as qe

from benchmarks.peers.protocol import FILTERED, TEXTS, Clause, Corpus, Filter, K, Vector

BATCH_ROWS = 2_000
ACORN = 10_000
"""Added to `hnsw_ef` where its filtered search by ACORN is switched on."""


def build(corpus: Corpus, folder: Path) -> None:
    """Insert the rows and let it optimise."""
    vectors = qe.EdgeVectorParams(size=384, distance=qe.Distance.Dot)
    config = qe.EdgeConfig(
        vectors=vectors,
        hnsw_config=qe.HnswIndexConfig(m=16, ef_construct=100, full_scan_threshold=10_000),
        quantization_config=qe.ScalarQuantizationConfig(type=qe.ScalarType.Int8, quantile=0.99),
        optimizers=qe.EdgeOptimizersConfig(default_segment_number=2, indexing_threshold=10_000),
    )
    (folder / "shard").mkdir()
    shard = qe.EdgeShard.create(str(folder / "shard"), config)
    for name in FILTERED:
        kind = qe.KeywordIndexParams() if name in TEXTS else qe.IntegerIndexParams(lookup=True, range=True)
        shard.update(qe.UpdateOperation.create_field_index(name, kind))
    for start, rows, columns in corpus.batches(BATCH_ROWS):
        payloads = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
        points = [qe.Point(start + place, vector, payloads[place]) for place, vector in enumerate(rows.tolist())]
        shard.update(qe.UpdateOperation.upsert_points(points))
    shard.optimize()
    shard.flush()
    shard.close()


def open(corpus: Corpus, folder: Path) -> Qdrant:  # noqa: A001, ARG001
    """Load the shard."""
    return Qdrant(folder / "shard")


class Qdrant:
    """A shard."""

    settings = (64, 128, 256, ACORN + 64, ACORN + 128, ACORN + 256, ACORN + 512)
    """`hnsw_ef`, and with ACORN."""
    is_fixed = False

    def __init__(self, folder: Path) -> None:
        """Load it."""
        self._shard = qe.EdgeShard.load(str(folder))

    def prepare(self, clauses: Filter) -> qe.Filter | None:
        """A filter."""
        return qe.Filter(must=[_condition(clause) for clause in clauses]) if clauses else None

    def search(self, vector: Vector, prepared: qe.Filter | None, setting: int) -> list[int]:
        """Rows in order."""
        is_acorn = setting > ACORN
        params = qe.SearchParams(
            hnsw_ef=setting % ACORN,
            acorn=qe.AcornSearchParams(enable=is_acorn, max_selectivity=1.0) if is_acorn else None,
        )
        query = qe.Query.Nearest(vector.tolist())
        request = qe.SearchRequest(query, K, filter=prepared, params=params)
        return [int(point.id) for point in self._shard.search(request)]

    def pids(self) -> list[int]:
        """None."""
        return []

    def close(self) -> None:
        """Close the shard."""
        self._shard.close()


def _condition(clause: Clause) -> qe.FieldCondition:
    if not clause.values:
        return qe.FieldCondition(clause.column, range=qe.RangeFloat(gte=clause.least, lte=clause.most))
    if len(clause.values) == 1:
        return qe.FieldCondition(clause.column, match=qe.MatchValue(clause.values[0]))
    return qe.FieldCondition(clause.column, match=qe.MatchAny(list(clause.values)))

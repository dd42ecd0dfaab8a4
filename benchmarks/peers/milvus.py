"""Milvus Lite in this process: IVF_FLAT in every segment, an inverted index on every filtered column."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from milvus_lite import CollectionSchema, DataType, FieldSchema, MilvusLite

from benchmarks.peers.protocol import FILTERED, NUMBERS, TEXTS, Clause, Corpus, Filter, K, Vector

BATCH_ROWS = 5_000
LISTS = 256
"""Of a segment, which has at most 100,000 rows."""


def build(corpus: Corpus, folder: Path) -> None:
    """Insert the rows, then index them."""
    database = MilvusLite(str(folder / "milvus"))
    fields = [
        FieldSchema("id", DataType.INT64, is_primary=True),
        FieldSchema("vector", DataType.FLOAT_VECTOR, dim=384),
        *(FieldSchema(name, DataType.VARCHAR, max_length=32) for name in TEXTS),
        *(FieldSchema(name, DataType.INT32) for name in NUMBERS),
    ]
    collection = database.create_collection("docs", CollectionSchema(fields))
    for start, vectors, columns in corpus.batches(BATCH_ROWS):
        listed = [(name, columns[name]) for name in FILTERED]
        collection.insert(
            [
                {"id": start + place, "vector": vector, **{name: values[place] for name, values in listed}}
                for place, vector in enumerate(vectors.tolist())
            ]
        )
    collection.flush()
    collection.create_index("vector", {"index_type": "IVF_FLAT", "metric_type": "IP", "params": {"nlist": LISTS}})
    for name in FILTERED:
        collection.create_index(name, {"index_type": "INVERTED"})
    collection.load()
    database.close()


def open(corpus: Corpus, folder: Path) -> Milvus:  # noqa: A001, ARG001
    """Open and load it."""
    return Milvus(folder / "milvus")


class Milvus:
    """A collection."""

    settings = (4, 8, 16, 32, 64, 128)
    """Lists that are probed in every segment."""
    is_fixed = False

    def __init__(self, folder: Path) -> None:
        """Load the collection."""
        self._database = MilvusLite(str(folder))
        self._collection = self._database.get_collection("docs")
        self._collection.load()

    def prepare(self, clauses: Filter) -> str:
        """An expression."""
        return " and ".join(map(_expression, clauses))

    def search(self, vector: Vector, prepared: str, setting: int) -> list[int]:
        """Rows in order."""
        options: dict[str, Any] = {"expr": prepared} if prepared else {}
        found = self._collection.search(
            [vector.tolist()], top_k=K, output_fields=["id"], search_params={"nprobe": setting}, **options
        )
        return [hit["id"] for hit in found[0]]

    def pids(self) -> list[int]:
        """None."""
        return []

    def close(self) -> None:
        """Close the database."""
        self._database.close()


def _expression(clause: Clause) -> str:
    if not clause.values:
        return f"({clause.column} >= {clause.least} and {clause.column} <= {clause.most})"
    listed = ", ".join(f'"{value}"' if isinstance(value, str) else str(value) for value in clause.values)
    return f"{clause.column} == {listed}" if len(clause.values) == 1 else f"{clause.column} in [{listed}]"

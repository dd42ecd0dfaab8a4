"""The searchable projection: a creator's row, the text that lexical search reads, and a vector of the whole and of each form of content."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from pyspark.sql import Column
from pyspark.sql import functions as F

from lakehouse.contracts.tables import DOCS, EMBEDDINGS, GOLD_ACCOUNTS, GOLD_PROFILES, SEARCH_DOCS
from lakehouse.encoder import model_id_of
from lakehouse.ops.derive import Read, derive
from lakehouse.ops.steps import Report, StepContext

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

DOC_ACCOUNTS = 4
"""Accounts whose text makes up a creator's document, largest first: one per platform."""
WHOLE = 1
VECTORS = {"vector": ("content_hash", WHOLE), "short_vector": ("short_hash", 2), "long_vector": ("long_hash", 4)}
"""Vectors of a creator: the hash of the text of each on an account, and a bit that tells which of them an account's vector is. One that
is several of them is read once."""
MIN_NORM = 1e-6
"""A sum shorter than this has no direction."""
DOC_CHARS = 1_600
"""Longest document; a result card and lexical search need no more."""


def build_search_docs(ctx: StepContext) -> Report:
    """Join profiles with their text and vector into `gold_creator__search_docs`; creators without text stay out."""

    def fold(read: Read) -> DataFrame:
        return read(GOLD_PROFILES).join(_documents(ctx, read), "creator_id").select(*SEARCH_DOCS.columns)

    derive(ctx, SEARCH_DOCS, fold, inputs=(GOLD_PROFILES, GOLD_ACCOUNTS), key=("creator_id",))
    rows_in, rows_out = ctx.lake.count(GOLD_PROFILES), ctx.lake.count(SEARCH_DOCS)
    return Report(rows_in=rows_in, rows_out=rows_out, metadata={"creators_without_text": rows_in - rows_out})


def weighted_means(vectors: np.ndarray, weights: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Unit-length weighted mean of each group of consecutive vectors.

    Args:
        vectors: float32 (n, d), rows of a group side by side.
        weights: float64 (n,), positive.
        starts: int64 (g,), first row of each group, ascending; no group is empty.

    Returns:
        float32 (g, d) unit rows. Opposite vectors that cancel out give the group's first vector.
    """
    sums = np.add.reduceat(vectors * weights[:, None], starts, axis=0)
    norms = np.linalg.norm(sums, axis=1, keepdims=True)
    means = np.where(norms > MIN_NORM, sums / np.maximum(norms, MIN_NORM), vectors[starts])
    unit: np.ndarray = means.astype(np.float32)
    return unit


def _documents(ctx: StepContext, read: Read) -> DataFrame:
    """Per creator: `doc_text` and the unit vectors of its accounts' vectors weighted by ln(2 + followers)."""
    keys = [column for column, _ in VECTORS.values()]
    accounts = read(GOLD_ACCOUNTS).select("creator_id", "platform", "platform_account_id", "followers_count", *keys)
    texts = ctx.lake.read(DOCS).select("platform", "platform_account_id", "doc_text")
    model = model_id_of(ctx.settings.encoder_model)
    vectors = ctx.lake.read(EMBEDDINGS).where(F.col("model_id") == model)
    size = F.greatest(F.coalesce("followers_count", F.lit(0)), F.lit(0))
    weight = F.log(size + F.lit(2.0)).alias("weight")
    kinds = reduce(
        Column.bitwiseOR, [F.when(F.col(key) == F.col("hash"), bit).otherwise(0) for key, bit in VECTORS.values()]
    )
    each = accounts.join(texts, ["platform", "platform_account_id"]).withColumn(
        "hash", F.explode(F.array_distinct(F.array(*keys)))
    )
    rows = each.join(vectors.select(F.col("content_hash").alias("hash"), "vector"), "hash")
    item = F.struct(
        (-size).alias("order"), "platform", "platform_account_id", kinds.alias("kinds"), "doc_text", weight, "vector"
    )
    grouped = rows.groupBy("creator_id").agg(F.sort_array(F.collect_list(item)).alias("_items"))
    wholes = F.filter("_items", lambda item: item.kinds.bitwiseAND(WHOLE) > 0)
    largest = F.slice(F.transform(wholes, lambda item: item.doc_text), 1, DOC_ACCOUNTS)
    text = F.substring(F.array_join(F.array_distinct(largest), " "), 1, DOC_CHARS).alias("doc_text")
    columns = [F.col(f"_items.{name}").alias(name) for name in ("kinds", "weight", "vector")]
    parts = grouped.where(F.size(wholes) > 0).select("creator_id", text, *columns)
    made = ", ".join(f"{name} array<float>" for name in VECTORS)
    return parts.mapInArrow(_with_vectors, f"creator_id string, doc_text string, {made}")


def _with_vectors(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        if not batch.num_rows:
            continue
        lists = batch["vector"]
        starts = np.asarray(lists.offsets)[:-1] - lists.offsets[0].as_py()
        vectors = lists.flatten()
        matrix = np.asarray(vectors.flatten(), dtype=np.float32).reshape(len(vectors), -1)
        weights, kinds = np.asarray(batch["weight"].flatten()), np.asarray(batch["kinds"].flatten())
        means = [_means(matrix, weights, starts, (kinds & bit) > 0) for _, bit in VECTORS.values()]
        yield pa.RecordBatch.from_arrays(
            [batch["creator_id"], batch["doc_text"], *means], ["creator_id", "doc_text", *VECTORS]
        )


def _means(matrix: np.ndarray, weights: np.ndarray, starts: np.ndarray, are_of_kind: np.ndarray) -> pa.ListArray:
    """Mean of those vectors of each group that are of a kind, null where none is."""
    counts = np.add.reduceat(are_of_kind.astype(np.int64), starts)
    has_any = counts > 0
    values = np.empty((0, matrix.shape[1]), np.float32)
    if has_any.any():
        own_starts = (np.cumsum(counts) - counts)[has_any]
        values = weighted_means(matrix[are_of_kind], weights[are_of_kind], own_starts)
    offsets = np.concatenate([[0], np.cumsum(has_any)]).astype(np.int32) * matrix.shape[1]
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values.ravel()), mask=pa.array(~has_any))

"""The searchable projection: a creator's row, the text that lexical search reads, and one vector."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from pyspark.sql import functions as F

from lakehouse.contracts.tables import DOCS, EMBEDDINGS, GOLD_ACCOUNTS, GOLD_PROFILES, SEARCH_DOCS
from lakehouse.encoder import model_id_of
from lakehouse.ops.derive import Read, derive
from lakehouse.ops.steps import Report, StepContext

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

DOC_ACCOUNTS = 4
"""Accounts whose text makes up a creator's document, largest first: one per platform."""
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
    """Per creator: `doc_text` and the unit vector of its accounts' vectors weighted by ln(2 + followers)."""
    accounts = read(GOLD_ACCOUNTS).select("creator_id", "platform", "platform_account_id", "followers_count")
    texts = ctx.lake.read(DOCS).select("platform", "platform_account_id", "content_hash", "doc_text")
    model = model_id_of(ctx.settings.encoder_model)
    vectors = ctx.lake.read(EMBEDDINGS).where(F.col("model_id") == model).select("content_hash", "vector")
    size = F.greatest(F.coalesce("followers_count", F.lit(0)), F.lit(0))
    weight = F.log(size + F.lit(2.0)).alias("weight")
    rows = accounts.join(texts, ["platform", "platform_account_id"]).join(vectors, "content_hash")
    item = F.struct((-size).alias("order"), "platform", "platform_account_id", "doc_text", weight, "vector")
    grouped = rows.groupBy("creator_id").agg(F.sort_array(F.collect_list(item)).alias("_items"))
    largest = F.slice(F.col("_items.doc_text"), 1, DOC_ACCOUNTS)
    text = F.substring(F.array_join(F.array_distinct(largest), " "), 1, DOC_CHARS).alias("doc_text")
    parts = grouped.select(
        "creator_id", text, F.col("_items.weight").alias("weights"), F.col("_items.vector").alias("vectors")
    )
    return parts.mapInArrow(_with_vectors, "creator_id string, doc_text string, vector array<float>")


def _with_vectors(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        if not batch.num_rows:
            continue
        lists = batch["vectors"]
        starts = np.asarray(lists.offsets)[:-1] - lists.offsets[0].as_py()
        vectors = lists.flatten()
        matrix = np.asarray(vectors.flatten(), dtype=np.float32).reshape(len(vectors), -1)
        means = weighted_means(matrix, np.asarray(batch["weights"].flatten()), starts)
        flat = pa.array(means.ravel())
        offsets = pa.array(np.arange(len(means) + 1, dtype=np.int32) * means.shape[1])
        vector = pa.ListArray.from_arrays(offsets, flat)
        yield pa.RecordBatch.from_arrays(
            [batch["creator_id"], batch["doc_text"], vector], ["creator_id", "doc_text", "vector"]
        )

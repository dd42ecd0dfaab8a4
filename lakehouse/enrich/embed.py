"""One vector per distinct text and encoder. Unchanged text is never embedded again; equal texts are embedded once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from lakehouse.contracts.tables import DOC_TEXTS, DOCS, EMBEDDINGS
from lakehouse.encoder import Encoder, Vectors, model_id_of
from lakehouse.ops.steps import Report, StepContext
from lakehouse.storage.kept import KEPT

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

Batches = Iterator[pa.RecordBatch]
TEXTS_PER_TASK = 20_000
"""Texts of one Spark task: about a minute of one CPU thread, so that a lost task costs little."""


def build_embeddings(ctx: StepContext) -> Report:
    """Embed the texts that have no vector of the configured model yet, and add them.

    A killed run loses only what it had not committed: the next one embeds exactly the texts still missing.
    """
    model_id = model_id_of(ctx.settings.encoder_model)
    missing = _missing_texts(ctx, model_id).persist(KEPT)
    try:
        count, before = missing.count(), ctx.lake.count(EMBEDDINGS)
        if count or ctx.lake.version(EMBEDDINGS.name) is None:
            ctx.lake.upsert(EMBEDDINGS, _embedded(ctx, missing, count=count))
    finally:
        missing.unpersist()
    added = ctx.lake.count(EMBEDDINGS) - before
    return Report(rows_in=count, rows_out=added, conserves=True, metadata={"model_id": model_id})


def vectors_of(column: pa.Array, dimensions: int) -> tuple[Vectors, np.ndarray]:
    """(rows, dimensions) vectors of a list column and a mask of the rows that have one; missing rows are zero."""
    present = column.is_valid().to_numpy(zero_copy_only=False)
    vectors = np.zeros((len(column), dimensions), dtype=np.float32)
    if present.any():
        vectors[present] = column.flatten().to_numpy().reshape(-1, dimensions)
    return vectors, present


def _missing_texts(ctx: StepContext, model_id: str) -> DataFrame:
    from pyspark.sql import functions as F

    each = [F.struct(F.col(key).alias("content_hash"), F.col(text).alias("doc_text")) for key, text in DOC_TEXTS]
    written = (
        ctx.lake.read(DOCS).select(F.inline(F.array(*each))).where("doc_text <> ''")
    )  # nothing said, nothing meant
    texts = written.groupBy("content_hash").agg(F.first("doc_text").alias("doc_text"))
    if ctx.lake.version(EMBEDDINGS.name) is None:
        return texts
    known = ctx.lake.read(EMBEDDINGS).where(F.col("model_id") == model_id).select("content_hash")
    return texts.join(known, "content_hash", "left_anti")


def _embedded(ctx: StepContext, missing: DataFrame, *, count: int) -> DataFrame:
    """Vectors of all texts; every Python worker holds the model once and gets its share of the cores."""
    slots = ctx.lake.spark.sparkContext.defaultParallelism
    partitions = max(slots, -(-count // TEXTS_PER_TASK))
    settings = ctx.settings
    encode = _batch_encoder(settings.encoder_model, device=settings.encoder_device, threads=_threads(ctx, slots))
    return missing.repartition(partitions).mapInArrow(encode, ctx.lake.spark_schema(EMBEDDINGS))


def _threads(ctx: StepContext, slots: int) -> int:
    """Threads of one worker: a machine's cores over its tasks when embedded, else what a task was given."""
    if ctx.settings.spark_master.startswith("local"):
        return max(1, (os.cpu_count() or 1) // slots)
    return int(ctx.lake.spark.sparkContext.getConf().get("spark.task.cpus", "1"))


def _batch_encoder(model: str, *, device: str, threads: int) -> Callable[[Batches], Batches]:
    def encode(batches: Batches) -> Batches:
        encoder = _worker_encoder(model, device, threads)
        for batch in batches:
            yield _embed_batch(batch, encoder)

    return encode


@lru_cache(maxsize=1)
def _worker_encoder(model: str, device: str, threads: int) -> Encoder:
    """The model of this Python worker; Spark re-uses workers, so it is loaded once."""
    return Encoder.load(model, device=device, threads=threads)


def _embed_batch(batch: pa.RecordBatch, encoder: Encoder) -> pa.RecordBatch:
    vectors = encoder.encode(batch.column("doc_text").to_pylist())
    offsets = np.arange(len(vectors) + 1, dtype=np.int32) * encoder.dimensions
    columns = [
        batch.column("content_hash"),
        pa.array([encoder.model_id] * len(vectors), pa.string()),
        pa.ListArray.from_arrays(offsets, pa.array(vectors.ravel())),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=EMBEDDINGS.arrow_schema())

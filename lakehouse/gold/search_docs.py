"""The searchable projection: a creator's row, the text that lexical search reads, and one vector."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from lakehouse.contracts.tables import DOCS, EMBEDDINGS, GOLD_ACCOUNTS, GOLD_PROFILES, SEARCH_DOCS
from lakehouse.encoder import model_id_of
from lakehouse.ops.steps import Report, StepContext

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

DOC_ACCOUNTS = 4
"""Accounts whose text makes up a creator's document, largest first: one per platform."""
DOC_CHARS = 1_600
"""Longest document; a result card and lexical search need no more."""


def build_search_docs(ctx: StepContext) -> Report:
    """Join profiles with their text and vector into `gold_creator__search_docs`; creators without text stay out."""
    profiles = ctx.lake.read(GOLD_PROFILES)
    docs = profiles.join(_documents(ctx), "creator_id")
    ctx.lake.sync(SEARCH_DOCS, docs.select(*SEARCH_DOCS.columns))
    rows_in, rows_out = profiles.count(), ctx.lake.read(SEARCH_DOCS).count()
    return Report(rows_in=rows_in, rows_out=rows_out, metadata={"creators_without_text": rows_in - rows_out})


def _documents(ctx: StepContext) -> DataFrame:
    """Per creator: `doc_text` and the unit vector of its accounts' vectors weighted by ln(2 + followers)."""
    accounts = ctx.lake.read(GOLD_ACCOUNTS).select("creator_id", "platform", "platform_account_id", "followers_count")
    texts = ctx.lake.read(DOCS).select("platform", "platform_account_id", "content_hash", "doc_text")
    model = model_id_of(ctx.settings.encoder_model)
    vectors = ctx.lake.read(EMBEDDINGS).where(F.col("model_id") == model).select("content_hash", "vector")
    size = F.greatest(F.coalesce("followers_count", F.lit(0)), F.lit(0))
    rows = accounts.join(texts, ["platform", "platform_account_id"]).join(vectors, "content_hash")
    item = F.struct(
        (-size).alias("s"), "platform", "platform_account_id", "doc_text", F.log(size + F.lit(2.0)).alias("w"), "vector"
    )
    grouped = rows.groupBy("creator_id").agg(F.sort_array(F.collect_list(item)).alias("_items"))
    largest = F.transform(F.slice("_items", 1, DOC_ACCOUNTS), lambda x: x["doc_text"])
    text = F.substring(F.array_join(F.array_distinct(largest), " "), 1, DOC_CHARS)
    return grouped.withColumn("_sum", _weighted_sum()).select(
        "creator_id", text.alias("doc_text"), _unit().alias("vector")
    )


def _weighted_sum() -> Column:
    first = F.transform(F.get("_items", F.lit(0))["vector"], lambda x: x.cast("double") * F.lit(0.0))
    return F.aggregate(
        "_items",
        first,
        lambda total, item: F.zip_with(total, item["vector"], lambda a, b: a + b * item["w"]),
    )


def _unit() -> Column:
    norm = F.sqrt(F.aggregate("_sum", F.lit(0.0), lambda total, x: total + x * x))
    return F.transform("_sum", lambda x: (x / norm).cast("float"))

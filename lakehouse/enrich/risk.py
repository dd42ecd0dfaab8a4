"""Risk tags of each account: scans profiles and posts by the rules of `risk_rules.py` and keeps the evidence."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.contracts.tables import ACCOUNTS, POSTS, RISKS
from lakehouse.enrich.conserved import one_for_one
from lakehouse.enrich.risk_rules import Evidence, Hit, assess, find_hits, suspects
from lakehouse.ops.derive import Read, derive
from lakehouse.ops.steps import Report, StepContext

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

Rows = npt.NDArray[np.int64]

VERSION = "lexicon/1"
SCAN_BYTES = 8 << 20
"""Size of what is searched at once: small beside a worker's memory, which holds it and a few folded copies."""
FIELDS = ("bio", "title", "caption", "tags")
_HIT = pa.struct(
    [
        ("code", pa.string()),
        ("weight", pa.int32()),
        ("is_softened", pa.bool_()),
        ("start", pa.int32()),
        ("end", pa.int32()),
        ("field", pa.string()),
        ("post_id", pa.string()),
    ]
)
"""The fields of `Hit` in their order, then those of `Evidence`."""
_PARTIAL = pa.schema(
    [
        ("platform", pa.string()),
        ("platform_account_id", pa.string()),
        ("is_account", pa.bool_()),
        ("posts", pa.int64()),
        ("hits", pa.list_(_HIT)),
    ]
)
"""What one scan says about one account; scans are added up per account."""


def build_risks(ctx: StepContext) -> Report:
    """Tag every account with the risks its profile and posts show; conserves accounts."""
    schema = ctx.lake.spark_schema(RISKS)

    def fold(read: Read) -> DataFrame:
        partial = _texts(read).mapInArrow(scan_batches, _spark(_PARTIAL))
        return _added_up(partial).mapInArrow(_assess_batches, schema)

    derive(ctx, RISKS, fold, inputs=(ACCOUNTS, POSTS))
    return one_for_one(ctx.lake, ACCOUNTS, RISKS, tagged_count="cardinality(risks) > 0")


def scan_batches(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Text rows (account, post_id or null for the profile, the fields) to partial rows, one per account and scan."""
    return map(_scan, _gathered(batches))


def assess_batch(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Rows of the risks table from accounts with their added-up hits."""
    posts, hits = batch.column("posts"), batch.column("hits")
    counts, evidence = pc.list_value_length(hits), _evidence(hits)
    risks: list[list[dict[str, Any]]] = [[] for _ in range(batch.num_rows)]
    for row in pc.indices_nonzero(counts).to_pylist():
        risks[row] = assess(list(islice(evidence, counts[row].as_py())), scanned=posts[row].as_py() + 1)
    values = {
        "platform": batch.column("platform"),
        "platform_account_id": batch.column("platform_account_id"),
        "risks": risks,
        "risk_codes": [[risk["code"] for risk in found] for found in risks],
        "posts_scanned_count": posts,
        "model_version": pa.repeat(VERSION, batch.num_rows),
    }
    return pa.RecordBatch.from_pydict(values, schema=RISKS.arrow_schema())


def _texts(read: Read) -> DataFrame:
    """Profiles and posts as rows of one shape: account, post_id, bio, title, caption, tags."""
    accounts = read(ACCOUNTS).selectExpr(
        "platform",
        "platform_account_id",
        "string(null) AS post_id",
        "bio",
        *(f"string(null) AS {f}" for f in FIELDS[1:]),
    )
    posts = read(POSTS).selectExpr(
        "platform",
        "platform_account_id",
        "post_id",
        "string(null) AS bio",
        "title",
        "caption",
        "array_join(tags, ' ') AS tags",
    )
    return accounts.unionByName(posts)


def _added_up(partial: DataFrame) -> DataFrame:
    from pyspark.sql import functions as F

    return (
        partial.groupBy("platform", "platform_account_id")
        .agg(
            F.max("is_account").alias("is_account"),
            F.sum("posts").alias("posts"),
            F.flatten(F.collect_list("hits")).alias("hits"),
        )
        .where("is_account")
    )


def _assess_batches(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    return map(assess_batch, batches)


def _gathered(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The batches, small ones joined: each search starts by making its pattern, which costs as much as 2,000 texts."""
    waiting: list[pa.RecordBatch] = []
    for batch in batches:
        waiting.append(batch)
        if sum(part.nbytes for part in waiting) >= SCAN_BYTES:
            yield pa.concat_batches(waiting)
            waiting = []
    if waiting:
        yield pa.concat_batches(waiting)


def _scan(batch: pa.RecordBatch) -> pa.RecordBatch:
    account, first = _accounts(batch)
    is_post = np.asarray(batch.column("post_id").is_valid())
    hits: list[list[dict[str, Any]]] = [[] for _ in first]
    texts = pa.concat_arrays([batch.column(field) for field in FIELDS])
    for place in suspects(texts):
        field, row = divmod(place, batch.num_rows)
        hits[account[row]] += _hits(texts[place].as_py(), FIELDS[field], batch.column("post_id")[row].as_py())
    values = {
        "platform": batch.column("platform").take(first),
        "platform_account_id": batch.column("platform_account_id").take(first),
        "is_account": np.bincount(account[~is_post], minlength=len(first)) > 0,
        "posts": np.bincount(account[is_post], minlength=len(first)),
        "hits": hits,
    }
    return pa.RecordBatch.from_pydict(values, schema=_PARTIAL)


def _accounts(batch: pa.RecordBatch) -> tuple[Rows, Rows]:
    """Which account each row is about, counted from 0 as they appear, and the first row of each."""
    keys = pc.binary_join_element_wise(batch.column("platform"), batch.column("platform_account_id"), "\0")
    account = np.asarray(keys.dictionary_encode().indices)
    return account, np.unique(account, return_index=True)[1]


def _hits(text: str, field: str, post_id: str | None) -> list[dict[str, Any]]:
    return [
        {
            "code": hit.code,
            "weight": hit.weight,
            "is_softened": hit.is_softened,
            "start": hit.start,
            "end": hit.end,
            "field": field,
            "post_id": post_id,
        }
        for hit in find_hits(text)
    ]


def _evidence(hits: pa.ListArray) -> Iterator[Evidence]:
    """The hits of all accounts, one account after another."""
    columns = (column.to_pylist() for column in hits.flatten().flatten())
    return (Evidence(Hit(*hit), field, post_id) for *hit, field, post_id in zip(*columns, strict=True))


def _spark(schema: pa.Schema) -> Any:
    from pyspark.sql.pandas.types import from_arrow_schema

    return from_arrow_schema(schema)

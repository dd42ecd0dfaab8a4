"""Risk tags of each account: scans profiles and posts by the rules of `risk_rules.py` and keeps the evidence."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from lakehouse.contracts.tables import ACCOUNTS, POSTS, RISKS
from lakehouse.enrich.conserved import one_for_one
from lakehouse.enrich.risk_rules import Evidence, Hit, assess, find_hits, may_have_hits
from lakehouse.ops.derive import Read, derive
from lakehouse.ops.steps import Report, StepContext

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

VERSION = "lexicon/1"
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
_PARTIAL = pa.schema(
    [
        ("platform", pa.string()),
        ("platform_account_id", pa.string()),
        ("is_account", pa.bool_()),
        ("posts", pa.int64()),
        ("hits", pa.list_(_HIT)),
    ]
)
"""What one batch says about one account; batches are added up per account."""


def build_risks(ctx: StepContext) -> Report:
    """Tag every account with the risks its profile and posts show; conserves accounts."""
    schema = ctx.lake.spark_schema(RISKS)

    def fold(read: Read) -> DataFrame:
        partial = _texts(read).mapInArrow(scan_batches, _spark(_PARTIAL))
        return _added_up(partial).mapInArrow(_assess_batches, schema)

    derive(ctx, RISKS, fold, inputs=(ACCOUNTS, POSTS))
    return one_for_one(ctx.lake, ACCOUNTS, RISKS, tagged_count="size(risks) > 0")


def scan_batches(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Text rows (account, post_id or null for the profile, the fields) to one partial row per account and batch."""
    for batch in batches:
        accounts: dict[tuple[str, str], dict[str, Any]] = {}
        keys = batch.select(["platform", "platform_account_id", "post_id"]).to_pylist()
        for key in keys:
            row = accounts.setdefault((key["platform"], key["platform_account_id"]), _blank(key))
            row["is_account"] |= key["post_id"] is None
            row["posts"] += key["post_id"] is not None
        for name in FIELDS:
            for index in _suspects(batch.column(name)):
                key = keys[index]
                row = accounts[key["platform"], key["platform_account_id"]]
                row["hits"] += _hits(batch.column(name)[index].as_py(), name, key["post_id"])
        yield pa.RecordBatch.from_pylist(list(accounts.values()), schema=_PARTIAL)


def assess_row(row: dict[str, Any]) -> dict[str, Any]:
    """A row of the risks table from an account's added-up hits."""
    risks = assess([_evidence(hit) for hit in row["hits"]], scanned=row["posts"] + 1)
    return {
        "platform": row["platform"],
        "platform_account_id": row["platform_account_id"],
        "risks": risks,
        "risk_codes": [risk["code"] for risk in risks],
        "posts_scanned_count": row["posts"],
        "model_version": VERSION,
    }


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
    for batch in batches:
        yield pa.RecordBatch.from_pylist([assess_row(row) for row in batch.to_pylist()], schema=RISKS.arrow_schema())


def _blank(key: dict[str, Any]) -> dict[str, Any]:
    return {
        "platform": key["platform"],
        "platform_account_id": key["platform_account_id"],
        "is_account": False,
        "posts": 0,
        "hits": [],
    }


def _suspects(column: pa.Array) -> list[int]:
    return [index for index, is_suspect in enumerate(may_have_hits(column)) if is_suspect]


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


def _evidence(row: dict[str, Any]) -> Evidence:
    hit = Hit(row["code"], row["weight"], row["is_softened"], row["start"], row["end"])
    return Evidence(hit, row["field"], row["post_id"])


def _spark(schema: pa.Schema) -> Any:
    from pyspark.sql.pandas.types import from_arrow_schema

    return from_arrow_schema(schema)

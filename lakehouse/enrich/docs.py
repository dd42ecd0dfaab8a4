"""The text of each account that encoders and taggers read.

`compose` decides what goes in and in which order; `build_account_docs` feeds it from silver. Order and caps matter more
than encoder precision: name first, then what the account is about in plain words, then its own words. Handles are left
out on purpose: they dilute a short text (cosine of "football player" to a footballer falls from .46 to .41).
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from lakehouse.contracts.tables import ACCOUNTS, DOCS, POSTS
from lakehouse.enrich.conserved import one_for_one
from lakehouse.enrich.labels import words_of
from lakehouse.ops.derive import Read, derive
from lakehouse.ops.steps import Report, StepContext
from lakehouse.silver.emails import mask_emails

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

NEWEST_POSTS = 8
"""Posts read per account: enough to name a topic, few enough that one viral theme does not drown the profile."""
DOC_CHARS = 480
"""Longest text. Encoding cost is linear in length; about 120 tokens keep 10,000 accounts within half a minute on 2 cores."""
SEPARATOR = ". "
"""Between the parts of a text; a text without it is a bare name."""
BIO_CHARS = 200
TAGS_KEPT = 10
TITLE_CHARS = 80
LABEL_SHARE = 0.5
"""A category of posts counts for the account when at least this share of the newest posts carries it."""

_NOISE = re.compile(r"https?://\S+|www\.\S+|\[(?:email|phone)\]|[\x00-\x1f\x7f]", re.IGNORECASE)
_HASH = re.compile(r"[#@](?=\w)")
_SPACE = re.compile(r"\s+")


def compose(
    *,
    name: str | None,
    labels: Sequence[str] = (),
    bio: str | None = None,
    tags: Sequence[str] = (),
    titles: Sequence[str] = (),
) -> str:
    """Text of one account, at most `DOC_CHARS` characters: name, label words, bio, hashtags, titles.

    Addresses, mails, `#` and `@` are removed; repeated parts appear once; an empty account gives an empty text.
    """
    parts = (
        clean(name),
        ", ".join(words_of(labels)),
        cut(clean(bio), BIO_CHARS),
        ", ".join(list(dict.fromkeys(filter(None, map(clean, tags))))[:TAGS_KEPT]),
        *(cut(clean(title), TITLE_CHARS) for title in titles),
    )
    return cut(SEPARATOR.join(dict.fromkeys(filter(None, (part.strip(" .") for part in parts)))), DOC_CHARS)


def clean(text: str | None) -> str:
    """Text without addresses, contact data, control characters and runs of spaces."""
    return _SPACE.sub(" ", _HASH.sub(" ", _NOISE.sub(" ", mask_emails(text or "")))).strip()


def cut(text: str, limit: int) -> str:
    """At most `limit` characters, ending at a word where there is one."""
    if len(text) <= limit:
        return text
    head = text[: limit + 1]
    return (head.rsplit(" ", 1)[0] if " " in head[limit // 2 :] else head[:limit]).rstrip()


def content_hash(text: str) -> str:
    """sha256 of the text in UTF-8, hex; lone surrogates are replaced."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def common_labels(account_labels: Iterable[str] | None, post_labels: Sequence[Sequence[str] | None]) -> list[str]:
    """The account's own labels, then those that at least `LABEL_SHARE` of its newest posts carry, most frequent first."""
    counts = Counter(label for labels in post_labels for label in dict.fromkeys(labels or ()))
    needed = LABEL_SHARE * len(post_labels)
    frequent = [label for label, count in counts.most_common() if count >= needed]
    return list(dict.fromkeys([*(account_labels or ()), *frequent]))


def compose_row(row: dict[str, Any]) -> dict[str, Any]:
    """A row of the docs table from a joined account row with `posts` (newest first)."""
    posts = row["posts"] or []
    labels = common_labels(row["category_labels"], [post["category_labels"] for post in posts])
    text = compose(
        name=row["display_name"] if clean(row["display_name"]) else row["handle"],
        labels=labels,
        bio=row["bio"],
        tags=[tag for tag, _ in Counter(t for post in posts for t in post["tags"] or ()).most_common(TAGS_KEPT)],
        titles=[post["text"] for post in posts if post["text"]],
    )
    return {
        "platform": row["platform"],
        "platform_account_id": row["platform_account_id"],
        "content_hash": content_hash(text),
        "doc_text": text,
        "language_code": row["language_code"],
        "category_labels": labels,
    }


def build_account_docs(ctx: StepContext) -> Report:
    """Derive one text per account from its profile and newest posts; conserves rows."""
    schema = ctx.lake.spark_schema(DOCS)
    derive(ctx, DOCS, lambda read: _joined(read).mapInArrow(_compose_batches, schema), inputs=(ACCOUNTS, POSTS))
    return one_for_one(ctx.lake, ACCOUNTS, DOCS)


def _joined(read: Read) -> DataFrame:
    accounts = read(ACCOUNTS).select(
        "platform", "platform_account_id", "display_name", "handle", "bio", "category_labels", "language_code"
    )
    return accounts.join(newest_posts(read(POSTS)), ["platform", "platform_account_id"], "left")


def newest_posts(posts: DataFrame) -> DataFrame:
    """Per account its `NEWEST_POSTS` newest posts as an array `posts` of (text, tags, category_labels), newest first.

    The rank filter is pushed before the shuffle, so an account with a million posts costs as much as one with eight.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    key = ("platform", "platform_account_id")
    newest = Window.partitionBy(*key).orderBy(F.col("published_at").desc_nulls_last(), F.col("post_id"))
    text = F.substring(F.coalesce("title", "caption"), 1, 2 * TITLE_CHARS).alias("text")
    ranked = posts.withColumn("rank", F.row_number().over(newest)).where(F.col("rank") <= NEWEST_POSTS)
    entry = F.struct("rank", text, "tags", "category_labels")
    return ranked.groupBy(*key).agg(F.array_sort(F.collect_list(entry)).alias("posts"))


def _compose_batches(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    schema = DOCS.arrow_schema()
    for batch in batches:
        yield pa.RecordBatch.from_pylist([compose_row(row) for row in batch.to_pylist()], schema=schema)

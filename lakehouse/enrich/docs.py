"""The text of each account that encoders and taggers read.

`compose` decides what goes in and in which order; `build_account_docs` feeds it from silver. Order and caps matter more
than encoder precision: name first, then what the account is about in plain words, then its own words. Handles are left
out on purpose: they dilute a short text (cosine of "football player" to a footballer falls from .46 to .41).

An account whose posts are of both forms (`forms.py`) has a text of each as well, with only the posts of that form. One whose posts are all
of one form needs no second text: the whole says it.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.contracts.tables import ACCOUNTS, DOCS, POSTS
from lakehouse.enrich.conserved import one_for_one
from lakehouse.enrich.forms import FORMS, LONG, is_long
from lakehouse.enrich.labels import words_of
from lakehouse.ops.derive import Read, derive
from lakehouse.ops.steps import Report, StepContext
from lakehouse.silver.emails import mask_emails

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

Item = TypeVar("Item")
NEWEST_POSTS = 8
"""Posts read per account: enough to name a topic, few enough that one viral theme does not drown the profile."""
DOC_CHARS = 480
"""Longest text. Encoding cost is linear in length; about 120 tokens keep 10,000 accounts within half a minute on 2 cores."""
NEVER_MICROS = 2**63 - 1
"""Age of a post of which nobody knows when it was published: older than all others."""
SEPARATOR = ". "
"""Between the parts of a text; a text without it is a bare name."""
BIO_CHARS = 200
TAGS_KEPT = 10
TITLE_CHARS = 80
LABEL_SHARE = 0.5
"""A category of posts counts for the account when at least this share of the newest posts carries it."""

_DOMAIN = re.compile(r"@\s?[\w-]+\.")
"""In every mail address; a handle has none."""
_URL = re.compile(r"https?://\S+|www\.\S+", re.IGNORECASE)
_MASK = re.compile(r"\[(?:email|phone)\]", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_HASH = re.compile(r"[#@](?=\w)")


def compose(
    *,
    name: str | None,
    handle: str | None = None,
    labels: Sequence[str] = (),
    bio: str | None = None,
    tags: Sequence[str] = (),
    titles: Sequence[str] = (),
) -> str:
    """Text of one account, at most `DOC_CHARS` characters: name (handle where there is none), label words, bio, tags, titles.

    Addresses, mails, `#` and `@` are removed; repeated parts appear once; an empty account gives an empty text.
    """

    def parts() -> Iterator[str]:
        yield clean(name) or clean(handle)
        if labels:
            yield ", ".join(words_of(labels))
        yield cut(clean(bio), BIO_CHARS)
        if tags:
            yield ", ".join(islice(dict.fromkeys(filter(None, map(clean, tags))), TAGS_KEPT))
        for title in titles:
            yield cut(clean(title), TITLE_CHARS)

    return _joined_text(parts())


def clean(text: str | None) -> str:
    """Text without addresses, contact data, control characters and runs of spaces."""
    shown = text or ""
    if "@" in shown and _DOMAIN.search(shown):
        shown = mask_emails(shown)
    if "://" in shown or "w." in shown or "W." in shown:
        shown = _URL.sub(" ", shown)
    if "[" in shown:
        shown = _MASK.sub(" ", shown)
    if "#" in shown or "@" in shown:
        shown = _HASH.sub(" ", shown)
    shown = " ".join(shown.split())
    return shown if shown.isprintable() else " ".join(_CONTROL.sub(" ", shown).split())


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
    if not any(post_labels):
        return list(dict.fromkeys(account_labels or ()))
    counts = Counter(label for labels in post_labels for label in dict.fromkeys(labels or ()))
    needed = LABEL_SHARE * len(post_labels)
    frequent = [label for label, count in counts.most_common() if count >= needed]
    return list(dict.fromkeys([*(account_labels or ()), *frequent]))


def compose_batch(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Rows of the docs table from account rows joined with `posts` (newest first, at most `NEWEST_POSTS` of each form)."""
    posts = _Posts.of(batch.column("posts"))
    texts, labels = _texts(batch, posts.newest())
    hashes = list(map(content_hash, texts))
    made = {"content_hash": hashes, "doc_text": texts, "category_labels": labels}
    for form in FORMS:
        made |= _of_form(form, batch, posts, hashes)
    kept = {name: batch.column(name) for name in ("platform", "platform_account_id", "language_code")}
    return pa.RecordBatch.from_pydict(kept | made, schema=DOCS.arrow_schema())


@dataclass(frozen=True, slots=True)
class _Posts:
    """Posts of some accounts one after the other, and where those of each end; one number more than accounts, the first is 0."""

    rows: pa.StructArray
    ends: npt.NDArray[np.int64]

    @classmethod
    def of(cls, lists: pa.ListArray) -> _Posts:
        return cls(lists.flatten(), _ends(lists))

    def newest(self) -> _Posts:
        """The first `NEWEST_POSTS` of each account."""
        places = np.arange(len(self.rows)) - np.repeat(self.ends[:-1], np.diff(self.ends))
        return self._where(places < NEWEST_POSTS)

    def of_form(self, form: str) -> _Posts:
        """Those of a form."""
        are_long = self.rows.field("is_long").to_numpy(zero_copy_only=False).astype(bool)
        return self._where(are_long if form == LONG else ~are_long)

    def _where(self, are_kept: npt.NDArray[np.bool_]) -> _Posts:
        before = np.concatenate([[0], np.cumsum(are_kept)])
        return _Posts(self.rows.filter(pa.array(are_kept)), before[self.ends])


def _of_form(form: str, batch: pa.RecordBatch, posts: _Posts, hashes: list[str]) -> dict[str, list[str | None]]:
    """Text and hash of the posts of one form; an account whose posts are all of it has the hash of its whole text."""
    own, totals = np.diff(posts.of_form(form).ends), np.diff(posts.ends)
    found: list[str | None] = [key if count else None for key, count in zip(hashes, own.tolist(), strict=True)]
    written: list[str | None] = [None] * len(hashes)
    mixed = np.flatnonzero((own > 0) & (own < totals))
    if len(mixed):
        some = batch.take(pa.array(mixed))
        texts, _ = _texts(some, _Posts.of(some.column("posts")).of_form(form))
        for row, text in zip(mixed.tolist(), texts, strict=True):
            found[row] = content_hash(text)
            written[row] = None if found[row] == hashes[row] else text
    return {f"{form}_hash": found, f"{form}_text": written}


def _texts(batch: pa.RecordBatch, posts: _Posts) -> tuple[list[str], list[list[str]]]:
    """Texts of accounts with some of their posts, and the labels in them."""
    titles = _cut(posts.rows.field("text").to_pylist(), posts.ends)
    tags = posts.rows.field("tags")
    frequent = map(_frequent, _cut(tags.flatten().to_pylist(), _ends(tags)[posts.ends]))
    post_labels = _cut(_lists(posts.rows.field("category_labels")), posts.ends)
    labels = list(map(common_labels, _lists(batch.column("category_labels")), post_labels))
    words = (batch.column(name).to_pylist() for name in ("display_name", "handle", "bio"))
    texts = [
        compose(name=name, handle=handle, bio=bio, labels=own, tags=top, titles=newest)
        for name, handle, bio, own, top, newest in zip(*words, labels, frequent, titles, strict=True)
    ]
    return texts, labels


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
    """Per account its `NEWEST_POSTS` newest posts of each form as an array `posts` of (text, tags, category_labels, is_long), newest first.

    The rank filter is pushed before the shuffle, so an account with a million posts costs as much as one with sixteen.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    key = ("platform", "platform_account_id")
    newest = Window.partitionBy(*key, "is_long").orderBy("age", "post_id")
    age = F.coalesce(-F.unix_micros("published_at"), F.lit(NEVER_MICROS)).alias("age")
    text = F.substring(F.coalesce("title", "caption"), 1, 2 * TITLE_CHARS).alias("text")
    told = posts.select(*key, age, "post_id", text, "tags", "category_labels", is_long().alias("is_long"))
    ranked = told.withColumn("rank", F.row_number().over(newest)).where(F.col("rank") <= NEWEST_POSTS)
    entry = F.struct("age", "post_id", "text", "tags", "category_labels", "is_long")
    return ranked.groupBy(*key).agg(F.array_sort(F.collect_list(entry)).alias("posts"))


def _compose_batches(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    return map(compose_batch, batches)


def _joined_text(parts: Iterable[str]) -> str:
    """Distinct parts in order, no more than a text can hold."""
    kept: dict[str, None] = {}
    length = -len(SEPARATOR)
    for part in parts:
        bare = part.strip(" .")
        if bare and bare not in kept:
            kept[bare] = None
            length += len(SEPARATOR) + len(bare)
            if length > DOC_CHARS:
                break
    return cut(SEPARATOR.join(kept), DOC_CHARS)


def _frequent(tags: list[str]) -> list[str]:
    """The tags used most, of equals the first."""
    return [tag for tag, _ in Counter(tags).most_common()[:TAGS_KEPT]] if tags else []


def _lists(column: pa.ListArray) -> list[list[str]]:
    """Texts of each row of a list column, none for null."""
    return _cut(column.flatten().to_pylist(), _ends(column))


def _ends(lists: pa.ListArray) -> npt.NDArray[np.int64]:
    """Where each row of a list column ends among its flattened items; one number more than rows, the first is 0."""
    return np.concatenate([[0], np.cumsum(pc.fill_null(pc.list_value_length(lists), 0))])


def _cut(items: list[Item], ends: npt.NDArray[np.int64]) -> list[list[Item]]:
    """Flattened items as the rows that end so."""
    return [items[start:end] for start, end in pairwise(ends.tolist())]

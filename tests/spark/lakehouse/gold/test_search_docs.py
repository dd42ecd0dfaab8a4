"""A creator's vectors: of the whole and of each form of content, means of its accounts' vectors; null where it has no such content."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import numpy as np
import pytest

from lakehouse.contracts.tables import DOCS, EMBEDDINGS, GOLD_ACCOUNTS, SEARCH_DOCS
from lakehouse.encoder import model_id_of
from lakehouse.gold.profiles import build_gold_profiles
from lakehouse.gold.search_docs import build_search_docs
from lakehouse.ops.steps import StepContext

pytestmark = pytest.mark.spark
NOW = datetime(2026, 1, 1, tzinfo=UTC)
FILL = {"string": "x", "int": 1, "bigint": 1, "double": 0.5, "float": 0.5, "boolean": False, "timestamp": NOW}
VECTORS = {name: np.eye(4, dtype=np.float32)[place] for place, name in enumerate(("whole", "short", "long", "other"))}
ACCOUNTS = (
    ("mixed", "1", 98, ("whole", "short", "long")),
    ("mixed", "2", 998, ("other", "other", None)),
    ("one form", "3", 10, ("short", "short", None)),
    ("no posts", "4", None, ("whole", None, None)),
    ("no text", "5", 10, ("nothing", None, None)),
)
"""Creator, account, followers, and the hashes of the account's texts: whole, short-form, long-form."""


def _write(lake, spec, rows):
    schema = lake.spark_schema(spec)
    filled = [
        {field.name: FILL.get(field.dataType.simpleString(), []) if not field.nullable else None for field in schema}
        | row
        for row in rows
    ]
    values = [tuple(row[field.name] for field in schema) for row in filled]
    lake.replace(spec, lake.spark.createDataFrame(values, schema))


def _mean(*parts):
    total = sum(weight * VECTORS[name] for name, weight in parts)
    return total / np.linalg.norm(total)


def _creators(lake):
    keys = [{"platform": "youtube", "platform_account_id": account} for _, account, _, _ in ACCOUNTS]
    hashes = [dict(zip(("content_hash", "short_hash", "long_hash"), found, strict=True)) for *_, found in ACCOUNTS]
    known = [
        {"creator_id": creator, "display_name": creator, "followers_count": followers, "observed_at": NOW}
        for creator, _, followers, _ in ACCOUNTS
    ]
    texts = [{"doc_text": f"text of {account}"} for _, account, _, _ in ACCOUNTS]
    _write(lake, GOLD_ACCOUNTS, [one | two | three for one, two, three in zip(keys, hashes, known, strict=True)])
    _write(lake, DOCS, [one | two | three for one, two, three in zip(keys, hashes, texts, strict=True)])
    model = model_id_of(lake.settings.encoder_model)
    vectors = [{"content_hash": name, "model_id": model, "vector": row.tolist()} for name, row in VECTORS.items()]
    stale = {"content_hash": "nothing", "model_id": "another", "vector": [1.0, 0.0, 0.0, 0.0]}
    _write(lake, EMBEDDINGS, [*vectors, stale])
    ctx = StepContext(lake, lake.settings, {})
    build_gold_profiles(ctx)
    report = build_search_docs(ctx)
    assert (report.rows_in, report.rows_out) == (4, 3)
    return {row.creator_id: row for row in lake.read(SEARCH_DOCS).collect()}


def test_each_form_has_the_mean_of_the_accounts_that_have_it(lake):
    creators = _creators(lake)
    small, large = math.log(100), math.log(1_000)
    mixed, one_form, no_posts = creators["mixed"], creators["one form"], creators["no posts"]
    assert mixed.vector == pytest.approx(_mean(("whole", small), ("other", large)), abs=1e-6)
    assert mixed.short_vector == pytest.approx(_mean(("short", small), ("other", large)), abs=1e-6)
    assert mixed.long_vector == pytest.approx(VECTORS["long"], abs=1e-6)
    assert one_form.vector == one_form.short_vector == VECTORS["short"].tolist()
    assert no_posts.vector == VECTORS["whole"].tolist()
    assert one_form.long_vector is no_posts.short_vector is no_posts.long_vector is None
    assert (mixed.doc_text, one_form.doc_text) == ("text of 2 text of 1", "text of 3")

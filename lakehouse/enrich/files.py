"""Tagging and scoring of anyone's own file: Parquet or CSV in and out, no lake, no Spark. Same rules as the lake's steps.

Texts are read and written in batches; accounts are scored against each other, so their file is held in memory.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from lakehouse.contracts.fields import FIELDS, LABEL
from lakehouse.encoder import USE_MULTILINGUAL, Encoder
from lakehouse.enrich.docs import clean, cut
from lakehouse.enrich.engagement import BY_FOLLOWERS
from lakehouse.enrich.niche import Prototypes, is_readable, make_prototypes, tag_rows
from lakehouse.enrich.quality import PROFILE_PARTS, score_batch
from lakehouse.enrich.quality_rules import FEATURES, Column, peer_stats
from lakehouse.enrich.risk_rules import Evidence, assess, find_hits
from lakehouse.errors import NotFoundError, SchemaError

BATCH_ROWS = 10_000
TEXTS = ("id", "text", "language", "platform", "platform_account_id", *PROFILE_PARTS)
"""Columns of a CSV that are text whatever the first rows look like."""
TEXT_CHARS = 480
"""Characters of a text that the encoder reads; risks are searched in all of it."""
TAGS_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("niche_code", pa.string()),
        ("niche_score", pa.float64()),
        ("niches", pa.list_(LABEL)),
        ("content_type_code", pa.string()),
        ("risks", pa.list_(pa.struct([("code", pa.string()), ("level", pa.string()), ("score", pa.float64())]))),
        ("is_abstained", pa.bool_()),
    ]
)
SCORES_SCHEMA = pa.schema(
    [
        ("platform", pa.string()),
        ("platform_account_id", pa.string()),
        ("quality_score", pa.float64()),
        ("anomaly_score", pa.float64()),
        ("reasons", FIELDS["score_reasons"].type),
    ]
)


def tag_file(texts_path: Path, out_path: Path, *, model: str = USE_MULTILINGUAL, device: str = "auto") -> int:
    """Niche and risk tags of texts.

    Args:
        texts_path: columns `id`, `text`, optional `language`.
        out_path: written with the columns of `TAGS_SCHEMA`; in a CSV, lists are JSON.
        model: encoder setting, see `Encoder.load`.
        device: encoder device.

    Returns:
        Rows written.

    Raises:
        NotFoundError: the input does not exist.
        SchemaError: a needed column is missing or the format is unknown.
    """
    batches = read_batches(texts_path, needed=("id", "text"))
    encoder = Encoder.load(model, device=device)
    prototypes = make_prototypes(encoder)
    return write_batches(out_path, (_tag_batch(batch, encoder, prototypes) for batch in batches), TAGS_SCHEMA)


def score_file(accounts_path: Path, out_path: Path) -> int:
    """Quality and anomaly scores of accounts, each against the others in the file.

    Args:
        accounts_path: columns `platform`, `platform_account_id` and any of silver's account, metric and engagement
            columns; what is missing is unknown.
        out_path: written with the columns of `SCORES_SCHEMA`; in a CSV, lists are JSON.

    Returns:
        Rows written.

    Raises:
        NotFoundError: the input does not exist.
        SchemaError: a needed column is missing, a number is not one, or the format is unknown.
    """
    table = pa.Table.from_batches(list(read_batches(accounts_path, needed=("platform", "platform_account_id"))))
    keys = {name: table.column(name).cast(pa.string()) for name in ("platform", "platform_account_id")}
    features = file_features(table)
    stats = peer_stats(keys["platform"].to_pylist(), features)
    rows = pa.table(keys | {"engagement_reason": pa.nulls(table.num_rows, pa.string())} | features)
    scored = (score_batch(batch, stats) for batch in rows.combine_chunks().to_batches(max_chunksize=BATCH_ROWS))
    return write_batches(out_path, (_scores_only(batch) for batch in scored), SCORES_SCHEMA)


def file_features(table: pa.Table) -> dict[str, Column]:
    """`FEATURES` of the accounts in a file; rates come from measured columns, else from stated averages."""
    number = {name: _numbers(table, name) for name in _READ}
    followers = _positive(number["followers_count"])
    views = _first(number["median_views_count"], _positive(number["avg_views_count"]))
    stated = _first(_positive(number["avg_engagement_count"]), _stated_interactions(table, number))
    likes, comments = _positive(number["avg_likes_count"]), _positive(number["avg_comments_count"])
    known: dict[str, Column] = {
        "er_followers": _first(number["er_followers_ratio"], number["stated_er_ratio"], stated / followers),
        "er_views": _first(number["er_views_ratio"], stated / views),
        "log_likes_per_comment": np.log(likes / comments),
        "log_views_per_follower": np.log(_positive(views) / followers),
        "followers": number["followers_count"],
        "following": number["following_count"],
        "days_since_post": _days_since_post(table),
        "completeness": _completeness(table),
    }
    return {name: known.get(name, np.full(table.num_rows, np.nan)) for name in FEATURES}


_READ = (
    "followers_count",
    "following_count",
    "avg_likes_count",
    "avg_comments_count",
    "avg_shares_count",
    "avg_views_count",
    "avg_engagement_count",
    "median_views_count",
    "stated_er_ratio",
    "er_followers_ratio",
    "er_views_ratio",
)


def read_batches(path: Path, *, needed: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Batches of a Parquet or CSV file, checked before the first one is read.

    Raises:
        NotFoundError: the file does not exist.
        SchemaError: the ending is neither .parquet nor .csv, the file is unreadable, or a needed column is missing.
    """
    if not path.is_file():
        raise NotFoundError(f"There is no file {path}.")
    try:
        schema, batches = _open(path)
    except pa.ArrowInvalid as error:
        raise SchemaError(f"{path} cannot be read: {str(error).splitlines()[0]}") from error
    if missing := [name for name in needed if name not in schema.names]:
        raise SchemaError(f"{path} lacks the column {missing[0]}; it has {', '.join(schema.names)}.")
    return _readable(path, schema, batches)


def write_batches(path: Path, batches: Iterator[pa.RecordBatch], schema: pa.Schema) -> int:
    """Write batches as Parquet or, for .csv, as CSV with nested columns in JSON; returns the rows written.

    The file appears whole or not at all: it may be the one that is read.
    """
    is_csv = _format(path) == ".csv"
    flat = pa.schema([pa.field(f.name, pa.string() if pa.types.is_nested(f.type) else f.type) for f in schema])
    written = 0
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.part")
    try:
        with pacsv.CSVWriter(draft, flat) if is_csv else pq.ParquetWriter(draft, schema) as writer:
            for batch in batches:
                writer.write_batch(_flatten(batch, flat) if is_csv else batch)
                written += batch.num_rows
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return written


def _readable(path: Path, schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The batches, at least one; a row that cannot be read is a sentence, wherever in the file it stands."""
    yield pa.RecordBatch.from_pylist([], schema=schema)
    try:
        yield from batches
    except (pa.ArrowInvalid, OSError) as error:
        raise SchemaError(f"{path} cannot be read: {str(error).splitlines()[0]}") from error


def _open(path: Path) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    if _format(path) == ".csv":
        types = dict.fromkeys(TEXTS, pa.string()) | dict.fromkeys(_READ, pa.float64())
        as_read = pacsv.ConvertOptions(column_types=types)
        as_written = pacsv.ParseOptions(newlines_in_values=True)
        reader = pacsv.open_csv(path, convert_options=as_read, parse_options=as_written)
        return reader.schema, iter(reader)
    parquet = pq.ParquetFile(path)
    return parquet.schema_arrow, parquet.iter_batches(batch_size=BATCH_ROWS)


def _format(path: Path) -> str:
    ending = path.suffix.lower()
    if ending not in (".parquet", ".csv"):
        raise SchemaError(f"{path} must end in .parquet or .csv.")
    return ending


def _flatten(batch: pa.RecordBatch, flat: pa.Schema) -> pa.RecordBatch:
    columns = [
        pa.array([json.dumps(value, ensure_ascii=False) for value in column.to_pylist()], pa.string())
        if pa.types.is_nested(column.type)
        else column
        for column in batch.columns
    ]
    return pa.RecordBatch.from_arrays(columns, schema=flat)


def _tag_batch(batch: pa.RecordBatch, encoder: Encoder, prototypes: Prototypes) -> pa.RecordBatch:
    ids = batch.column("id").cast(pa.string()).to_pylist()
    texts = [text or "" for text in batch.column("text").cast(pa.string()).to_pylist()]
    read = [cut(clean(text), TEXT_CHARS) for text in texts]
    tags = tag_rows(encoder.encode(read), [is_readable(text) for text in read], [()] * len(read), prototypes)
    rows = [
        {"id": key, "content_type_code": None, "risks": _risks(text)} | tag.columns()
        for key, text, tag in zip(ids, texts, tags, strict=True)
    ]
    return pa.RecordBatch.from_pylist(rows, schema=TAGS_SCHEMA)


def _risks(text: str) -> list[dict[str, Any]]:
    tags = assess([Evidence(hit, "text", None) for hit in find_hits(text)], scanned=1)
    return [{name: tag[name] for name in ("code", "level", "score")} for tag in tags]


def _scores_only(batch: pa.RecordBatch) -> pa.RecordBatch:
    columns = [batch.column("score_reasons" if name == "reasons" else name) for name in SCORES_SCHEMA.names]
    return pa.RecordBatch.from_arrays(columns, schema=SCORES_SCHEMA)


def _numbers(table: pa.Table, name: str) -> Column:
    if name not in table.column_names:
        return np.full(table.num_rows, np.nan)
    try:
        numbers = table.column(name).cast(pa.float64())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise SchemaError(f"The column {name} must hold numbers.") from error
    values = np.asarray(pc.fill_null(numbers, np.nan).to_numpy())
    return np.where(np.isfinite(values), values, np.nan)  # an infinite one would spoil the percentiles of its peers


def _stated_interactions(table: pa.Table, number: dict[str, Column]) -> Column:
    """Likes plus what else the platform counts; unknown likes make it unknown."""
    counts = ["shares" in BY_FOLLOWERS.get(platform, ()) for platform in table.column("platform").to_pylist()]
    shares = np.where(counts, np.nan_to_num(number["avg_shares_count"]), 0.0)
    total: Column = _positive(number["avg_likes_count"]) + np.nan_to_num(number["avg_comments_count"]) + shares
    return total


def _days_since_post(table: pa.Table) -> Column:
    """Days from the newest post to `as_of` (or `observed_at`); NaN where a column is missing or no timestamp."""
    until = next((name for name in ("as_of", "observed_at") if name in table.column_names), None)
    if until is None or "last_post_at" not in table.column_names:
        return np.full(table.num_rows, np.nan)
    seconds = [
        pc.cast(pc.cast(table.column(n), pa.timestamp("s", "UTC"), safe=False), pa.int64())
        for n in (until, "last_post_at")
    ]
    days = pc.divide(pc.cast(pc.subtract(*seconds), pa.float64()), 86_400.0)
    return np.asarray(pc.fill_null(days, np.nan).to_numpy())


def _completeness(table: pa.Table) -> Column:
    """Share of the profile columns that a file has which are filled; NaN where it has none."""
    present = [name for name in PROFILE_PARTS if name in table.column_names]
    if not present:
        return np.full(table.num_rows, np.nan)
    filled = [[bool(value) for value in table.column(name).to_pylist()] for name in present]
    return np.asarray(np.mean(filled, axis=0), dtype=np.float64)


def _positive(values: Column) -> Column:
    return np.where(values > 0, values, np.nan)


def _first(*columns: Column) -> Column:
    """The first known value of each row."""
    out = columns[0]
    for column in columns[1:]:
        out = np.where(np.isnan(out), column, out)
    return out

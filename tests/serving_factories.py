"""Small worlds for the service: documents as gold exports them, a word-hash encoder, snapshots built by `index_build`."""

from __future__ import annotations

import json
import zlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from index_build.build import build_snapshot
from index_build.manifest import Manifest
from index_build.spec import IndexSpec
from lakehouse.contracts.fields import PROFILE
from lakehouse.contracts.tables import CREATOR_ALIASES, GOLD_ACCOUNTS, GOLD_EVIDENCE, GOLD_METRICS, SEARCH_DOCS
from lakehouse.encoder import Encoder
from lakehouse.settings import Settings
from serving.encoder import QueryEncoder
from serving.settings import ServingSettings

DIMENSIONS = 32
AS_OF = datetime(2026, 3, 1, tzinfo=UTC)
MODEL = "words/1"
FEW_QUERIES = {"queries_per_cell": 8}


def encode_words(texts: list[str]) -> np.ndarray:
    """Unit sums of one fixed random vector per word."""
    rows = [sum((_word_vector(word) for word in text.lower().split()), np.zeros(DIMENSIONS)) for text in texts]
    matrix = np.stack(rows) + 1e-3
    return (matrix / np.linalg.norm(matrix, axis=1, keepdims=True)).astype(np.float32)


def _word_vector(word: str) -> np.ndarray:
    return np.random.default_rng(zlib.crc32(word.encode())).standard_normal(DIMENSIONS)


def word_encoder(calls: list[str] | None = None) -> QueryEncoder:
    """Encoder of queries over word vectors; `calls` collects what was really encoded."""

    def encode(texts: list[str]) -> np.ndarray:
        if calls is not None:
            calls.extend(texts)
        return encode_words(texts)

    return QueryEncoder(lambda: Encoder(MODEL, DIMENSIONS, encode), dimensions=DIMENSIONS)


def profile(platform: str = "instagram", handle: str = "someone", **overrides: Any) -> dict[str, Any]:
    """A valid profile; everything not given is unknown."""
    base = dict.fromkeys((field.name for field in PROFILE), None)
    return base | {
        "platform": platform,
        "platform_account_id": f"{platform}-{handle}",
        "handle": handle,
        "display_name": handle,
        "observed_at": AS_OF,
        "identity_confidence_score": 1.0,
        **overrides,
    }


def document(creator_id: str, *profiles: dict[str, Any], **overrides: Any) -> dict[str, Any]:
    """A valid search document; creator columns are derived from the profiles unless given."""
    listed = list(profiles) or [profile(handle=creator_id)]
    followers = [p["followers_count"] for p in listed if p["followers_count"] is not None]
    posts = [p["last_post_at"] for p in listed if p["last_post_at"] is not None]
    text = overrides.pop("doc_text", listed[0]["display_name"] or creator_id)
    base = dict.fromkeys(SEARCH_DOCS.columns, None)
    return base | {
        "creator_id": creator_id,
        "display_name": listed[0]["display_name"],
        "bio": listed[0]["bio"],
        "platforms": sorted({p["platform"] for p in listed}),
        "platforms_count": len({p["platform"] for p in listed}),
        "handles": sorted({p["handle"].lower() for p in listed if p["handle"]}),
        "followers_total_count": sum(followers) if followers else None,
        "followers_max_count": max(followers, default=None),
        "profiles": listed,
        "country_codes": sorted({p["country_code"] for p in listed if p["country_code"]}),
        "language_codes": sorted({p["language_code"] for p in listed if p["language_code"]}),
        "niches": [],
        "niche_codes": [],
        "risks": [],
        "risk_codes": [],
        "category_labels": [],
        "score_reasons": [],
        "last_post_at": max(posts, default=None),
        "is_verified": any(p["is_verified"] for p in listed),
        "has_email": False,
        "identity_confidence_score": 1.0,
        "first_seen_at": AS_OF,
        "observed_at": AS_OF,
        "doc_text": text,
        "vector": encode_words([text])[0].tolist(),
        **overrides,
    }


def niches(*pairs: tuple[str, float]) -> dict[str, Any]:
    """Niche columns of a document, best first."""
    ranked = sorted(pairs, key=lambda pair: -pair[1])
    return {
        "niches": [{"code": code, "score": score} for code, score in ranked],
        "niche_codes": [code for code, _ in ranked],
        "niche_code": ranked[0][0] if ranked else None,
        "niche_score": ranked[0][1] if ranked else None,
    }


def risk(code: str, level: str) -> dict[str, Any]:
    """Risk columns of a document with one tag."""
    return {"risks": [{"code": code, "level": level, "score": 0.5, "evidence": []}], "risk_codes": [code]}


def evidence_row(
    creator_id: str, left: tuple[str, str], right: tuple[str, str], *signals: dict[str, Any], **overrides: Any
) -> dict[str, Any]:
    """A valid row of evidence between two accounts, given as (platform, handle) of `profile`; its signals make its score."""
    ends = sorted([(left[0], "-".join(left), left[1]), (right[0], "-".join(right), right[1])])
    log_odds = sum(signal["log_odds"] for signal in signals) if signals else None
    sides = zip(("left", "right"), ends, strict=True)
    named = [
        {f"{side}_platform": platform, f"{side}_id": account, f"{side}_handle": handle, f"{side}_observed_at": AS_OF}
        for side, (platform, account, handle) in sides
    ]
    base = dict.fromkeys(GOLD_EVIDENCE.columns, None) | named[0] | named[1]
    return base | {
        "creator_id": creator_id,
        "log_odds": log_odds,
        "probability": None if log_odds is None else 1 / (1 + 2**-log_odds),
        "signals": list(signals),
        "judgements": [],
        "merge_log_odds": 2.5,
        "model_version": "test",
        **overrides,
    }


def signal(
    name: str, log_odds: float, left: str | None = None, right: str | None = None, **link: Any
) -> dict[str, Any]:
    """A signal of a row of evidence; `link` says where both sides stood."""
    place = dict.fromkeys(("field", "url", "first_seen_at", "last_seen_at"), None) | link
    return {"signal": name, "log_odds": log_odds, "left": {"value": left} | place, "right": {"value": right} | place}


def judged(number: int, kind: str, *, is_left: bool = True, is_right: bool = True) -> dict[str, Any]:
    """A judgement of a row of evidence."""
    return {"number": number, "kind": kind, "at": AS_OF, "is_left": is_left, "is_right": is_right}


def write_export(
    folder: Path,
    documents: list[dict[str, Any]],
    *,
    aliases: dict[str, str] | None = None,
    history: list[dict[str, Any]] | None = None,
    evidence: list[dict[str, Any]] | None = None,
    export_id: str = "test",
) -> Path:
    """Write an export folder of documents, the accounts in them and optional side tables."""
    tables = {
        "docs": pa.Table.from_pylist(documents, schema=_nullable(SEARCH_DOCS.arrow_schema())),
        "accounts": _accounts(documents),
    }
    if aliases:
        rows = [
            {"alias_id": alias, "creator_id": target, "alias_reason_code": "merge", "last_seen_at": AS_OF}
            for alias, target in aliases.items()
        ]
        tables["aliases"] = pa.Table.from_pylist(rows, schema=_nullable(CREATOR_ALIASES.arrow_schema()))
    if history:
        tables["history"] = pa.Table.from_pylist(history, schema=_nullable(GOLD_METRICS.arrow_schema()))
    if evidence is not None:
        tables["evidence"] = pa.Table.from_pylist(evidence, schema=_nullable(GOLD_EVIDENCE.arrow_schema()))
    for name, table in tables.items():
        (folder / name).mkdir(parents=True)
        pq.write_table(table, folder / name / "part-0.parquet", use_deprecated_int96_timestamps=True)  # as Spark does
    description = {
        "export_id": export_id,
        "as_of": AS_OF.isoformat(),
        "model_id": MODEL,
        "dimensions": DIMENSIONS,
        "source_tables": {},
    }
    (folder / "export.json").write_text(json.dumps(description))
    return folder


def build(folder: Path, documents: list[dict[str, Any]], *, spec: dict[str, Any] | None = None, **sides: Any) -> Path:
    """Build a snapshot of documents in `folder`/snapshot."""
    out = folder / "snapshot"
    make_snapshot(write_export(folder / "export", documents, **sides), out, spec=spec)
    return out


def make_snapshot(export: Path, out: Path, *, spec: dict[str, Any] | None = None) -> Manifest:
    """Build quietly with few calibration queries."""
    return build_snapshot(export, out, IndexSpec(**(FEW_QUERIES | (spec or {}))), log=lambda _: None)


def serving_settings(home: Path, **overrides: Any) -> ServingSettings:
    """Settings that touch nothing outside `home`."""
    lake = Settings(home=home, lake=str(overrides.pop("lake", home / "lake")))
    return ServingSettings(lake=lake, threads=1, **overrides)


def ago(days: float) -> datetime:
    """Time before the snapshot's clock."""
    return AS_OF - timedelta(days=days)


def _accounts(documents: list[dict[str, Any]]) -> pa.Table:
    names = set(GOLD_ACCOUNTS.columns)
    rows = [
        {name: value for name, value in entry.items() if name in names}
        | {"creator_id": doc["creator_id"], "handle_key": (entry["handle"] or "").lower(), "first_seen_at": AS_OF}
        for doc in documents
        for entry in doc["profiles"]
    ]
    return pa.Table.from_pylist(rows, schema=_nullable(GOLD_ACCOUNTS.arrow_schema()))


def _nullable(schema: pa.Schema) -> pa.Schema:
    return pa.schema([pa.field(column.name, column.type) for column in schema])

"""The pipeline, read top to bottom: every step, what it reads, what it writes. Order is dependency order.

Assets, checks, jobs and the command line are derived from this list; a new table is one more entry.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace

from assets.names import ANSWERS, EXPORT, FETCH, LANDING, SNAPSHOT
from assets.snapshot import build_snapshot, is_snapshot_there, snapshot_fingerprint
from lakehouse.bronze.load import build_bronze, build_quarantine
from lakehouse.contracts import tables as t
from lakehouse.contracts.tables import TableSpec
from lakehouse.encoder import model_id_of
from lakehouse.enrich.docs import build_account_docs
from lakehouse.enrich.embed import build_embeddings
from lakehouse.enrich.engagement import build_engagement
from lakehouse.enrich.niche import build_niches
from lakehouse.enrich.quality import build_scores
from lakehouse.enrich.risk import build_risks
from lakehouse.fetch.steps import answers_fingerprint, build_answers, build_fetch, fetch_fingerprint
from lakehouse.gold.accounts import build_gold_accounts, build_gold_metrics
from lakehouse.gold.evidence import build_gold_evidence
from lakehouse.gold.export import build_export, is_export_there
from lakehouse.gold.profiles import build_gold_profiles
from lakehouse.gold.search_docs import build_search_docs
from lakehouse.identity.creators import build_creator_ids
from lakehouse.identity.edges import build_edges
from lakehouse.identity.judgements import digest_of
from lakehouse.identity.model import default_model
from lakehouse.ingest.landing import build_landing, input_fingerprint
from lakehouse.ops.candidates import build_candidates
from lakehouse.ops.refreshable import build_refreshable
from lakehouse.ops.steps import Report, Step, StepContext
from lakehouse.quality.measures import build_metrics
from lakehouse.settings import Settings
from lakehouse.silver.account_metrics import build_account_metrics
from lakehouse.silver.accounts import build_accounts
from lakehouse.silver.links import build_links
from lakehouse.silver.observations import build_observations
from lakehouse.silver.posts import build_posts
from lakehouse.storage.lake import Lake


def model_fingerprint(_lake: Lake, settings: Settings) -> str:
    """The encoder: another model means other vectors."""
    return model_id_of(settings.encoder_model)


def identity_fingerprint(_lake: Lake, _settings: Settings) -> str:
    """The resolver's model: other weights mean other edges."""
    return default_model().version


def creators_fingerprint(lake: Lake, settings: Settings) -> str:
    """The model, and what people judged: one more entry, or one that was emptied, means other clusters."""
    return f"{identity_fingerprint(lake, settings)} {digest_of(lake.objects)}".strip()


def judged_fingerprint(lake: Lake, _settings: Settings) -> str:
    """What people judged: it is part of the evidence."""
    return digest_of(lake.objects)


def kept_days(_lake: Lake, settings: Settings) -> str:
    """How long daily metrics are kept; empty where all are."""
    return str(settings.metrics_days or "")


def _nothing_else(_lake: Lake, _settings: Settings) -> str:
    """Most steps depend on their inputs alone."""
    return ""


def _table_step(
    spec: TableSpec,
    build: Callable[[StepContext], Report],
    *inputs: TableSpec | str,
    also: tuple[str, ...] = (),
    fingerprint: Callable[[Lake, Settings], str] = _nothing_else,
    code: str = "1",
    shared: tuple[str, ...] = (),
) -> Step:
    """A step named after the table it writes; `also` are further tables that the same work yields.

    Raise `code` when the meaning of the output changes: the step and all that read it then start from nothing.
    """
    names = tuple(item if isinstance(item, str) else item.name for item in inputs)
    layer = "enrich" if "enrich" in spec.name else "identity" if "identity" in spec.name else spec.layer
    return Step(
        name=spec.name,
        description=spec.description,
        group=layer,
        inputs=names,
        outputs=(spec.name, *also),
        build=build,
        fingerprint=fingerprint,
        code_version=code,
        shared=shared,
    )


def with_code_below(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """The steps with code versions that cover what they read: rows derived from rows that old code made are stale."""
    versions: dict[str, str] = {}
    chained = []
    for step in steps:
        below = sorted({versions[name] for name in step.inputs})
        version = hashlib.sha256("|".join([step.code_version, *below]).encode()).hexdigest()[:12]
        versions |= dict.fromkeys((step.name, *step.outputs), version)
        chained.append(replace(step, code_version=version))
    return tuple(chained)


_BRONZE = (*t.BRONZE_PROFILES.values(), *t.BRONZE_POSTS.values())

_OWN: tuple[Step, ...] = (
    Step(
        name=LANDING,
        description="Raw files of the input folder as immutable, checksummed objects by platform and day",
        group="raw",
        inputs=(),
        outputs=(),
        build=build_landing,
        fingerprint=input_fingerprint,
    ),
    Step(
        name=FETCH,
        description="What platforms say now of known accounts, asked within every quota, landed as raw answers",
        group="raw",
        inputs=(),
        outputs=(),
        build=build_fetch,
        fingerprint=fetch_fingerprint,
    ),
    Step(
        name=ANSWERS,
        description="Raw answers of platforms as records, read by the mappings of their sources",
        group="raw",
        inputs=(LANDING, FETCH),
        outputs=(),
        build=build_answers,
        fingerprint=answers_fingerprint,
    ),
    *(_table_step(spec, build_bronze(spec), ANSWERS, shared=(t.QUARANTINE.name,)) for spec in _BRONZE),
    _table_step(t.QUARANTINE, build_quarantine, ANSWERS),
    _table_step(t.OBSERVATIONS, build_observations, *t.BRONZE_PROFILES.values(), shared=(t.QUARANTINE.name,), code="2"),
    _table_step(t.ACCOUNTS, build_accounts, t.OBSERVATIONS),
    _table_step(t.ACCOUNT_METRICS, build_account_metrics, t.OBSERVATIONS, fingerprint=kept_days),
    _table_step(t.POSTS, build_posts, *t.BRONZE_POSTS.values(), shared=(t.QUARANTINE.name,), code="2"),
    _table_step(t.REFRESH, build_refreshable, t.ACCOUNTS, t.ACCOUNT_METRICS, code="2"),
    _table_step(t.LINKS, build_links, t.ACCOUNTS, t.POSTS),
    _table_step(t.CANDIDATES, build_candidates, t.LINKS, t.ACCOUNTS),
    _table_step(
        t.EDGES,
        build_edges,
        t.ACCOUNTS,
        t.LINKS,
        also=(t.BLOCKING.name,),
        fingerprint=identity_fingerprint,
        code="2",
    ),
    _table_step(
        t.CREATOR_IDS,
        build_creator_ids,
        t.EDGES,
        t.ACCOUNTS,
        also=(t.CREATOR_ALIASES.name,),
        fingerprint=creators_fingerprint,
    ),
    _table_step(t.DOCS, build_account_docs, t.ACCOUNTS, t.POSTS, code="2"),
    _table_step(t.EMBEDDINGS, build_embeddings, t.DOCS, fingerprint=model_fingerprint),
    _table_step(t.NICHES, build_niches, t.DOCS, t.EMBEDDINGS, fingerprint=model_fingerprint),
    _table_step(t.RISKS, build_risks, t.ACCOUNTS, t.POSTS),
    _table_step(t.ENGAGEMENT, build_engagement, t.ACCOUNTS, t.POSTS, t.ACCOUNT_METRICS),
    _table_step(t.SCORES, build_scores, t.ENGAGEMENT, t.ACCOUNTS, t.ACCOUNT_METRICS, t.POSTS, code="2"),
    _table_step(
        t.GOLD_ACCOUNTS,
        build_gold_accounts,
        t.ACCOUNTS,
        t.CREATOR_IDS,
        t.DOCS,
        t.ENGAGEMENT,
        t.NICHES,
        t.RISKS,
        t.SCORES,
    ),
    _table_step(t.GOLD_METRICS, build_gold_metrics, t.ACCOUNT_METRICS, t.CREATOR_IDS),
    _table_step(
        t.GOLD_EVIDENCE,
        build_gold_evidence,
        t.EDGES,
        t.GOLD_ACCOUNTS,
        t.LINKS,
        fingerprint=judged_fingerprint,
    ),
    _table_step(t.GOLD_PROFILES, build_gold_profiles, t.GOLD_ACCOUNTS),
    _table_step(
        t.SEARCH_DOCS,
        build_search_docs,
        t.GOLD_PROFILES,
        t.GOLD_ACCOUNTS,
        t.DOCS,
        t.EMBEDDINGS,
        fingerprint=model_fingerprint,
    ),
    Step(
        name=EXPORT,
        description="Gold as plain Parquet: what the index build, DuckDB and anyone else read",
        group="gold",
        inputs=(
            t.SEARCH_DOCS.name,
            t.GOLD_ACCOUNTS.name,
            t.GOLD_METRICS.name,
            t.CREATOR_ALIASES.name,
            t.GOLD_EVIDENCE.name,
            t.POSTS.name,
        ),
        outputs=(),
        build=build_export,
        is_intact=is_export_there,
    ),
    Step(
        name=SNAPSHOT,
        description="FAISS shards with Parquet in the same order, measured, verified, published by moving CURRENT",
        group="index",
        inputs=(EXPORT,),
        outputs=(),
        build=build_snapshot,
        fingerprint=snapshot_fingerprint,
        is_intact=is_snapshot_there,
    ),
)

_MEASURED = tuple(name for step in _OWN for name in step.outputs or (step.name,))

STEPS: tuple[Step, ...] = with_code_below((*_OWN, _table_step(t.QUALITY_METRICS, build_metrics, *_MEASURED)))

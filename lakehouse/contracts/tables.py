"""Every table of the lake, once. A new table is a new `TableSpec` here; nothing else declares a schema."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from lakehouse.contracts.fields import FIELDS, Field
from lakehouse.contracts.taxonomy import PLATFORMS


@dataclass(frozen=True, slots=True)
class TableSpec:
    """A Delta table: its columns (names in `FIELDS`), its key, and how rows arrive.

    `key` columns are never null and together unique. `required` columns are never null. A table that `grows_by` a column,
    which is in its key, only gains rows, and each append has larger values of it than all before.
    """

    name: str
    description: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    required: tuple[str, ...] = ()
    partition_by: tuple[str, ...] = ()
    grows_by: str = ""

    @property
    def layer(self) -> str:
        """Layer code, the part of the name before the first underscore."""
        return self.name.lstrip("_").split("_", 1)[0]

    @property
    def fields(self) -> tuple[Field, ...]:
        """The declared columns in order."""
        return tuple(FIELDS[name] for name in self.columns)

    @property
    def not_null(self) -> frozenset[str]:
        """Columns that may not be null."""
        return frozenset(self.key) | frozenset(self.required)

    def arrow_schema(self) -> pa.Schema:
        """Arrow schema in column order, nullability from key and `required`."""
        return pa.schema([pa.field(f.name, f.type, nullable=f.name not in self.not_null) for f in self.fields])


_ENVELOPE = ("observed_at", "batch_seq", "record_seq", "landed_at")
_ACCOUNT = ("platform", "platform_account_id")
_METRICS = (
    "followers_count",
    "following_count",
    "content_count",
    "views_count",
    "likes_count",
    "avg_views_count",
    "avg_likes_count",
    "avg_comments_count",
    "avg_shares_count",
    "avg_engagement_count",
    "stated_er_ratio",
)
_PROFILE = (
    "handle",
    "handle_key",
    "display_name",
    "other_names",
    "bio",
    "profile_url",
    "website_url",
    "website_domain",
    "category_labels",
    "country_code",
    "audience_country_code",
    "language_code",
    "account_type_code",
    "is_verified",
    "is_private",
    "account_state_code",
    "account_created_at",
    "declared_links",
    "email_hashes",
    "has_email",
)


def _bronze(platform: str, entity: str, what: str) -> TableSpec:
    return TableSpec(
        name=f"bronze_{platform}__{entity}",
        description=f"Raw {what} of {platform}: payload plus envelope, append-only",
        columns=(
            "record_id",
            "source_code",
            "platform",
            "record_type",
            "payload",
            "file_name",
            "line_number",
            "landing_path",
            *_ENVELOPE,
        ),
        key=("batch_seq", "record_seq"),
        required=("record_id", "source_code", "platform", "record_type", "payload", "observed_at", "landed_at"),
        grows_by="batch_seq",
    )


BRONZE_PROFILES = {p: _bronze(p, "profiles", "account records") for p in PLATFORMS}
BRONZE_POSTS = {p: _bronze(p, "posts", "posts") for p in PLATFORMS}

QUARANTINE = TableSpec(
    name="ops_quality__quarantine",
    description="Everything that was stopped, with its reason; nothing vanishes",
    columns=(
        "quarantine_id",
        "stage_code",
        "source_code",
        "file_name",
        "line_number",
        "field_name",
        "reason_code",
        "reason_text",
        "raw_value",
        "rows_count",
        "batch_seq",
        "landed_at",
    ),
    key=("quarantine_id",),
    required=("stage_code", "source_code", "reason_code", "rows_count", "batch_seq"),
)
QUALITY_METRICS = TableSpec(
    name="ops_quality__metrics",
    description="Rows, null rates, rules and expectations of every asset over time",
    columns=(
        "asset",
        "partition",
        "run",
        "metric",
        "value",
        "minimum",
        "maximum",
        "status_code",
        "measured_at",
    ),
    key=("asset", "partition", "run", "metric"),
    required=("value", "status_code", "measured_at"),
)
OBSERVATIONS = TableSpec(
    name="_silver_core__observations",
    description="One normalised row per distinct raw account record; accounts and metrics are derived from it",
    columns=("record_id", "source_code", *_ACCOUNT, *_ENVELOPE, *_PROFILE, *_METRICS),
    key=("record_id",),
    required=("source_code", *_ACCOUNT, "observed_at", "batch_seq", "record_seq", "landed_at"),
    partition_by=("platform",),
)
ACCOUNTS = TableSpec(
    name="silver_core__accounts",
    description="One row per account; each column is the newest known value",
    columns=(
        *_ACCOUNT,
        *_PROFILE,
        *_METRICS,
        "source_codes",
        "observations_count",
        "first_seen_at",
        "observed_at",
        "batch_seq",
    ),
    key=_ACCOUNT,
    required=("first_seen_at", "observed_at"),
    partition_by=("platform",),
)
ACCOUNT_METRICS = TableSpec(
    name="silver_core__account_metrics",
    description="Daily metric snapshots: one row per account and day, newest observation of the day wins",
    columns=(*_ACCOUNT, "metric_date", *_METRICS, "source_code", "observed_at", "batch_seq"),
    key=(*_ACCOUNT, "metric_date"),
    required=("source_code", "observed_at"),
    partition_by=("platform",),
)
POSTS = TableSpec(
    name="silver_core__posts",
    description="One row per post, newest counts",
    columns=(
        "platform",
        "post_id",
        "platform_account_id",
        "handle_key",
        "published_at",
        "title",
        "caption",
        "tags",
        "category_labels",
        "language_code",
        "declared_links",
        "email_hashes",
        "duration_seconds",
        "views_count",
        "likes_count",
        "comments_count",
        "shares_count",
        "saves_count",
        "source_code",
        "first_seen_at",
        "observed_at",
        "batch_seq",
    ),
    key=("platform", "post_id"),
    required=("platform_account_id", "observed_at"),
    partition_by=("platform",),
)
LINKS = TableSpec(
    name="silver_core__links",
    description="Declared cross-platform handles, websites and hashed e-mails, with where they were found",
    columns=(
        "link_id",
        *_ACCOUNT,
        "link_type_code",
        "target_platform",
        "target_key",
        "target_url",
        "evidence_code",
        "mentions_count",
        "first_seen_at",
        "last_seen_at",
    ),
    key=("link_id",),
    required=(*_ACCOUNT, "link_type_code", "target_key", "evidence_code"),
)
EDGES = TableSpec(
    name="silver_identity__edges",
    description="Scored pairs of accounts with their evidence",
    columns=(
        "left_platform",
        "left_id",
        "right_platform",
        "right_id",
        "probability",
        "log_odds",
        "reasons",
        "blocking_code",
        "model_version",
    ),
    key=("left_platform", "left_id", "right_platform", "right_id"),
    required=("probability", "log_odds", "reasons", "model_version"),
)
BLOCKING = TableSpec(
    name="_silver_identity__blocking",
    description="Under which keys accounts meet others, by frozen frequencies",
    columns=(*_ACCOUNT, "node_digest", "sort_text", "blocking_keys", "blocking_shares"),
    key=_ACCOUNT,
    required=("node_digest", "sort_text", "blocking_keys", "blocking_shares"),
)
CREATOR_IDS = TableSpec(
    name="silver_identity__creator_ids",
    description="Which creator an account belongs to; ids never change meaning",
    columns=(
        *_ACCOUNT,
        "creator_id",
        "confidence_score",
        "cluster_size_count",
        "is_anchor",
        "first_seen_at",
        "model_version",
    ),
    key=_ACCOUNT,
    required=("creator_id", "confidence_score", "cluster_size_count", "is_anchor", "first_seen_at"),
)
CREATOR_ALIASES = TableSpec(
    name="silver_identity__creator_aliases",
    description="Former creator ids and the id they resolve to today, one hop",
    columns=("alias_id", "creator_id", "alias_reason_code", "last_seen_at"),
    key=("alias_id",),
    required=("creator_id", "alias_reason_code"),
)
DOCS = TableSpec(
    name="_silver_enrich__account_docs",
    description="The text of each account that encoders and taggers read, and where its posts are of both forms that of each",
    columns=(
        *_ACCOUNT,
        "content_hash",
        "doc_text",
        "short_hash",
        "short_text",
        "long_hash",
        "long_text",
        "language_code",
        "category_labels",
    ),
    key=_ACCOUNT,
    required=("content_hash", "doc_text"),
)
DOC_TEXTS = (("content_hash", "doc_text"), ("short_hash", "short_text"), ("long_hash", "long_text"))
"""Texts of an account in `DOCS`: of the whole and of each form, the hash of each and where it is written."""

EMBEDDINGS = TableSpec(
    name="silver_enrich__embeddings",
    description="One vector per distinct text and encoder; unchanged text is never embedded again",
    columns=("content_hash", "model_id", "vector"),
    key=("content_hash", "model_id"),
    required=("vector",),
)
NICHES = TableSpec(
    name="silver_enrich__niches",
    description="Niche labels of each account, with abstention",
    columns=(
        *_ACCOUNT,
        "niche_code",
        "niche_score",
        "niches",
        "is_abstained",
        "content_type_code",
        "content_hash",
        "model_version",
    ),
    key=_ACCOUNT,
    required=("niches", "is_abstained", "model_version"),
)
RISKS = TableSpec(
    name="silver_enrich__risks",
    description="Risk tags of each account with evidence spans",
    columns=(*_ACCOUNT, "risks", "risk_codes", "posts_scanned_count", "model_version"),
    key=_ACCOUNT,
    required=("risks", "risk_codes", "posts_scanned_count", "model_version"),
)
ENGAGEMENT = TableSpec(
    name="silver_enrich__engagement",
    description="Engagement rates with window, n and statistic",
    columns=(
        *_ACCOUNT,
        "er_followers_ratio",
        "er_views_ratio",
        "er_followers_mean_ratio",
        "er_views_mean_ratio",
        "median_views_count",
        "posts_per_week",
        "last_post_at",
        "growth_90d_ratio",
        "statistic_code",
        "window_days",
        "posts_count",
        "null_reason_code",
        "formula_version",
        "as_of",
    ),
    key=_ACCOUNT,
    required=("formula_version",),
)
SCORES = TableSpec(
    name="silver_enrich__scores",
    description="Quality and anomaly score of each account with reasons",
    columns=(*_ACCOUNT, "quality_score", "anomaly_score", "score_reasons", "null_reason_code", "formula_version"),
    key=_ACCOUNT,
    required=("score_reasons", "formula_version"),
)
GOLD_ACCOUNTS = TableSpec(
    name="gold_creator__accounts",
    description="One row per account with everything derived about it",
    columns=(
        *_ACCOUNT,
        "creator_id",
        "confidence_score",
        "handle",
        "handle_key",
        "display_name",
        "bio",
        "profile_url",
        "website_url",
        "category_labels",
        "country_code",
        "language_code",
        "account_type_code",
        "is_verified",
        "is_private",
        "has_email",
        *_METRICS,
        "er_followers_ratio",
        "er_views_ratio",
        "median_views_count",
        "posts_per_week",
        "last_post_at",
        "growth_90d_ratio",
        "statistic_code",
        "window_days",
        "posts_count",
        "null_reason_code",
        "niche_code",
        "niche_score",
        "niches",
        "risks",
        "risk_codes",
        "quality_score",
        "anomaly_score",
        "score_reasons",
        "content_hash",
        "short_hash",
        "long_hash",
        "source_codes",
        "first_seen_at",
        "observed_at",
    ),
    key=_ACCOUNT,
    required=("creator_id", "first_seen_at", "observed_at"),
)
GOLD_METRICS = TableSpec(
    name="gold_creator__metrics_daily",
    description="One row per account and metric day, with the creator",
    columns=("creator_id", *_ACCOUNT, "metric_date", *_METRICS, "source_code"),
    key=(*_ACCOUNT, "metric_date"),
    required=("creator_id",),
)
GOLD_EVIDENCE = TableSpec(
    name="gold_creator__evidence",
    description="Why the accounts of a creator are one, and what came near: pairs that were scored or that people decided",
    columns=(
        "creator_id",
        "left_platform",
        "left_id",
        "right_platform",
        "right_id",
        "left_handle",
        "right_handle",
        "left_observed_at",
        "right_observed_at",
        "other_creator_id",
        "probability",
        "log_odds",
        "signals",
        "judgements",
        "merge_log_odds",
        "model_version",
    ),
    key=("creator_id", "left_platform", "left_id", "right_platform", "right_id"),
    required=("left_observed_at", "right_observed_at", "signals", "judgements", "merge_log_odds"),
)
GOLD_PROFILES = TableSpec(
    name="gold_creator__profiles",
    description="One row per creator",
    columns=(
        "creator_id",
        "display_name",
        "bio",
        "platforms",
        "platforms_count",
        "handles",
        "followers_total_count",
        "followers_max_count",
        "profiles",
        "country_codes",
        "language_codes",
        "niche_code",
        "niche_score",
        "niches",
        "niche_codes",
        "risks",
        "risk_codes",
        "er_followers_ratio",
        "er_views_ratio",
        "quality_score",
        "anomaly_score",
        "score_reasons",
        "growth_90d_ratio",
        "posts_per_week",
        "last_post_at",
        "category_labels",
        "is_verified",
        "has_email",
        "identity_confidence_score",
        "first_seen_at",
        "observed_at",
    ),
    key=("creator_id",),
    required=("platforms", "profiles", "first_seen_at", "observed_at"),
)
SEARCH_DOCS = TableSpec(
    name="gold_creator__search_docs",
    description="Searchable projection of a creator: everything a filter, the ranking or a result card needs, and the vectors",
    columns=(*GOLD_PROFILES.columns, "doc_text", "vector", "short_vector", "long_vector"),
    key=("creator_id",),
    required=("platforms", "profiles", "first_seen_at", "observed_at", "doc_text", "vector"),
)

REFRESH = TableSpec(
    name="ops_ingest__refresh",
    description="What is known of each account for planning when to fetch it again",
    columns=(
        *_ACCOUNT,
        "handle_key",
        "followers_count",
        "content_count",
        "account_state_code",
        "first_seen_at",
        "observed_at",
        "last_changed_at",
        "changes_count",
        "watched_hours",
    ),
    key=_ACCOUNT,
    required=("first_seen_at", "observed_at", "changes_count", "watched_hours"),
)
CANDIDATES = TableSpec(
    name="ops_ingest__candidates",
    description="Accounts that others point at and that the lake does not have: to be asked for",
    columns=(*_ACCOUNT, "referrers_count", "first_seen_at"),
    key=_ACCOUNT,
    required=("referrers_count", "first_seen_at"),
)

TABLES: dict[str, TableSpec] = {
    spec.name: spec
    for spec in (
        *BRONZE_PROFILES.values(),
        *BRONZE_POSTS.values(),
        QUARANTINE,
        QUALITY_METRICS,
        OBSERVATIONS,
        ACCOUNTS,
        ACCOUNT_METRICS,
        POSTS,
        LINKS,
        EDGES,
        BLOCKING,
        CREATOR_IDS,
        CREATOR_ALIASES,
        DOCS,
        EMBEDDINGS,
        NICHES,
        RISKS,
        ENGAGEMENT,
        SCORES,
        GOLD_ACCOUNTS,
        GOLD_METRICS,
        GOLD_EVIDENCE,
        GOLD_PROFILES,
        SEARCH_DOCS,
        REFRESH,
        CANDIDATES,
    )
}

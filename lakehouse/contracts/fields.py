"""Every column of the lake, once: name, Arrow type, unit, description.

Tables pick columns from here by name (`tables.py`); Spark and Arrow schemas, structural checks and the data
dictionary are derived. A column that means something else needs another name, never another entry.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

TIMESTAMP = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True, slots=True)
class Field:
    """One column: `type` is an Arrow type, `unit` is empty for text, codes and flags."""

    name: str
    type: pa.DataType
    description: str
    unit: str = ""


STRINGS = pa.list_(pa.string())
DECLARED_LINK = pa.struct(
    [("platform", pa.string()), ("target", pa.string()), ("url", pa.string()), ("evidence", pa.string())]
)
REASON = pa.struct(
    [
        ("signal", pa.string()),
        ("log_odds", pa.float64()),
        ("left_value", pa.string()),
        ("right_value", pa.string()),
    ]
)
_PLACE = pa.struct(
    [
        ("value", pa.string()),
        ("field", pa.string()),
        ("url", pa.string()),
        ("first_seen_at", TIMESTAMP),
        ("last_seen_at", TIMESTAMP),
    ]
)
SIGNAL = pa.struct([("signal", pa.string()), ("log_odds", pa.float64()), ("left", _PLACE), ("right", _PLACE)])
JUDGED = pa.struct(
    [
        ("number", pa.int64()),
        ("kind", pa.string()),
        ("at", TIMESTAMP),
        ("is_left", pa.bool_()),
        ("is_right", pa.bool_()),
    ]
)
LABEL = pa.struct([("code", pa.string()), ("score", pa.float64())])
EVIDENCE = pa.struct([("field", pa.string()), ("post_id", pa.string()), ("start", pa.int32()), ("end", pa.int32())])
RISK = pa.struct(
    [("code", pa.string()), ("level", pa.string()), ("score", pa.float64()), ("evidence", pa.list_(EVIDENCE))]
)
SCORE_REASON = pa.struct(
    [("code", pa.string()), ("contribution", pa.float64()), ("value", pa.float64()), ("text", pa.string())]
)
PROFILE = pa.struct(
    [
        ("platform", pa.string()),
        ("platform_account_id", pa.string()),
        ("handle", pa.string()),
        ("display_name", pa.string()),
        ("profile_url", pa.string()),
        ("bio", pa.string()),
        ("followers_count", pa.int64()),
        ("following_count", pa.int64()),
        ("content_count", pa.int64()),
        ("er_followers_ratio", pa.float64()),
        ("er_views_ratio", pa.float64()),
        ("avg_views_count", pa.float64()),
        ("avg_likes_count", pa.float64()),
        ("avg_comments_count", pa.float64()),
        ("is_verified", pa.bool_()),
        ("is_private", pa.bool_()),
        ("account_type_code", pa.string()),
        ("country_code", pa.string()),
        ("language_code", pa.string()),
        ("quality_score", pa.float64()),
        ("anomaly_score", pa.float64()),
        ("growth_90d_ratio", pa.float64()),
        ("last_post_at", TIMESTAMP),
        ("observed_at", TIMESTAMP),
        ("identity_confidence_score", pa.float64()),
    ]
)

_F = Field
_ALL = (
    # keys and envelope
    _F("record_id", pa.string(), "Content hash of a raw record: sha256 over platform, type, source, time and payload"),
    _F("source_code", pa.string(), "Declared source (mapping name) that a row came from"),
    _F("source_codes", STRINGS, "All sources that contributed, sorted"),
    _F("platform", pa.string(), "Platform code: instagram, tiktok, youtube, x"),
    _F("record_type", pa.string(), "profile or post"),
    _F(
        "payload",
        pa.string(),
        "Raw record as ASCII-escaped JSON: canonical field name to raw value; `_rescued` holds the rest",
    ),
    _F("file_name", pa.string(), "Input file relative to the input folder"),
    _F("line_number", pa.int64(), "First line of the record in its file, from 1"),
    _F("batch_seq", pa.int64(), "Landing batch, increasing; one batch per landed file"),
    _F("record_seq", pa.int64(), "Ordinal of the record inside its batch"),
    _F("landing_path", pa.string(), "Landing object that holds the record"),
    _F("landed_at", TIMESTAMP, "When the batch landed"),
    _F("observed_at", TIMESTAMP, "When the source saw the values"),
    _F("first_seen_at", TIMESTAMP, "When the row first landed here; recorded once, never recomputed from the clock"),
    _F("last_seen_at", TIMESTAMP, "Newest observation"),
    # quarantine
    _F("quarantine_id", pa.string(), "Content hash of the quarantine entry"),
    _F("stage_code", pa.string(), "Where it was stopped: landing, bronze, silver_profiles or silver_posts"),
    _F("field_name", pa.string(), "Column concerned, null for a whole row or file"),
    _F("reason_code", pa.string(), "Machine-readable reason"),
    _F("reason_text", pa.string(), "Reason in one sentence"),
    _F("raw_value", pa.string(), "Value or line as read, ASCII-escaped"),
    _F(
        "rows_count", pa.int64(), "Rows withheld by this entry: 0 for a single field, 1 for a row, n for a file", "rows"
    ),
    # quality
    _F("asset", pa.string(), "Table or step that was measured"),
    _F("partition", pa.string(), "Source or column that a value is of; empty for the whole asset"),
    _F("run", pa.string(), "State of the asset: the table's newest commit, or a digest of what the step depended on"),
    _F("metric", pa.string(), "What was measured"),
    _F("value", pa.float64(), "The measured value, in the unit that the metric's name says"),
    _F("minimum", pa.float64(), "Least value that is expected, null without one"),
    _F("maximum", pa.float64(), "Largest value that is expected, null without one"),
    _F("status_code", pa.string(), "pass, warn (an expectation is broken) or fail (a rule that blocks)"),
    _F("measured_at", TIMESTAMP, "When the value was recorded"),
    # account
    _F(
        "platform_account_id",
        pa.string(),
        "The platform's own id; `@handle` where the source knows only the handle, `~name` where only the name",
    ),
    _F("handle", pa.string(), "Handle as written"),
    _F("handle_key", pa.string(), "NFKC, case-folded handle without leading @"),
    _F("display_name", pa.string(), "Display name, normalised text"),
    _F("other_names", STRINGS, "Further names that a source states, for example in another script"),
    _F("bio", pa.string(), "Profile text, e-mails and phone numbers masked"),
    _F("profile_url", pa.string(), "Public profile address"),
    _F("website_url", pa.string(), "Canonical website"),
    _F("website_domain", pa.string(), "Registrable domain of the website, null for shared hosts"),
    _F("category_labels", STRINGS, "Category labels given by the source"),
    _F("country_code", pa.string(), "ISO 3166-1 alpha-2 country of the account"),
    _F("audience_country_code", pa.string(), "ISO 3166-1 alpha-2 country of most followers, as stated by the source"),
    _F("language_code", pa.string(), "ISO 639-1 language of the text"),
    _F("account_type_code", pa.string(), "personal, business, creator or brand"),
    _F("is_verified", pa.bool_(), "Verified by the platform"),
    _F("is_private", pa.bool_(), "Private account"),
    _F("account_created_at", TIMESTAMP, "When the account was opened"),
    _F(
        "declared_links",
        pa.list_(DECLARED_LINK),
        "Accounts and sites that the record declares; empty where it was read and declares none; platform `web` is a site, "
        "evidence declared, bio or post",
    ),
    _F("email_hashes", STRINGS, "Keyed hashes (vN:hex) of e-mail addresses found in the text, sorted"),
    _F("has_email", pa.bool_(), "An e-mail address was found"),
    _F("observations_count", pa.int64(), "Observations behind the row", "rows"),
    _F(
        "account_state_code",
        pa.string(),
        "What the platform last said: active, private, deleted, suspended, ineligible or unknown; null from dumps",
    ),
    # refresh
    _F("last_changed_at", TIMESTAMP, "Last look whose followers had moved by the planner's threshold"),
    _F("changes_count", pa.float64(), "Changes of followers between looks, older ones faded", "changes"),
    _F("referrers_count", pa.int64(), "Accounts that point at it", "accounts"),
    _F("watched_hours", pa.float64(), "Hours between looks, older ones faded", "h"),
    # metrics
    _F("metric_date", pa.date32(), "UTC day of the snapshot"),
    _F("followers_count", pa.int64(), "Followers or subscribers; null when hidden", "accounts"),
    _F("following_count", pa.int64(), "Accounts followed", "accounts"),
    _F("content_count", pa.int64(), "Posts or videos published", "posts"),
    _F("views_count", pa.int64(), "Views", "views"),
    _F("likes_count", pa.int64(), "Likes", "likes"),
    _F("comments_count", pa.int64(), "Comments or replies", "comments"),
    _F("shares_count", pa.int64(), "Shares or reposts", "shares"),
    _F("saves_count", pa.int64(), "Saves or bookmarks", "saves"),
    _F("avg_views_count", pa.float64(), "Mean views per post as stated by the source", "views"),
    _F("avg_likes_count", pa.float64(), "Mean likes per post as stated by the source", "likes"),
    _F("avg_comments_count", pa.float64(), "Mean comments per post as stated by the source", "comments"),
    _F("avg_shares_count", pa.float64(), "Mean shares per post as stated by the source", "shares"),
    _F("avg_engagement_count", pa.float64(), "Mean interactions per post as stated by the source", "interactions"),
    _F("stated_er_ratio", pa.float64(), "Engagement rate by followers as stated by the source", "0-1"),
    # posts
    _F("post_id", pa.string(), "The platform's own post id"),
    _F("published_at", TIMESTAMP, "Publication time"),
    _F("title", pa.string(), "Title, masked"),
    _F("caption", pa.string(), "Caption or description, e-mails and phone numbers masked"),
    _F("tags", STRINGS, "Hashtags or tags, lower case, without #"),
    _F("duration_seconds", pa.float64(), "Length of the video", "s"),
    # links
    _F("link_id", pa.string(), "Hash of account, type and target"),
    _F("link_type_code", pa.string(), "account, website or email"),
    _F("target_platform", pa.string(), "Platform a link points to; open vocabulary"),
    _F("target_key", pa.string(), "Handle key, account id, domain or e-mail hash a link points to"),
    _F("target_url", pa.string(), "Canonical URL of the target, null for e-mails"),
    _F("evidence_code", pa.string(), "Where the link was found: declared, bio or post"),
    _F("mentions_count", pa.int64(), "How many records carry the link", "records"),
    # identity
    _F("left_platform", pa.string(), "Platform of the left account"),
    _F("left_id", pa.string(), "Account id of the left account"),
    _F("right_platform", pa.string(), "Platform of the right account"),
    _F("right_id", pa.string(), "Account id of the right account"),
    _F("probability", pa.float64(), "Calibrated probability that both are one creator", "0-1"),
    _F("log_odds", pa.float64(), "Base-2 log-odds, the sum of the reasons", "bits"),
    _F("reasons", pa.list_(REASON), "Signals with their log-odds; they add up to the edge's score"),
    _F("blocking_code", pa.string(), "Blocking rule that made the pair"),
    _F("node_digest", pa.int64(), "Digest of all that identity reads of the account"),
    _F("sort_text", pa.string(), "Text by which accounts of a frequent key are neighbours"),
    _F(
        "blocking_keys",
        pa.list_(pa.int64()),
        "Keys that the account takes, hashed, in the order in which a pair looks for one",
    ),
    _F("blocking_shares", pa.list_(pa.int32()), "Most others that the account meets under each key", "accounts"),
    _F("model_version", pa.string(), "Version of the model that made the row"),
    _F("creator_id", pa.string(), "Stable id of a resolved person or organisation"),
    _F("confidence_score", pa.float64(), "Confidence that the account belongs to the creator", "0-1"),
    _F("cluster_size_count", pa.int64(), "Accounts of the creator", "accounts"),
    _F("is_anchor", pa.bool_(), "The creator id was minted from this account"),
    _F("alias_id", pa.string(), "Former creator id"),
    _F("left_handle", pa.string(), "Handle of the left account as written"),
    _F("right_handle", pa.string(), "Handle of the right account as written"),
    _F("left_observed_at", TIMESTAMP, "When a source last saw the left account"),
    _F("right_observed_at", TIMESTAMP, "When a source last saw the right account"),
    _F("other_creator_id", pa.string(), "Creator of the account that is not this creator's; null where both are"),
    _F(
        "signals",
        pa.list_(SIGNAL),
        "Reasons of the score, which they add up to, with what was compared on each side; of links, sites and addresses also "
        "where they stood (declared, bio or post), the link and when it was seen; addresses themselves are never shown",
    ),
    _F("judgements", pa.list_(JUDGED), "What people decided: number, kind, time, and which of the two it names"),
    _F("merge_log_odds", pa.float64(), "Log-odds from which a pair is joined", "bits"),
    _F("alias_reason_code", pa.string(), "merge or split"),
    # enrich
    _F("content_hash", pa.string(), "Hash of the text that was embedded or tagged"),
    _F("model_id", pa.string(), "Encoder that made the vector"),
    _F("vector", pa.list_(pa.float32()), "Unit-length embedding"),
    _F("doc_text", pa.string(), "Text that is embedded and searched"),
    _F(
        "short_text",
        pa.string(),
        "The same of short-form posts alone, null where there are none or the whole text says it",
    ),
    _F("short_hash", pa.string(), "Hash of the text of short-form posts, null where there are none"),
    _F("short_vector", pa.list_(pa.float32()), "Unit-length embedding of short-form content, null where there is none"),
    _F(
        "long_text",
        pa.string(),
        "The same of long-form posts alone, null where there are none or the whole text says it",
    ),
    _F("long_hash", pa.string(), "Hash of the text of long-form posts, null where there are none"),
    _F("long_vector", pa.list_(pa.float32()), "Unit-length embedding of long-form content, null where there is none"),
    _F("niche_code", pa.string(), "Best niche, null when the tagger abstains"),
    _F("niche_score", pa.float64(), "Score of the best niche", "0-1"),
    _F("niches", pa.list_(LABEL), "All niches above the floor, best first"),
    _F("is_abstained", pa.bool_(), "The tagger found no niche it would defend"),
    _F("content_type_code", pa.string(), "Kind of content: person, brand, media, ..."),
    _F("risks", pa.list_(RISK), "Risk tags with level, score and evidence"),
    _F("risk_codes", STRINGS, "Codes of the risks, sorted"),
    _F("posts_scanned_count", pa.int64(), "Posts that the tagger read; 0 means unknown, not safe", "posts"),
    _F("er_followers_ratio", pa.float64(), "Engagement rate by followers", "0-1"),
    _F("er_views_ratio", pa.float64(), "Engagement rate by views", "0-1"),
    _F("er_followers_mean_ratio", pa.float64(), "Mean instead of the declared statistic", "0-1"),
    _F("er_views_mean_ratio", pa.float64(), "Mean instead of the declared statistic", "0-1"),
    _F("statistic_code", pa.string(), "median, mean or stated (by the source)"),
    _F("window_days", pa.int32(), "Window of posts behind the rate", "days"),
    _F("posts_count", pa.int64(), "Posts behind the rate", "posts"),
    _F("null_reason_code", pa.string(), "Why a rate is null"),
    _F("formula_version", pa.string(), "Version of the formula"),
    _F("as_of", TIMESTAMP, "State of the inputs"),
    _F("median_views_count", pa.float64(), "Median views per post in the window", "views"),
    _F("posts_per_week", pa.float64(), "Cadence over the window", "posts/week"),
    _F("last_post_at", TIMESTAMP, "Newest known post"),
    _F("growth_90d_ratio", pa.float64(), "(followers now - 90 days ago) / 90 days ago", "fraction"),
    _F("quality_score", pa.float64(), "Engagement quality", "0-1"),
    _F("anomaly_score", pa.float64(), "How unusual the account is among its peers", "0-1"),
    _F("score_reasons", pa.list_(SCORE_REASON), "Components of the score; contributions add up to it"),
    # gold
    _F("platforms", STRINGS, "Platforms of the creator, sorted"),
    _F("platforms_count", pa.int32(), "Number of platforms", "platforms"),
    _F("handles", STRINGS, "All handles, lower case"),
    _F("followers_total_count", pa.int64(), "Followers over all profiles", "accounts"),
    _F("followers_max_count", pa.int64(), "Followers of the largest profile", "accounts"),
    _F("profiles", pa.list_(PROFILE), "Accounts of the creator, largest first, one per platform and handle"),
    _F("country_codes", STRINGS, "Countries of the profiles, sorted"),
    _F("language_codes", STRINGS, "Languages of the profiles, sorted"),
    _F("niche_codes", STRINGS, "Niches of the creator, best first"),
    _F("identity_confidence_score", pa.float64(), "Lowest confidence of the creator's accounts", "0-1"),
)

FIELDS: dict[str, Field] = {field.name: field for field in _ALL}

"""What filters mean, in plain Python over the exported documents: the oracle of the SQL. Shares no code with it."""

from __future__ import annotations

import random
import re
import unicodedata
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from serving_factories import AS_OF, ago, document, niches, profile, risk

PLATFORMS = ("instagram", "tiktok", "youtube", "x")
COUNTRIES = ("US", "ES", "BR")
LANGUAGES = ("en", "es")
NICHES = ("vegan", "food_cooking", "fitness", "sports")
FOOD = ("food_cooking", "food_dining", "vegan", "alcohol")
RISKS = ("gambling", "politics")
LEVELS = ("none", "low", "medium", "high", "floor")
WORDS = ("vegan", "café", "runner", "messi", "daily", "vlog")


def random_document(rng: random.Random, number: int) -> dict[str, Any]:
    """A document in which everything may be unknown."""

    def maybe(make: Callable[[], Any]) -> Any:
        return make() if rng.random() < 0.75 else None

    def entry(index: int) -> dict[str, Any]:
        word = rng.choice(WORDS)
        return profile(
            rng.choice(PLATFORMS),
            f"{word}.{number}_{index}",
            display_name=f"{word.title()} {rng.choice(WORDS)} {number}",
            bio=maybe(lambda: " ".join(rng.choices(WORDS, k=3))),
            followers_count=maybe(lambda: rng.choice((0, 10, 999, 1_000, 1_000_000))),
            following_count=maybe(lambda: rng.choice((0, 10, 1_000))),
            content_count=maybe(lambda: rng.choice((0, 10, 1_000))),
            er_followers_ratio=maybe(lambda: rng.choice((0.0, 0.02, 0.5, 1.7))),
            er_views_ratio=maybe(lambda: rng.choice((0.0, 0.02, 0.5))),
            growth_90d_ratio=maybe(lambda: rng.choice((-0.5, 0.0, 0.3))),
            is_verified=maybe(lambda: rng.random() < 0.5),
            is_private=maybe(lambda: rng.random() < 0.3),
            account_type_code=maybe(lambda: rng.choice(("creator", "brand"))),
            country_code=maybe(lambda: rng.choice(COUNTRIES)),
            language_code=maybe(lambda: rng.choice(LANGUAGES)),
            last_post_at=maybe(lambda: ago(rng.choice((0, 5, 30, 31, 400)))),
            observed_at=AS_OF - timedelta(days=rng.choice((0, 200))),
        )

    scores = {code: round(rng.random(), 2) for code in rng.sample(NICHES, rng.choice((0, 1, 2)))}
    tags = risk(rng.choice(RISKS), rng.choice(LEVELS[1:])) if rng.random() < 0.4 else {}
    unknown_risk = {"risks": None, "risk_codes": None} if rng.random() < 0.2 else {}
    return document(
        f"c{number:04d}",
        *(entry(index) for index in range(rng.choice((1, 1, 2, 3)))),
        quality_score=maybe(lambda: rng.choice((0.0, 0.5, 0.9))),
        anomaly_score=maybe(lambda: rng.choice((0.0, 0.5, 0.9))),
        posts_per_week=maybe(lambda: rng.choice((0.0, 1.5, 20.0))),
        has_email=rng.random() < 0.5,
        identity_confidence_score=rng.choice((0.5, 0.9, 1.0)),
        doc_text=" ".join(rng.choices(WORDS, k=5)),
        **niches(*scores.items()),
        **(tags | unknown_risk),
    )


def matches(doc: dict[str, Any], filters: dict[str, Any], *, today: datetime) -> bool:
    """Whether a document passes."""
    is_loose = bool(filters.get("include_unknown"))
    on_profile = any(_profile_passes(entry, filters, is_loose=is_loose, today=today) for entry in doc["profiles"])
    return on_profile and all(
        check(doc, filters[name], is_loose) for name, check in _CREATOR.items() if name in filters
    )


def _within(value: Any, bounds: dict[str, Any], is_loose: bool) -> bool:
    if bounds.get("min") is None and bounds.get("max") is None:
        return True
    if value is None:
        return is_loose
    return (bounds.get("min") is None or value >= bounds["min"]) and (
        bounds.get("max") is None or value <= bounds["max"]
    )


def _equal(value: Any, allowed: Any, is_loose: bool) -> bool:
    return is_loose if value is None else value in allowed


_RANGES = {
    "followers": "followers_count",
    "following": "following_count",
    "content_count": "content_count",
    "er_followers": "er_followers_ratio",
    "er_views": "er_views_ratio",
    "growth_90d": "growth_90d_ratio",
}


def _profile_passes(entry: dict[str, Any], filters: dict[str, Any], *, is_loose: bool, today: datetime) -> bool:
    checks = [_within(entry[column], filters[name], is_loose) for name, column in _RANGES.items() if name in filters]
    if "is_private" not in filters:
        checks.append(entry["is_private"] is not True)
    elif filters["is_private"] != "any":
        checks.append(_equal(entry["is_private"], [filters["is_private"]], is_loose))
    if "platforms" in filters:
        wanted = filters["platforms"]
        checks.append(entry["platform"] in (wanted if isinstance(wanted, list) else next(iter(wanted.values()))))
    if "verified" in filters:
        checks.append(_equal(entry["is_verified"], [filters["verified"]], is_loose))
    if "location" in filters:
        checks.append(_equal(entry["country_code"], filters["location"]["country"], is_loose))
    if "language" in filters:
        checks.append(_equal(entry["language_code"], filters["language"], is_loose))
    if "account_type" in filters:
        checks.append(_equal(entry["account_type_code"], filters["account_type"], is_loose))
    if "active_within_days" in filters:
        since = AS_OF - timedelta(days=filters["active_within_days"])
        checks.append(_within(entry["last_post_at"], {"min": since}, is_loose))
    if "last_post_at" in filters:
        bounds = {key: datetime.fromisoformat(value) for key, value in filters["last_post_at"].items()}
        checks.append(_within(entry["last_post_at"], bounds, is_loose))
    if "max_age_days" in filters:
        since = today - timedelta(days=filters["max_age_days"])
        checks.append(_within(entry["observed_at"], {"min": since}, is_loose))
    return all(checks)


def _niche(doc: dict[str, Any], value: dict[str, Any], is_loose: bool) -> bool:
    include = {member for code in value.get("include", []) for member in (FOOD if code == "food" else [code])}
    least = value.get("min_score", -1.0)
    if include and not any(item["code"] in include and item["score"] >= least for item in doc["niches"]):
        return False
    if not include and "min_score" in value and not _within(doc["niche_score"], {"min": least}, is_loose):
        return False
    return not set(value.get("exclude", [])) & set(doc["niche_codes"])


def _risk(doc: dict[str, Any], value: dict[str, Any], is_loose: bool) -> bool:
    if not value:
        return True
    if doc["risks"] is None:
        return is_loose or not (value.get("exclude") or "max_level" in value)
    if set(value.get("exclude", [])) & set(doc["risk_codes"]):
        return False
    if "max_level" not in value:
        return True
    too_high = LEVELS[LEVELS.index(value["max_level"]) + 1 :]
    scope = value.get("categories")
    return not any(item["level"] in too_high and (not scope or item["code"] in scope) for item in doc["risks"])


def words_of(text: str) -> list[str]:
    """Lower-case words without accents."""
    plain = "".join(c for c in unicodedata.normalize("NFD", text.lower()) if not unicodedata.combining(c))
    return re.findall(r"[^\W_]+", plain)


def _texts(doc: dict[str, Any], field: str) -> list[str]:
    found = {
        "handle": [*doc["handles"], *(entry["handle"] for entry in doc["profiles"])],
        "name": [doc["display_name"], *(entry["display_name"] for entry in doc["profiles"])],
        "bio": [doc["bio"], *(entry["bio"] for entry in doc["profiles"])],
        "category": doc["category_labels"],
        "content": [doc["doc_text"]],
    }[field]
    return [" ".join(words_of(text)) for text in found if text]


def _entry_occurs(doc: dict[str, Any], entry: str, fields: list[str], match: str) -> bool:
    words = words_of(entry)
    for field in fields:
        texts = [f" {text} " for text in _texts(doc, field)]
        if match == "words" and all(any(f" {word} " in text for text in texts) for word in words):
            return True
        end = " " if match == "phrase" else ""
        if match != "words" and any(f" {' '.join(words)}{end}" in text for text in texts):
            return True
    return False


def _text(doc: dict[str, Any], value: dict[str, Any], is_loose: bool) -> bool:
    fields = value.get("fields", ["handle", "name", "bio", "category", "content"])
    match = value.get("match", "words")

    def occurs(entries: list[str]) -> bool:
        return any(_entry_occurs(doc, entry, fields, match) for entry in entries)

    include, exclude = value.get("include", []), value.get("exclude", [])
    return (not include or occurs(include)) and not (exclude and occurs(exclude))


def _platforms(doc: dict[str, Any], value: Any, is_loose: bool) -> bool:
    return not isinstance(value, dict) or set(value.get("all", [])) <= set(doc["platforms"])


_CREATOR: dict[str, Callable[[dict[str, Any], Any, bool], bool]] = {
    "platforms": _platforms,
    "followers_total": lambda doc, value, loose: _within(doc["followers_total_count"], value, loose),
    "posts_per_week": lambda doc, value, loose: _within(doc["posts_per_week"], value, loose),
    "niche": _niche,
    "risk": _risk,
    "quality_min": lambda doc, value, loose: _within(doc["quality_score"], {"min": value}, loose),
    "anomaly_max": lambda doc, value, loose: _within(doc["anomaly_score"], {"max": value}, loose),
    "identity_confidence_min": lambda doc, value, loose: _within(
        doc["identity_confidence_score"], {"min": value}, loose
    ),
    "linked_platforms": lambda doc, value, loose: set(value) <= set(doc["platforms"]),
    "has_contact": lambda doc, value, loose: doc["has_email"] is value,
    "exclude_handles": lambda doc, value, loose: not {h.lstrip("@").lower() for h in value} & set(doc["handles"]),
    "text": _text,
}

"""Plain sentences for the components of a score. Texts only; numbers come from `rank.py`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from serving.columns import NICHE_LABELS

THOUSAND, MILLION, BILLION = 1_000, 1_000_000, 1_000_000_000


BOUND_VALUE = 0.5
"""Size fit at the bounds of a wanted range (`rank.size_fit`)."""

CLOSE, RELATED = 0.4, 0.2
"""Similarities from which a text is called close and related; sentence encoders give strangers about 0.1."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the sentences may quote about one hit."""

    document: Mapping[str, Any]
    words: Sequence[str]
    niches: Mapping[str, float]
    is_by_seeds: bool
    is_named: bool
    has_range: bool
    as_of: datetime


def sentence(component: str, value: float, evidence: Evidence) -> str:
    """Sentence for a component; `value` is nan where it is not known."""
    return _SENTENCES[component](value, evidence)


def short_count(count: float) -> str:
    """Count for people: 1234567 is 1.2M."""
    for size, mark in ((BILLION, "B"), (MILLION, "M"), (THOUSAND, "K")):
        if count >= size:
            return f"{count / size:.1f}".removesuffix(".0") + mark
    return f"{count:.0f}"


def _similarity(value: float, evidence: Evidence) -> str:
    if evidence.is_named:
        return _named(evidence)
    target = "the given creators" if evidence.is_by_seeds else "the query"
    closeness = "close" if value >= CLOSE else "related" if value >= RELATED else "hardly related"
    return f"Content is {closeness} in meaning to {target} (similarity {value:.2f})."


def _named(evidence: Evidence) -> str:
    count = evidence.document.get("followers_max_count")
    size = "" if count is None else f"; {short_count(count)} followers on its largest profile"
    return f"The query is its name or handle{size}."


def _lexical(value: float, evidence: Evidence) -> str:  # noqa: ARG001
    if not evidence.words:
        return "Name, handle, category and niche contain no word of the query."
    return f"Name, handle, category or niche contains: {', '.join(evidence.words)}."


def _niche(value: float, evidence: Evidence) -> str:
    if not evidence.niches:
        return "The query is about no niche in particular."
    if not value:
        return "Niche differs from what the query is about."
    own = [niche["code"] for niche in evidence.document.get("niches") or [] if niche["code"] in evidence.niches]
    return f"Niche is what the query is about: {', '.join(NICHE_LABELS.get(code, code) for code in own)}."


def _engagement(value: float, evidence: Evidence) -> str:
    if math.isnan(value):
        return "Engagement rate is not known."
    rate, base = evidence.document.get("er_followers_ratio"), "followers"
    if rate is None:
        rate, base = evidence.document.get("er_views_ratio"), "views"
    return f"Engagement rate {100 * (rate or 0):.2g} % of {base}, above {100 * value:.0f} % of creators of its size."


def _size(value: float, evidence: Evidence) -> str:
    if math.isnan(value):
        return "Number of followers is not known."
    count = short_count(evidence.document.get("followers_max_count") or 0)
    if not evidence.has_range:
        return f"{count} followers on its largest profile."
    place = "within" if value >= BOUND_VALUE else "outside"
    return f"{count} followers on its largest profile, {place} the wanted range."


def _quality(value: float, evidence: Evidence) -> str:  # noqa: ARG001
    return "Quality score is not known." if math.isnan(value) else f"Quality score {value:.2f} of 1."


def _recency(value: float, evidence: Evidence) -> str:
    posted = evidence.document.get("last_post_at")
    if math.isnan(value) or posted is None:
        return "No post is known."
    days = max(0, (evidence.as_of - posted).days)
    return f"Posted {days} day{'' if days == 1 else 's'} before the data's date."


_SENTENCES: dict[str, Callable[[float, Evidence], str]] = {
    "similarity": _similarity,
    "lexical": _lexical,
    "niche": _niche,
    "engagement": _engagement,
    "size": _size,
    "quality": _quality,
    "recency": _recency,
}

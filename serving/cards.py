"""From a stored document to the fields of an answer: labels for people, floats that are not known as null."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from serving.columns import NICHE_LABELS, RISK_LABELS, tier_code
from serving.models import CreatorFields, Label, ProfileAnswer, RiskHit
from serving.predicates import GID

_PLAIN = tuple(
    name
    for name in CreatorFields.model_fields
    if name not in ("profiles", "niche_label", "niches", "risks", "tier", "as_of", "columns")
)
"""Fields that are columns of the same name."""

_LISTS = ("platforms", "country_codes", "language_codes", "category_labels")


def card(document: Mapping[str, Any], *, is_foreign: bool) -> dict[str, Any]:
    """Fields of `CreatorFields`; the columns of a foreign document come whole under `columns`."""
    if is_foreign:
        columns = {name: plain(value) for name, value in document.items() if name != GID}
        return {"creator_id": document["creator_id"], "display_name": _name(document), "columns": columns}
    fields: dict[str, Any] = {name: _finite(document.get(name)) for name in _PLAIN if name in document}
    fields |= {name: list(document.get(name) or []) for name in _LISTS}
    return fields | {
        "profiles": [ProfileAnswer.model_validate(_cleaned(profile)) for profile in document.get("profiles") or []],
        "niche_label": NICHE_LABELS.get(document.get("niche_code") or ""),
        "niches": [_niche(niche) for niche in document.get("niches") or []],
        "risks": [_risk(risk) for risk in document.get("risks") or []],
        "tier": tier_code(document.get("followers_max_count")),
        "as_of": document.get("observed_at"),
    }


def plain(value: Any) -> Any:
    """A stored value as JSON can carry it: times as ISO text in UTC, nan as null."""
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=UTC)
        return aware.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Decimal):
        return float(value)
    return value.isoformat() if isinstance(value, date) else _finite(value)


def _name(document: Mapping[str, Any]) -> str | None:
    """Whatever a foreign document calls its name."""
    return next((str(document[key]) for key in ("display_name", "name", "title") if document.get(key)), None)


def _cleaned(profile: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _finite(value) for name, value in profile.items()}


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _niche(niche: Mapping[str, Any]) -> Label:
    return Label(code=niche["code"], label=NICHE_LABELS.get(niche["code"], niche["code"]), score=niche["score"] or 0.0)


def _risk(risk: Mapping[str, Any]) -> RiskHit:
    label = RISK_LABELS.get(risk["code"], risk["code"])
    return RiskHit(code=risk["code"], label=label, level=risk.get("level"), score=risk.get("score"))

"""Values that filters accept: closed vocabularies, and the codes that occur in a snapshot, with counts."""

from __future__ import annotations

from typing import Any

from index_build.manifest import Manifest
from lakehouse.contracts.taxonomy import NICHES, RISK_LEVELS, RISKS
from serving.columns import NICHE_LABELS, PLATFORM_LABELS, RISK_LABELS
from serving.filters import ACCOUNT_TYPES
from serving.models import Filters, Weights
from serving.search import Searcher

DOMAIN_LABELS = {"short": "short-form content", "long": "long-form content"}


def dictionaries(searcher: Searcher) -> dict[str, Any]:
    """Answer of `GET /v1/dictionaries`, made once for a snapshot."""
    return searcher.snapshot.dictionaries.get("dictionaries", lambda: _dictionaries(searcher))


def _dictionaries(searcher: Searcher) -> dict[str, Any]:
    snapshot = searcher.snapshot
    catalog, columns = snapshot.catalog, snapshot.vocabulary.foreign_columns
    niches = catalog.facet_codes("niche")
    groups = {niche.code: niche.group.replace(" ", "_") for niche in NICHES}
    return {
        "platforms": _listed(catalog.facet_codes("platform"), PLATFORM_LABELS),
        "niches": [
            entry | {"group": groups.get(entry["code"])}
            for entry in _listed(niches | {niche.code: niches.get(niche.code, 0) for niche in NICHES}, NICHE_LABELS)
        ],
        "countries": _listed(catalog.facet_codes("country"), {}),
        "languages": _listed(catalog.facet_codes("language"), {}),
        "tiers": snapshot.columns.facet_counts(None)["tier"],
        "risks": _listed({risk.code: 0 for risk in RISKS} | catalog.facet_codes("risk"), RISK_LABELS),
        "risk_levels": list(RISK_LEVELS),
        "account_types": [{"code": code, "label": code} for code in ACCOUNT_TYPES],
        "filters": [*columns, *(name for name in Filters.model_fields if name not in columns)],
        "sorts": searcher.sorts(),
        "domains": _domains(snapshot.manifest),
        "weights": Weights().model_dump(),
    }


def snapshot_info(searcher: Searcher) -> dict[str, Any]:
    """Answer of `GET /v1/snapshot`."""
    manifest = searcher.snapshot.manifest
    return {
        "snapshot_id": manifest.snapshot_id,
        "created_at": manifest.created_at,
        "as_of": searcher.snapshot.vocabulary.as_of.isoformat().replace("+00:00", "Z"),
        "export_id": manifest.export_id,
        "rows": manifest.rows_count,
        "creators": manifest.creators_count,
        "shards": len(manifest.shards),
        "full_build": manifest.built.model_dump(mode="json"),
        "model_id": manifest.model_id or None,
        "shape": manifest.shape.model_dump(mode="json"),
        "recall": manifest.recall.model_dump(mode="json", exclude={"curve"}),
        "calibration": manifest.calibration.model_dump(mode="json"),
        "domains": [
            entry | {"recall_minimum": domain.manifest.recall.minimum}
            for entry, domain in zip(_domains(manifest), manifest.domains, strict=True)
        ],
        "source_tables": {table.name: table.version for table in manifest.source_tables},
    }


def _domains(manifest: Manifest) -> list[dict[str, Any]]:
    """Kinds of content that have vectors of their own, with the creators that have one."""
    counts = {domain.name: domain.manifest.creators_count for domain in manifest.domains}
    return _listed(counts, DOMAIN_LABELS)


def _listed(counts: dict[str, int], labels: dict[str, str]) -> list[dict[str, Any]]:
    return [{"code": code, "label": labels.get(code, code), "count": count} for code, count in counts.items()]

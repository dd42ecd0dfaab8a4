"""Shapes the answer of a search: hits with contributions and reasons, facets, plan and explanation. Decides nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from index_build.bitmaps import unpack_mask
from serving.cards import card
from serving.catalog import Ids
from serving.cursor import Cursor, encode_cursor
from serving.models import Contribution, FacetCount, Hit, PlanAnswer, SearchResponse, SeedSimilarity
from serving.pages import Page
from serving.plan import PlanName
from serving.rank import Scorer
from serving.reasons import Evidence, sentence
from serving.shards import Matches
from serving.snapshot import Snapshot
from serving.static import MICRO
from serving.work import Work


@dataclass(frozen=True, slots=True)
class Found:
    """Result of a search before it is shaped; `page` is None when nothing was asked for or nothing matches."""

    work: Work
    plan: PlanName
    matches: Matches
    scorer: Scorer
    page: Page | None


def shape(snapshot: Snapshot, found: Found, secret: bytes) -> SearchResponse:
    """Answer of `POST /v1/search`."""
    work, matches = found.work, found.matches
    with work.watch.stage("hydrate"):
        hits = [] if found.page is None else _hits(snapshot, found, found.page)
    with work.watch.stage("facets"):
        facets = _facets(snapshot, found)
    is_explained = work.request.explain or not matches.total
    explain = _explain(snapshot, found) if is_explained else None
    return SearchResponse(
        index_version=snapshot.id,
        as_of=snapshot.vocabulary.as_of.isoformat().replace("+00:00", "Z"),
        total=matches.total,
        total_is_exact=True,
        hits=hits,
        next_cursor=_next_cursor(snapshot, found, len(hits), secret),
        facets=facets,
        weights=work.request.weights,
        sort=work.request.sort,
        plan=_plan(found),
        explain=explain,
    )


def _plan(found: Found) -> PlanAnswer:
    ranking = found.page.ranking if found.page else None
    return PlanAnswer(
        name=found.plan,
        matches=found.matches.total,
        rows=found.matches.shards.manifest.creators_count,
        candidates=ranking.candidates if ranking else 0,
        stop=ranking.stop if ranking else "exhausted",
        ms=round(found.work.watch.total(), 3),
    )


def _next_cursor(snapshot: Snapshot, found: Found, hits: int, secret: bytes) -> str | None:
    end = found.work.offset + hits
    if not hits or end >= found.matches.total:
        return None
    return encode_cursor(Cursor(snapshot.id, found.work.key, end, found.work.day), secret)


def _facets(snapshot: Snapshot, found: Found) -> dict[str, list[FacetCount]]:
    """Counts over the filtered set; seeds are no results, so they do not count."""
    domain = found.work.request.domain
    is_narrowed = found.matches is not snapshot.matching(found.work.filters, domain)
    counts = (
        snapshot.columns.facet_counts(unpack_mask(found.matches.words, snapshot.catalog.rows))
        if is_narrowed
        else snapshot.facet_counts(found.work.filters, domain)
    )
    return {name: [FacetCount(**count) for count in listed] for name, listed in counts.items()}


def _hits(snapshot: Snapshot, found: Found, page: Page) -> list[Hit]:
    gids = page.gids
    values = found.scorer.values(gids, page.ranking.similarities[page.start : page.stop])
    micros = found.scorer.micros(values)
    documents = snapshot.documents.read([int(gid) for gid in gids])
    seeds = _seed_similarities(found, gids)
    hits = []
    for row, document in enumerate(documents):
        evidence = _evidence(snapshot, found, document, int(gids[row]))
        parts = _contributions(found.scorer, evidence, values=values[row], micros=micros[row])
        hits.append(
            Hit(
                **card(document, is_foreign=snapshot.vocabulary.is_foreign),
                score=int(micros[row].sum()) / MICRO,
                contributions=parts,
                reasons=[part.text for part in parts if part.contribution > 0],
                seed_similarities=seeds[row],
            )
        )
    return hits


def _evidence(snapshot: Snapshot, found: Found, document: Mapping[str, Any], gid: int) -> Evidence:
    question = found.scorer.question
    wanted = question.followers
    return Evidence(
        document=document,
        words=question.lexical.words_of(gid),
        niches=question.niches,
        is_named=bool(question.are_named(np.array([gid]))[0]),
        is_by_seeds=bool(found.work.seeds) and not found.work.request.text,
        has_range=wanted is not None and wanted.min is not None and wanted.max is not None,
        as_of=snapshot.vocabulary.as_of,
    )


def _contributions(
    scorer: Scorer, evidence: Evidence, *, values: npt.NDArray[np.float64], micros: npt.NDArray[np.int64]
) -> list[Contribution]:
    """Parts of a score, largest first."""
    parts = [
        Contribution(
            name=name,
            weight=scorer.question.weights.of(name),
            value=0.0 if np.isnan(value) else round(float(value), 6),
            contribution=int(micro) / MICRO,
            text=sentence(name, float(value), evidence),
        )
        for name, value, micro in zip(scorer.components, values, micros, strict=True)
    ]
    return sorted(parts, key=lambda part: -part.contribution)


def _seed_similarities(found: Found, gids: Ids) -> list[list[SeedSimilarity]]:
    work, shards = found.work, found.matches.shards
    if not work.seeds:
        return [[] for _ in gids]
    names = list(work.seeds)
    seeds = shards.vectors(np.array([work.seeds[name] for name in names], dtype=np.int64))
    cosines = shards.vectors(gids) @ seeds.T
    return [
        [SeedSimilarity(creator_id=name, similarity=round(float(c), 6)) for name, c in zip(names, row, strict=True)]
        for row in cosines
    ]


def _explain(snapshot: Snapshot, found: Found) -> dict[str, Any]:
    """Everything that decided the answer."""
    work, question = found.work, found.scorer.question
    with work.watch.stage("explain"):
        clauses = snapshot.matcher.clause_counts(work.filters)
        if work.request.domain is not None:
            clauses["domain"] = found.matches.shards.manifest.creators_count
    return {
        "filter": work.filters.canonical(),
        "filter_hash": work.filters.key,
        "clauses": clauses,
        "niches": dict(question.niches),
        "words": {
            "looked_for": list(question.lexical.words),
            "too_common": list(question.lexical.skipped),
            "rows": len(question.lexical.gids),
        },
        "streams": dict(found.page.ranking.streams) if found.page else {},
        "shards": _shards(found),
        "domain": work.request.domain,
        "calibration": _calibration(found),
        "ms": {name: round(spent, 3) for name, spent in work.watch.stages.items()},
    }


def _shards(found: Found) -> list[dict[str, Any]]:
    results = found.page.ranking.shards if found.page else ()
    return [
        {
            "shard": result.shard,
            "branch": result.branch,
            "lists_considered": result.work.lists_considered,
            "lists_dropped": result.work.lists_dropped,
            "lists_probed": result.work.lists_probed,
            "codes_scanned": result.work.codes_scanned,
            "rows_scored": result.rows_scored,
            "candidates": len(result.gids),
        }
        for result in results
    ]


def _calibration(found: Found) -> dict[str, Any]:
    shards = found.matches.shards
    manifest = shards.manifest
    band = manifest.calibration.band(found.matches.total / shards.rows)
    return {
        "band": band.model_dump(),
        "recall_minimum": manifest.recall.minimum,
        "exact_max_matches": manifest.calibration.exact_max_matches,
    }

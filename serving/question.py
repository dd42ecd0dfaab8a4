"""What rows are compared with: the vector, words and niches of a query text, of seeds, or of a given vector."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from serving.catalog import Ids
from serving.encoder import QueryEncoder
from serving.errors import RequestError
from serving.lexical import NO_HITS, find_words
from serving.models import SearchRequest
from serving.rank import Question
from serving.shards import ShardSet
from serving.snapshot import Snapshot
from serving.work import Work

OPPOSITE_SHARE = 0.5
"""Part of the direction of `dissimilar_to` that is taken off what is looked for (Rocchio's negative feedback): enough to
leave its topic, too little to look for its opposite, which has no meaning."""

Vector = npt.NDArray[np.float32]


def make_question(snapshot: Snapshot, work: Work) -> Question:
    """Question of a request: text and seeds together are the mean of both directions, less half that of `dissimilar_to`.

    Raises:
        RequestError: there is a text and no encoder, or the given vector does not fit.
    """
    request = work.request
    with work.watch.stage("encode"):
        vector = _vector(snapshot, work)
        niches = _niches(snapshot, work)
    with work.watch.stage("words"):
        hits = find_words(snapshot.words, request.text) if request.text else NO_HITS
    return Question(
        weights=request.weights,
        vector=vector,
        lexical=hits,
        niches=niches,
        followers=request.filters.followers,
        has_text=bool(request.text),
    )


def unit(vector: Vector) -> Vector:
    """Scaled to length 1; a zero vector stays."""
    norm = float(np.linalg.norm(vector))
    return np.asarray(vector / norm if norm > 0 else vector, dtype=np.float32)


def _vector(snapshot: Snapshot, work: Work) -> Vector | None:
    parts: list[Vector] = []
    shards = snapshot.vectors(work.request.domain)
    if work.vector is not None:
        parts.append(_checked(work.vector, shards.dimensions))
    elif work.request.text:
        parts.append(_encoded(snapshot, work.request, shards.dimensions))
    if work.seeds:
        parts.append(_direction(shards, work.seeds))
    if not parts:
        return None
    wanted = unit(np.sum(parts, axis=0))
    return unit(wanted - OPPOSITE_SHARE * _direction(shards, work.opposites)) if work.opposites else wanted


def _encoded(snapshot: Snapshot, request: SearchRequest, dimensions: int) -> Vector:
    """Vector of the text; the encoder is that of the whole creators' vectors, a foreign domain's may be another's."""
    vector = _encoder(snapshot).vector(request.text)
    if len(vector) != dimensions:
        message = f"The vectors of the domain {request.domain!r} were not made by a known encoder: search it by similar_to or a given vector."
        raise RequestError("no_encoder", message, field="query")
    return vector


def _direction(shards: ShardSet, creators: Mapping[str, int]) -> Vector:
    """Mean direction of some creators."""
    return unit(shards.vectors(_rows(creators)).sum(axis=0))


def _niches(snapshot: Snapshot, work: Work) -> dict[str, float]:
    """Niches that the request is about, the strongest at 1: the text's, else the seeds'."""
    columns = snapshot.columns
    if columns.niche_ordinals is None or columns.niche_scores is None:
        return {}
    if work.request.text and work.vector is None:
        return _encoder(snapshot).niches(work.request.text)
    if not work.seeds:
        return {}
    rows = _rows(work.seeds)
    totals = np.bincount(
        columns.niche_ordinals[rows].ravel(), columns.niche_scores[rows].ravel(), len(columns.niche_codes)
    )
    best = float(totals.max())
    return {columns.niche_codes[i]: float(totals[i]) / best for i in np.flatnonzero(totals)} if best > 0 else {}


def _rows(creators: Mapping[str, int]) -> Ids:
    return np.array(sorted(set(creators.values())), dtype=np.int64)


def _encoder(snapshot: Snapshot) -> QueryEncoder:
    if snapshot.encoder is None:
        raise RequestError(
            "no_encoder",
            "This snapshot's vectors were not made by a known encoder: search by filters, similar_to or a given vector.",
            field="query",
        )
    return snapshot.encoder


def _checked(vector: Vector, dimensions: int) -> Vector:
    if vector.shape != (dimensions,) or not np.isfinite(vector).all():
        raise RequestError("invalid_value", f"The vector must be {dimensions} finite numbers.", field="vector")
    return unit(vector)

"""Best final scores: what the service answers with its default weights, against every row scored in float32."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from benchmarks.peers.protocol import Corpus, K
from benchmarks.report import Figure
from benchmarks.search_cells import rows_of
from benchmarks.search_data import Floats, Ints
from benchmarks.search_oracle import columns_of
from serving.columns import audience_size
from serving.models import Weights
from serving.search import Searcher

QUERIES = 20
"""Of each cell."""
ROUNDING = 3e-6
"""Scores are whole millionths a component."""
TOP = 0.95


def final_scores(rows: int, folder: Path, index: Path) -> Iterator[Figure]:
    """Recall of the best ten by final score, over every cell."""
    corpus = Corpus(folder)
    vectors, queries, columns = corpus.vectors(), corpus.queries(), columns_of(corpus)
    static = _static(folder)
    with_filter = {}
    searcher = Searcher.open(index / "snapshot")
    for cell in corpus.cells():
        hits = possible = 0
        for query, number in list(zip(cell.query_of, cell.filter_of, strict=True))[:QUERIES]:
            chosen = rows_of(cell.filters[number], columns)
            filters = {
                clause.column: list(clause.values) if clause.values else {"min": clause.least, "max": clause.most}
                for clause in cell.filters[number]
            }
            answer = searcher.search({"filters": filters, "limit": K}, vector=queries[query])
            found = np.array([int(hit.creator_id[1:]) for hit in answer.hits], dtype=np.int64)
            right, out_of = _hits(_scores(vectors, queries[query], static, chosen), found, chosen)
            hits, possible = hits + right, possible + out_of
        with_filter[cell.name] = hits / max(1, possible)
    searcher.close()
    name, least = min(with_filter.items(), key=lambda one: one[1])
    yield Figure(
        f"final {rows:,}: recall@10 by final score, mean of cells",
        round(float(np.mean(list(with_filter.values()))), 4),
        "",
    )
    yield Figure(f"final {rows:,}: least recall@10 by final score", least, "", floor=TOP, peer=name)


def _static(folder: Path) -> Floats:
    """Part of the score that does not depend on the query."""
    table = pq.read_table(folder / "docs.parquet", columns=["followers_max_count", "quality_score"])
    weights, followers = Weights(), table["followers_max_count"].to_numpy().astype(np.float64)
    score = weights.size * audience_size(followers) + weights.quality * table["quality_score"].to_numpy()
    return np.asarray(score, dtype=np.float32)


def _scores(vectors: Floats, query: Floats, static: Floats, rows: Ints | None) -> Floats:
    """Final score of each row that passes."""
    weight = Weights().similarity
    if rows is not None:
        return weight * np.maximum(vectors[rows] @ query, 0.0) + static[rows]
    return weight * np.maximum(vectors @ query, 0.0) + static


def _hits(scores: Floats, found: Ints, rows: Ints | None) -> tuple[int, int]:
    """Rows found that belong to the best ten, ties included, and how many could be."""
    count = min(K, len(scores))
    if not count:
        return 0, 0
    least = np.partition(scores, len(scores) - count)[len(scores) - count] - ROUNDING
    places = found if rows is None else np.searchsorted(rows, found)
    return min(count, int((scores[places] >= least).sum())), count

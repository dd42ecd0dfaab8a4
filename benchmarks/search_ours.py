"""Our own index and search service as an engine of the search benchmark: built and asked as any user would."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from benchmarks.peers.protocol import Corpus, Filter, K, Vector
from index_build.build import build_from
from index_build.export import open_files
from index_build.spec import IndexSpec
from serving.models import COMPONENTS
from serving.search import Searcher

BY_MEANING = {name: float(name == "similarity") for name in COMPONENTS}


def build(corpus: Corpus, folder: Path) -> None:
    """Build a snapshot."""
    export = open_files(corpus.folder / "docs.parquet", corpus.folder / "vectors.npy")
    build_from(export, folder / "snapshot", IndexSpec())


def open(corpus: Corpus, folder: Path) -> Ours:  # noqa: A001, ARG001
    """Open it; as the service does, a request keeps to one thread."""
    threadpool_limits(1, user_api="blas")
    return Ours(Searcher.open(folder / "snapshot"))


class Ours:
    """A searcher."""

    settings = (0,)
    """Nothing to tune: the snapshot brings its planner's constants."""
    is_fixed = True

    def __init__(self, searcher: Searcher) -> None:
        """Wrap it."""
        self.searcher = searcher

    def prepare(self, clauses: Filter) -> dict[str, Any]:
        """Body of a request."""
        filters = {
            clause.column: list(clause.values) if clause.values else {"min": clause.least, "max": clause.most}
            for clause in clauses
        }
        return {"filters": filters, "weights": BY_MEANING, "limit": K}

    def search(self, vector: Vector, prepared: dict[str, Any], setting: int) -> list[int]:  # noqa: ARG002
        """Rows by their ids."""
        found = self.searcher.find(prepared, vector=vector)
        return [int(creator_id[1:]) for creator_id in self.searcher.creator_ids(found)]

    def pids(self) -> list[int]:
        """None: it runs in this process."""
        return []

    def close(self) -> None:
        """Close the snapshot."""
        self.searcher.close()

"""Answers requests over one snapshot: parse, filter, plan, rank, shape. The same for HTTP, the terminal and Python.

The stages are in the order of `Searcher.search`; each lives in a module of its own. Opening and checking a snapshot is
in `snapshot.py`, swapping it in `holder.py`.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lakehouse.errors import NotFoundError
from serving.answer import Found, shape
from serving.cursor import decode_cursor, require_same
from serving.encoder import QueryEncoder
from serving.errors import RequestError, UnknownError
from serving.evidence import EvidenceReader
from serving.models import RELEVANCE, SORTS, SearchRequest, SearchResponse
from serving.pages import Pager
from serving.plan import PlanName, plan_of
from serving.profile import CreatorReader
from serving.question import make_question
from serving.rank import EXHAUSTIVE_MATCHES, EXHAUSTIVE_MOST, Question, Scorer
from serving.requests import nearest, parse_request
from serving.settings import ServingSettings
from serving.shards import Matches
from serving.snapshot import Snapshot, open_source
from serving.work import Work, request_key

SECRET_BYTES = 32


class Searcher:
    """Search and look-ups over one snapshot. Thread-safe."""

    def __init__(self, snapshot: Snapshot, *, secret: bytes | None = None) -> None:
        """Wrap an opened snapshot; cursors are signed with `secret`, a random one when None."""
        self.snapshot = snapshot
        self.creators = CreatorReader(snapshot)
        self.evidence = EvidenceReader(snapshot)
        self._pager = Pager(snapshot)
        self._secret = secret or secrets.token_bytes(SECRET_BYTES)

    @classmethod
    def open(
        cls,
        path_or_uri: str | Path,
        *,
        settings: ServingSettings | None = None,
        encoder: QueryEncoder | None = None,
    ) -> Searcher:
        """Open a snapshot folder, or the current snapshot of a lake folder or `s3://` URI.

        Raises:
            NotFoundError: there is no snapshot.
            ContractError: the snapshot is damaged.
        """
        chosen = settings or ServingSettings()
        source = open_source(path_or_uri, chosen)
        snapshot_id = source.current_id()
        if snapshot_id is None:
            raise NotFoundError(f"{path_or_uri} has no published snapshot; run `creatorlake publish`.")
        return cls(Snapshot.open(source.fetch(snapshot_id), chosen, encoder=encoder))

    def close(self) -> None:
        """Free the snapshot."""
        self.snapshot.close()

    def search(
        self, request: SearchRequest | Mapping[str, Any], *, vector: npt.NDArray[np.float32] | None = None
    ) -> SearchResponse:
        """Answer a request.

        Args:
            request: body of `POST /v1/search`.
            vector: query vector (d,), used instead of encoding the text; for snapshots of foreign vectors.

        Raises:
            RequestError: the request cannot be answered as it is.
        """
        return shape(self.snapshot, self.find(request, vector=vector), self._secret)

    def find(
        self, request: SearchRequest | Mapping[str, Any], *, vector: npt.NDArray[np.float32] | None = None
    ) -> Found:
        """The rows that `search` shows, before anything of them is read: for callers that need ids and scores alone.

        Raises:
            RequestError: the request cannot be answered as it is.
        """
        work = self._begin(request, vector)
        with work.watch.stage("filter"):
            matches = self._without_seeds(work, self.snapshot.matching(work.filters, work.request.domain))
        question = make_question(self.snapshot, work)
        plan = self._plan(matches, question)
        scorer = Scorer(self.snapshot.columns, question)
        with work.watch.stage("rank"):
            is_ranked = matches.total and not work.request.dry_run
            page = self._pager.page(work, plan, matches, scorer) if is_ranked else None
        return Found(work, plan, matches, scorer, page)

    def creator_ids(self, found: Found) -> list[str]:
        """Creators of the page, best first."""
        return [] if found.page is None else self.snapshot.documents.creator_ids(found.page.gids)

    def creator(self, creator_id: str) -> dict[str, Any]:
        """One creator with accounts, history and posts; a former id answers with today's creator.

        Raises:
            UnknownError: there is no such creator.
        """
        return self.creators.creator(creator_id)

    def account(self, platform: str, handle: str) -> dict[str, Any]:
        """The creator that owns an account.

        Raises:
            UnknownError: there is no such account.
        """
        return self.creators.account(platform, handle)

    def sorts(self) -> list[str]:
        """Orders that this snapshot has the columns for."""
        columns = self.snapshot.vocabulary.foreign_columns
        return [RELEVANCE, *columns, *(name for name, column in SORTS.items() if column in self.snapshot.catalog.docs)]

    def _begin(self, request: SearchRequest | Mapping[str, Any], vector: npt.NDArray[np.float32] | None) -> Work:
        vocabulary = self.snapshot.vocabulary
        parsed = request if isinstance(request, SearchRequest) else parse_request(request, vocabulary.foreign_columns)
        cursor = None if parsed.cursor is None else decode_cursor(parsed.cursor, self._secret)
        day = cursor.day if cursor else datetime.now(UTC).date()
        filters = self.snapshot.compile(parsed.filters, day)
        self._require_sort(parsed.sort.by)
        key = request_key(parsed, filters, vector)
        if cursor is not None:
            require_same(cursor, snapshot_id=self.snapshot.id, request_key=key)
        seeds, opposites = self._seeds(parsed, "similar_to"), self._seeds(parsed, "dissimilar_to")
        if opposites and not (seeds or parsed.text or vector is not None):
            message = "To be less like some creators, a request needs a query or creators to be like."
            raise RequestError("invalid_value", message, field="dissimilar_to")
        offset = cursor.offset if cursor else 0
        given = None if vector is None else vector.astype(np.float32)
        work = Work(parsed, filters, key, offset, day, seeds, opposites, given)
        self._require_domain(work)
        return work

    def _require_domain(self, work: Work) -> None:
        """A domain exists, is asked for together with something to compare with, and has the creators to be like or unlike."""
        domain = work.request.domain
        if domain is None:
            return
        shards = self.snapshot.vectors(domain)
        if not work.is_compared:
            message = "A domain says by which vectors creators are compared: it needs a query or creators to be like."
            raise RequestError("invalid_value", message, field="domain")
        for field, named in (("similar_to", work.seeds), ("dissimilar_to", work.opposites)):
            for creator_id, gid in named.items():
                if shards.rows_of(np.array([gid]))[0] < 0:
                    message = f"Creator {creator_id!r} has no vector in the domain {domain!r}."
                    raise RequestError("invalid_value", message, field=field)

    def _require_sort(self, by: str) -> None:
        known = self.sorts()
        if by not in known:
            close = nearest(by, known)
            raise RequestError(
                "invalid_value",
                f"Unknown sort {by!r}; did you mean {close!r}?",
                field="sort.by",
                details={"nearest": close, "known": known},
            )

    def _seeds(self, request: SearchRequest, field: str) -> dict[str, int]:
        """Rows of the creators that a field names; a former id stands for today's creator."""
        creator_ids: Sequence[str] = getattr(request, field)
        catalog = self.snapshot.catalog
        documents = self.snapshot.documents
        found = documents.gids_of(creator_ids)
        for creator_id in creator_ids:
            if creator_id not in found:
                target = catalog.alias_target(creator_id) or ""
                rows = documents.gids_of([target])
                if target not in rows:
                    raise UnknownError("unknown_creator", f"There is no creator {creator_id!r}.", field=field)
                found[creator_id] = rows[target]
        return found

    def _without_seeds(self, work: Work, matches: Matches) -> Matches:
        seeds = np.array(sorted({*work.seeds.values(), *work.opposites.values()}), dtype=np.int64)
        inside = seeds[matches.contain(seeds)]
        return matches.without(inside) if len(inside) else matches

    def _plan(self, matches: Matches, question: Question) -> PlanName:
        """Streams score at least their first round, so that many matches are as cheap to score one and all."""
        limit = min(matches.shards.exact_limit(), EXHAUSTIVE_MOST)
        return plan_of(
            matches=matches.total,
            has_vector=question.vector is not None,
            exhaustive_limit=max(limit, EXHAUSTIVE_MATCHES),
        )

"""One creator whole: its card, accounts, history, posts and former ids. Look-ups only; searching is in `search.py`."""

from __future__ import annotations

from typing import Any

from serving.cards import card, plain
from serving.errors import UnknownError
from serving.filters import handle_keys
from serving.models import CreatorAnswer
from serving.snapshot import Snapshot

HISTORY_ROWS = 5_000
"""More than a year of days for ten accounts; the newest ones."""

POSTS_ROWS = 200
ACCOUNTS_ROWS = 200


def current_of(snapshot: Snapshot, creator_id: str) -> tuple[str, int]:
    """Today's id of a creator, and its row.

    Raises:
        UnknownError: neither a creator nor a former id.
    """
    gids = snapshot.documents.gids_of([creator_id])
    current = creator_id if gids else snapshot.catalog.alias_target(creator_id)
    gids = gids or snapshot.documents.gids_of([current] if current else [])
    if current is None or not gids:
        raise UnknownError("unknown_creator", f"There is no creator {creator_id!r}.", field="creator_id")
    return current, gids[current]


class CreatorReader:
    """Reads creators of one snapshot."""

    def __init__(self, snapshot: Snapshot) -> None:
        """Wrap an opened snapshot."""
        self._snapshot = snapshot

    def creator(self, creator_id: str) -> dict[str, Any]:
        """Answer of `GET /v1/creators/{creator_id}`.

        Raises:
            UnknownError: neither a creator nor a former id.
        """
        return self._answer(*current_of(self._snapshot, creator_id), requested_id=creator_id)

    def account(self, platform: str, handle: str) -> dict[str, Any]:
        """Answer of `GET /v1/accounts/{platform}/{handle}`.

        Raises:
            UnknownError: no profile has that handle.
        """
        owner = self._snapshot.catalog.account_owner(platform.casefold(), sorted(handle_keys(handle)))
        if owner is None:
            raise UnknownError("unknown_account", f"There is no account {handle!r} on {platform!r}.", field="handle")
        return self.creator(owner)

    def _answer(self, creator_id: str, gid: int, *, requested_id: str) -> dict[str, Any]:
        catalog = self._snapshot.catalog
        document = self._snapshot.documents.read([gid])[0]
        answer = CreatorAnswer(
            **card(document, is_foreign=self._snapshot.vocabulary.is_foreign),
            requested_id=requested_id,
            is_alias=requested_id != creator_id,
            index_version=self._snapshot.id,
            aliases=catalog.aliases(creator_id),
            score_reasons=plain(document.get("score_reasons") or []),
            accounts=plain(
                catalog.side(
                    "accounts", creator_id, order_by="followers_count DESC NULLS LAST, platform", limit=ACCOUNTS_ROWS
                )
            ),
            history=plain(
                catalog.side(
                    "history",
                    creator_id,
                    order_by="metric_date DESC, platform DESC, platform_account_id DESC",
                    limit=HISTORY_ROWS,
                )[::-1]
            ),
            posts=plain(
                catalog.side("posts", creator_id, order_by="published_at DESC NULLS LAST, post_id", limit=POSTS_ROWS)
            ),
        )
        return answer.model_dump(mode="json")

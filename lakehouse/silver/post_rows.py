"""One raw post payload -> one normalised post. Pure; batches and Spark are elsewhere.

Counts that the author switched off are unknown, not 0. Links and e-mail addresses are taken from title and caption
before both are masked.
"""

from __future__ import annotations

from collections.abc import Mapping

from lakehouse.silver import handles, languages, mentions, numbers, rules, vocabulary
from lakehouse.silver.profile_rows import Row, Scope, email_hashes, link_rows, read_identity, with_language
from lakehouse.silver.rules import Reading, Reject
from lakehouse.silver.text import CAPTION_MAX_CHARS, NAME_MAX_CHARS, mask

SWITCHES = {"comments_disabled": ("comments_count",), "ratings_disabled": ("likes_count",)}
"""Payload flag to the counts that it hides."""


def post_row(payload: Mapping[str, object], scope: Scope) -> tuple[Row | None, list[Reject]]:
    """Columns of a post without its envelope, and what was refused; no row without post id or account."""
    row, rejects = stated_post(payload, scope)
    return with_language(row), rejects


def stated_post(payload: Mapping[str, object], scope: Scope) -> tuple[Row | None, list[Reject]]:
    """Like `post_row`, but with the language only where the payload states it."""
    reading = Reading(payload)
    post_id = reading.take("post_id", handles.platform_id)
    identity = read_identity(reading, scope.platform, id_field="account_id", name_field="account_name")
    if post_id is None or identity.account_id is None:
        reading.refuse(None, "no_post_id" if post_id is None else "no_account_key", payload)
        return None, reading.rejects
    caption, title = reading.raw_text("caption"), reading.line("title", max_chars=NAME_MAX_CHARS)
    links = None if caption is None else mentions.find_links(caption, evidence=mentions.POST)
    row: Row = {
        "post_id": post_id,
        "platform_account_id": identity.account_id,
        "handle_key": identity.handle_key,
        "published_at": reading.take("published_at", scope.time),
        "title": mask(title),
        "caption": rules.display(caption, max_chars=CAPTION_MAX_CHARS),
        "tags": vocabulary.tags(payload.get("tags"), caption),
        "category_labels": vocabulary.labels(payload.get("category")),
        "declared_links": None if links is None else link_rows(links, identity, scope.platform),
        "email_hashes": email_hashes([caption], scope.pepper) or None,
        **reading.apply(rules.POST_RULES),
    }
    row["language_code"] = reading.take("language", languages.parse_language)
    for switch, hidden in SWITCHES.items():
        if reading.take(switch, numbers.parse_flag):
            row.update(dict.fromkeys(hidden))
    return row, reading.rejects

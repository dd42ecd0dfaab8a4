"""One raw profile payload -> one normalised observation. Pure; batches and Spark are elsewhere.

Text is searched for links and e-mail addresses before it is masked. An account is named by its id, else its handle, else
its name; a handle with spaces is a name, an opaque id in the handle field is an id, an address there names its account.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import NamedTuple

from lakehouse.silver import handles, languages, mentions, numbers, platforms, rules, times, urls, vocabulary
from lakehouse.silver.emails import find_emails, hash_email
from lakehouse.silver.mentions import Link
from lakehouse.silver.missing import Reason
from lakehouse.silver.rules import Reading, Reject
from lakehouse.silver.text import BIO_MAX_CHARS, mask

Row = dict[str, object]
SPOKEN = ("title", "caption", "bio")
"""Columns in the language of a post or a profile."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What a payload does not say itself: platform, observation time, key for hashing e-mail addresses."""

    platform: str
    observed_at: datetime
    pepper: bytes

    def time(self, raw: object) -> tuple[datetime | None, Reason]:
        """Point in time that a payload states, by `parse_time`."""
        return times.parse_time(raw, observed_at=self.observed_at)


class Identity(NamedTuple):
    """How a record names its account. `account_id` is None when it does not."""

    account_id: str | None
    given_id: str | None
    handle: str | None
    handle_key: str | None
    name: str | None

    def is_own(self, platform: str, link: Link) -> bool:
        """Whether a link points back at the account itself."""
        return link.platform == platform and link.target in {self.given_id, self.handle_key}


def profile_row(payload: Mapping[str, object], scope: Scope) -> tuple[Row | None, list[Reject]]:
    """Columns of an observation without its envelope, and what was refused; no row when it names no account."""
    row, rejects = stated_profile(payload, scope)
    return with_language(row), rejects


def stated_profile(payload: Mapping[str, object], scope: Scope) -> tuple[Row | None, list[Reject]]:
    """Like `profile_row`, but with the language only where the payload states it."""
    reading = Reading(payload)
    identity = read_identity(reading, scope.platform, id_field="platform_account_id", name_field="display_name")
    if identity.account_id is None:
        reading.refuse(None, "no_account_key", payload)
        return None, reading.rejects
    bio_text = reading.raw_text("bio")
    website = reading.take("website", urls.parse_website)
    website_url = website if isinstance(website, str) else None
    row: Row = {
        "platform_account_id": identity.account_id,
        "handle": identity.handle,
        "handle_key": identity.handle_key,
        "display_name": mask(identity.name),
        "other_names": _other_names(payload.get("other_names")),
        "bio": rules.display(bio_text, max_chars=BIO_MAX_CHARS),
        "profile_url": _profile_url(reading, scope.platform, identity),
        "website_url": website_url,
        "website_domain": urls.website_domain(website_url),
        "category_labels": vocabulary.labels(payload.get("categories")),
        "account_created_at": reading.take("account_created_at", scope.time),
        "declared_links": None,
        "stated_er_ratio": reading.take("stated_er", _ratio_rule(payload)) if "stated_er" in payload else None,
        **reading.apply(rules.PROFILE_RULES),
        **_contacts(reading, bio_text, scope.pepper),
    }
    row["language_code"] = reading.take("language", languages.parse_language)
    if bio_text is not None or website_url or payload.get("links"):
        row["declared_links"] = link_rows(_links(payload, bio_text, website_url), identity, scope.platform)
    return row, reading.rejects


def with_language(row: Row | None) -> Row | None:
    """The row with the language that its text shows, unless it has one."""
    if row and row["language_code"] is None:
        texts = (row.get(name) for name in SPOKEN)
        row["language_code"] = languages.detect_language(" ".join(text for text in texts if isinstance(text, str)))
    return row


def read_identity(reading: Reading, platform: str, *, id_field: str, name_field: str) -> Identity:
    """Id, handle and name of the account that a record is about."""
    given = _text(reading.take(id_field, handles.platform_id))
    written = reading.line("handle")
    name = reading.line(name_field)
    if written and handles.is_opaque_id(platform, written):
        given, written = given or written, None
    key = handles.handle_key(written) if written else None
    if written and key and not handles.is_handle(key):
        address = urls.parse_url(written) if "/" in written else None
        found, key = _named_by(address, platform) if address else (None, None)
        name = name if address else name or written
        given, written = given or found, key
    if not given and not key:
        given, key = _from_profile_url(reading, platform)
        written = key
    name_key = handles.name_key(name) if name and not given and not key else None
    account_id = handles.account_id(given=given, handle=key, name=name_key)
    return Identity(account_id, given, written, key, name)


def link_rows(links: list[Link], identity: Identity, platform: str) -> list[dict[str, object]]:
    """Links as rows of `declared_links`, without links to the account itself."""
    return [link._asdict() for link in mentions.distinct(links) if not identity.is_own(platform, link)] if links else []


def email_hashes(texts: list[str | None], pepper: bytes) -> list[str]:
    """Sorted keyed hashes of the distinct addresses in some texts."""
    found = {address for text in texts if text for address in find_emails(text)}
    return sorted(hash_email(address, pepper=pepper) for address in found)


def _from_profile_url(reading: Reading, platform: str) -> tuple[str | None, str | None]:
    """Id or handle key that the record's own profile address names."""
    raw = reading.line("profile_url", max_chars=urls.MAX_URL_CHARS)
    url = urls.parse_url(raw) if raw else None
    return _named_by(url, platform) if url else (None, None)


def _named_by(url: urls.Url, platform: str) -> tuple[str | None, str | None]:
    """Id or handle key of the platform's account that an address names."""
    target = platforms.account_of(url)
    if target is None or target.platform != platform:
        return None, None
    return (target.key, None) if handles.is_opaque_id(platform, target.key) else (None, target.key)


def _profile_url(reading: Reading, platform: str, identity: Identity) -> str | None:
    stated = reading.take("profile_url", urls.parse_website)
    return _text(stated) or platforms.profile_url(platform, identity.given_id, identity.handle_key)


def _contacts(reading: Reading, bio: str | None, pepper: bytes) -> Row:
    """E-mail hashes; an empty list says that text was read and held none."""
    address = reading.raw_text("email")
    if bio is None and address is None:
        return {"email_hashes": None, "has_email": None}
    hashes = email_hashes([address, bio], pepper)
    return {"email_hashes": hashes, "has_email": bool(hashes)}


def _links(payload: Mapping[str, object], bio: str | None, website: str | None) -> list[Link]:
    stated = mentions.declared_links(payload["links"]) if payload.get("links") else []
    site = mentions.link_of_url(website, mentions.DECLARED) if website else None
    return [*stated, *([site] if site else []), *(mentions.find_links(bio, evidence=mentions.BIO) if bio else [])]


def _ratio_rule(payload: Mapping[str, object]) -> partial[tuple[float | None, str | None]]:
    return partial(numbers.parse_ratio, is_percent=payload.get("stated_er_unit") == "percent")


def _other_names(raw: object) -> list[str] | None:
    if raw is None:
        return None
    return vocabulary.labels([mask(item) for item in raw if isinstance(item, str)] if isinstance(raw, list) else raw)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None

"""Whatever text or value arrives: no rule raises, and normalising twice changes nothing."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime

from hypothesis import example, given, settings
from hypothesis import strategies as st

from lakehouse.contracts.payload import POST_FIELDS, PROFILE_FIELDS
from lakehouse.silver import (
    countries,
    emails,
    handles,
    languages,
    mentions,
    numbers,
    platforms,
    rules,
    text,
    times,
    urls,
    vocabulary,
)
from lakehouse.silver.missing import NUMBER_TOKENS
from lakehouse.silver.post_rows import post_row
from lakehouse.silver.profile_rows import Scope, profile_row

SEEN = datetime(2025, 6, 1, tzinfo=UTC)
SCOPE = Scope("instagram", SEEN, b"pepper")
any_text = st.text(st.characters(), max_size=60)  # lone surrogates included
pieces = [*"abcXYZ019.:/@?#&=-_% \n", "http", "https://", "www.", ".com", "instagram.com/", "é", "日"]
web_text = st.lists(st.sampled_from(pieces), max_size=25).map("".join)
json_value = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | any_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(any_text, inner, max_size=3),
    max_leaves=5,
)
profile_payload = st.dictionaries(st.sampled_from(sorted(PROFILE_FIELDS)), json_value)
post_payload = st.dictionaries(st.sampled_from(sorted(POST_FIELDS)), json_value)
relaxed = settings(deadline=None, max_examples=200)  # the first call of a rule loads its tables
SCALARS = (
    numbers.parse_count,
    numbers.parse_mean,
    numbers.parse_ratio,
    numbers.parse_seconds,
    numbers.parse_flag,
    handles.platform_id,
    countries.parse_country,
    languages.parse_language,
    vocabulary.parse_account_type,
    urls.parse_website,
    lambda raw: times.parse_time(raw, observed_at=SEEN),
)


@given(json_value)
@relaxed
def test_no_rule_raises_and_a_reason_excludes_a_value(raw):
    for parse in SCALARS:
        value, reason = parse(raw)
        assert value is None or reason is None
        assert reason is None or reason in rules.REASON_TEXTS


@example("\ud800")
@example("a.co/./")
@example("a.co?x=.#")
@example("www.www.a.co")
@example("@ @")
@given(any_text | web_text)
@relaxed
def test_text_rules_are_idempotent(raw):
    for clean in (
        lambda value: text.clean_text(value, max_chars=20),
        lambda value: text.clean_line(value, max_chars=20),
        lambda value: rules.display(value, max_chars=40),
        handles.fold,
        handles.handle_key,
        handles.name_key,
        urls.canonical_url,
        emails.normalise_email,
        lambda value: text.mask(text.repair(value)),
    ):
        once = clean(raw)
        if once:
            assert clean(once) == once
            once.encode("utf-8")


@given(any_text | web_text)
@relaxed
def test_text_rules_never_raise(raw):
    mentions.find_links(raw, evidence="bio")
    mentions.declared_links([raw, {"platform": raw, "target": raw, "url": raw}])
    vocabulary.tags(raw, raw)
    vocabulary.labels(raw)
    languages.detect_language(raw)
    for platform in ("instagram", "youtube", "mastodon", raw):
        platforms.parse_target(platform, raw)


@given(profile_payload)
@relaxed
def test_any_profile_payload_gives_storable_columns(payload):
    row, rejects = profile_row(payload, SCOPE)
    assert row is not None or rejects
    json.dumps([row, [reject.raw_value for reject in rejects]], default=str, ensure_ascii=False).encode("utf-8")
    assert row is None or row["platform_account_id"]


@given(post_payload)
@relaxed
def test_any_post_payload_gives_storable_columns(payload):
    row, rejects = post_row(payload, SCOPE)
    assert row is not None or rejects
    json.dumps([row, [reject.raw_value for reject in rejects]], default=str, ensure_ascii=False).encode("utf-8")


@given(st.integers(min_value=0, max_value=2**62))
def test_counts_survive_every_way_of_writing_them(count):
    for written in (count, str(count), f"{count:,}", f"{count}.00", f" {count} ", f"{count:,}".replace(",", " ")):
        assert numbers.parse_count(written) == (count, None)


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=0, max_value=10))
def test_rates_survive(rate):
    value, reason = numbers.parse_ratio(rate)
    assert reason is None
    assert math.isclose(value, rate)


@given(st.sampled_from(sorted(NUMBER_TOKENS)), st.sampled_from([str.upper, str.title, str.lower]))
def test_missing_tokens_ignore_case_and_space(token, spell):
    assert numbers.parse_count(f" {spell(token)} ") == (None, None)


@given(st.from_regex(r"[a-z0-9_]{1,10}", fullmatch=True))
def test_a_handle_found_through_any_spelling_is_one_key(name):
    spellings = (
        name,
        f"@{name}",
        name.upper(),
        f" {name} ",
        f"\u200b{name}",
        "".join(chr(ord(char) + 0xFEE0) if char != "_" else char for char in name),
    )
    assert {handles.handle_key(spelling) for spelling in spellings} == {name}

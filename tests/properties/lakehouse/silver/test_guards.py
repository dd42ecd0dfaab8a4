"""A shortcut gives what the rule behind it gives: whatever the text, skipping work changes no answer."""

from __future__ import annotations

import json
import re
import sys
import unicodedata
from collections import Counter
from datetime import UTC, datetime
from unittest import mock

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lakehouse.silver import (
    emails,
    handles,
    hosts,
    languages,
    mentions,
    missing,
    numbers,
    phones,
    platforms,
    post_rows,
    profile_rows,
    rows,
    rules,
    text,
    times,
    urls,
)

NEVER = re.compile(r"(?!)")
SEEN = datetime(2025, 6, 1, tzinfo=UTC)
any_text = st.text(st.characters(), max_size=60)
signs = [
    *"abkXYZ019.:/@?#&=-_%!,+ \n\t", "  ", "\r\n", "\x85", "\u2028", "\u00a0", "\u200b", "\u200d", "\ufe0f", "e\u0301", "\ud800",
    "é", "日本", "かな", "привет", "١٢", "🎥", "ſ", "\u212a", "ı", "➜", "http", "https://", "HTTPS://", "www.", "WWW.", ".com",
    ".net/", ".tv", "instagram.com/", "facebook.com/", "Facebook", "YouTube: ", "Follow us", "Visit", "mail", "ig @", "tik tok: @",
    "fb", "name", "info@site.com", "jane @ mysite.com", "me @ twitch.tv", "tel: 030 1234567", "+1 (555) 123-4567", "[email]",
    "the music and the travel of my life ", "a" * 63, "1234567",
]  # fmt: skip
pieces = st.lists(st.sampled_from(signs), max_size=20).map("".join)
texts = any_text | pieces
json_value = st.none() | st.booleans() | st.integers() | st.floats() | texts | st.lists(texts, max_size=2)
address = st.lists(
    st.sampled_from([*"abW09.-_/@~:?%", "https://", "http://", "www.", "site.com", ".co", "/"]), max_size=10
)
relaxed = settings(deadline=None, max_examples=300)  # the first call of a rule loads its tables


def every_sign():
    return "".join(map(chr, range(sys.maxunicode + 1)))


def repaired(raw):
    return unicodedata.normalize("NFC", text._CONTROL.sub("", text.replace_surrogates(raw)))


def cleaned(raw, max_chars):
    lines = re.sub(r"[^\S\n]*[\n\r\v\f\x85\u2028\u2029]\s*", "\n", repaired(raw))
    return re.sub(r"[^\S\n]+", " ", lines).strip()[:max_chars].rstrip() or None


def spans(matches):
    return [(match.span(), match.groups()) for match in matches]


def test_printable_text_holds_nothing_to_repair():
    assert not any(
        text._CONTROL.match(sign) or text._SURROGATE.match(sign) for sign in every_sign() if sign.isprintable()
    )


def test_white_space_is_the_same_to_patterns_and_to_split():
    assert [sign for sign in every_sign() if sign.isspace()] == re.findall(r"\s", every_sign())
    removed = {sign for sign in every_sign() if text._CONTROL.match(sign)}
    breaks = {sign for sign in every_sign() if len(f"a{sign}b".splitlines()) > 1}
    assert breaks - removed == set("\n\r\v\f\x85\u2028\u2029")
    assert not any(sign.isprintable() for sign in breaks)


@given(texts)
@relaxed
def test_text_is_cleaned_as_by_patterns(raw):
    assert text.repair(raw) == repaired(raw)
    assert text.clean_text(raw, max_chars=20) == cleaned(raw, 20)
    line = re.sub(r"\s+", " ", repaired(raw)).strip()
    assert text.clean_line(raw, max_chars=20) == (None if missing.is_missing_text(line) else line[:20].rstrip() or None)


@given(texts)
@relaxed
def test_masks_bring_in_nothing_to_clean(raw):
    masked = text.mask(text.clean_text(raw, max_chars=500))
    assert masked is None or text.clean_text(masked, max_chars=5000) == masked


@given(
    st.lists(st.sampled_from([*"0123456789", "١", " ", ".", "-", "abc", "+", "tel "]), max_size=30).map("".join) | texts
)
@relaxed
def test_text_without_enough_digits_is_masked_by_no_pattern(raw):
    assert bool(phones._ENOUGH.search(raw)) == bool(re.search(r"(?:\d\D{0,3}){8}", raw))


@given(texts)
@relaxed
def test_addresses_begin_near_a_sign(raw):
    slow = re.compile(emails._ADDRESS.pattern.replace("{1,64}+", "{1,64}"))
    assert spans(emails._matches(raw)) == spans(slow.finditer(raw))
    assert emails.mask_emails(raw) == slow.sub(emails._masked, raw)


@example("x" * 70 + " " + "y" * 64 + " @ mysite.com")
@given(pieces)
@relaxed
def test_a_long_local_part_is_found_from_its_start(raw):
    assert spans(emails._matches(raw)) == spans(emails._ADDRESS.finditer(raw))


@given(texts)
@relaxed
def test_words_without_a_dot_hold_no_web_address(raw):
    slow = re.compile(mentions._URL.pattern.replace("}+", "}"))
    found = [match.group().rstrip(mentions._TRAILING) for match in slow.finditer(raw)]
    assert mentions._addresses(raw) == found


@example("Instagram" + "  " + ":::" + "  @" + "n" * 30)
@example("ig @" + "n" * 31)
@example("ig @" + "n" * 30 + "@")
@given(texts)
@relaxed
def test_labelled_handles_are_near_a_sign(raw):
    assert spans(mentions._labels(raw)) == spans(mentions._LABELLED.finditer(raw))


@given(
    st.text("abFfWwmailMV.-!/ ", max_size=12)
    | st.sampled_from(["nameFacebook", "nameiTunes", "namemail", "nameE-mail"])
)
@relaxed
def test_a_path_in_small_letters_ends_in_no_word(path):
    if path == path.lower() and mentions._SMALL_TAIL not in path:
        assert mentions._TAIL.search(path) is None
    if "/" not in path:
        assert mentions._INNER_HOST.search(path) is None


@given(st.lists(st.sampled_from([*"aM.-_", *mentions._SOCIAL_HOSTS, "YOUTUBE.com", "."]), max_size=5).map("".join))
@relaxed
def test_a_host_is_known_by_its_end(host):
    slow = re.fullmatch(rf"(?:.*[\W_]|.*?){mentions._SOCIAL}", host, re.IGNORECASE)
    assert host.lower().endswith(mentions._SOCIAL_HOSTS) == (slow is not None)


@example(["https://", "site.com", "/", "a", "."])
@example(["www.", "www.", "site.com", "/", "@", "a", "/"])
@example(["site.com", "/", "b" * urls.MAX_URL_CHARS])
@given(address)
@relaxed
def test_a_plain_address_is_taken_apart_as_any_other(parts):
    raw = "".join(parts)
    assert urls.parse_url(raw) == urls._read(raw)


def test_hosts_whose_parameters_name_accounts_have_rules():
    assert {"facebook.com", "twitter.com", "x.com"} <= set(platforms._BY_HOST)


@given(st.from_regex(r"[a-z]{1,9}(\.[a-z]{1,3}){1,3}", fullmatch=True) | st.sampled_from(sorted(hosts.SHARED_HOSTS)))
@relaxed
def test_a_shared_host_is_known_by_itself_or_by_its_domain(host):
    domain = hosts._suffixes().privatesuffix(host) or host
    shared = host in hosts.SHARED_HOSTS or (domain in hosts.SHARED_HOSTS and domain not in hosts.TENANT_HOSTS)
    assert hosts.is_shared_host(host) == shared


@given(
    st.from_regex(r"[0-9a-zA-Z.+_-]{1,20}", fullmatch=True)
    | texts
    | st.sampled_from(["nan", "NONE", "--", "1e5", "1.0"])
)
@relaxed
def test_a_plain_id_is_read_as_any_other(raw):
    quick = handles.platform_id(raw)
    with mock.patch.object(handles, "_PLAIN_ID", NEVER):
        assert handles.platform_id(raw) == quick


@given(texts)
@relaxed
def test_printable_ascii_folds_as_any_other_text(raw):
    assert handles.fold(raw) == handles._fold(raw)


@given(st.text("0123456789-/.:T Zn", min_size=8, max_size=20), st.integers(0, 3))
@relaxed
def test_hyphens_after_year_and_month_mean_iso(raw, cut):
    dated = f"{raw[:4]}-{raw[5:7]}-{raw[8 + cut :]}"
    others = (times._UNIX, times._SHORT, times._SLASHES)
    assert not any(pattern.fullmatch(dated) for pattern in others)
    assert not missing.is_missing_number(dated)


@given(texts | st.sampled_from(sorted(missing.NUMBER_TOKENS | missing.TEXT_TOKENS | missing.EXACT_TEXT_TOKENS)))
@relaxed
def test_long_text_spells_no_missing_value(raw):
    assert missing.is_missing_number(raw) == (raw.casefold() in missing.NUMBER_TOKENS)
    exact = raw in missing.EXACT_TEXT_TOKENS or raw.casefold() in missing.TEXT_TOKENS
    assert missing.is_missing_text(raw) == exact


@given(texts)
@relaxed
def test_noise_is_taken_out_as_from_the_whole_text(raw):
    assert languages._without_noise(raw).split() == languages._NOISE.sub(" ", raw).split()


@given(texts)
@relaxed
def test_letters_are_counted_one_by_one(raw):
    assert languages._scripts(raw) == Counter(languages._script(sign) for sign in raw if sign.isalpha())


@given(json_value)
@relaxed
def test_a_remembered_rule_answers_as_the_rule(raw):
    remembered = rules._remembered(numbers.parse_flag)
    assert remembered(raw) == remembered(raw) == numbers.parse_flag(raw)


KINDS = {
    "profile": (profile_rows.profile_row, rows.parse_profiles, rows.PROFILE_COLUMNS, ("handle", "bio", "language")),
    "post": (post_rows.post_row, rows.parse_posts, rows.POST_COLUMNS, ("handle", "post_id", "title", "caption")),
}


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@settings(deadline=None, max_examples=30)
def test_a_batch_reads_each_row_as_if_alone(kind, data):
    one, many, columns, fields = KINDS[kind]
    few = st.dictionaries(st.sampled_from(fields), pieces, min_size=len(fields) - 1)
    payloads = data.draw(st.lists(few, min_size=1, max_size=5)) * 60  # more than are dictionaries at one time
    (batch,) = many(iter([raw_batch(payloads)]), pepper=b"p")
    expected = [one(payload, profile_rows.Scope("instagram", SEEN, b"p")) for payload in payloads]
    assert batch.column("is_refused").to_pylist() == [row is None for row, _ in expected]
    assert batch.column("rejects").to_pylist() == [[reject._asdict() for reject in rejects] for _, rejects in expected]
    for name in columns:
        assert batch.column(name).to_pylist() == [(row or {}).get(name) for row, _ in expected]


def raw_batch(payloads):
    count = len(payloads)
    columns = dict.fromkeys(("record_id", "source_code", "platform", "file_name"), pa.array(["instagram"] * count))
    columns |= dict.fromkeys(("line_number", "batch_seq", "record_seq"), pa.array(range(count), pa.int64()))
    columns |= dict.fromkeys(("observed_at", "landed_at"), pa.array([SEEN] * count, pa.timestamp("us", tz="UTC")))
    columns["payload"] = pa.array([json.dumps(payload) for payload in payloads])
    return pa.RecordBatch.from_pydict({name: columns[name] for name in rows.RAW_COLUMNS})

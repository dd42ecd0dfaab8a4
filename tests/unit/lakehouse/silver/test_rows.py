"""Whole payloads: one profile, one post, one batch."""

from __future__ import annotations

import ast
import inspect
import json
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from lakehouse.contracts.payload import POST_FIELDS, PROFILE_FIELDS
from lakehouse.silver import languages, rows, rules
from lakehouse.silver.erased import subject_digest
from lakehouse.silver.post_rows import post_row
from lakehouse.silver.profile_rows import Scope, profile_row

SEEN = datetime(2025, 6, 1, tzinfo=UTC)
CHANNEL = "UCGdrLQbt1PYDTPsampx4t1A"


def profile(platform="instagram", **payload):
    row, rejects = profile_row(payload, Scope(platform, SEEN, b"pepper"))
    return row, [(reject.field_name, reject.reason_code) for reject in rejects]


def post(platform="youtube", **payload):
    row, rejects = post_row(payload, Scope(platform, SEEN, b"pepper"))
    return row, [(reject.field_name, reject.reason_code) for reject in rejects]


@pytest.mark.parametrize(
    ("payload", "account_id", "handle_key"),
    [
        ({"platform_account_id": "123", "handle": "Name"}, "123", "name"),
        ({"handle": "@Name"}, "@name", "name"),
        ({"display_name": "The  Name"}, "~the name", None),
        ({"handle": "✿ Kids Show"}, "~✿ kids show", None),
        ({"profile_url": "https://www.instagram.com/Name/"}, "@name", "name"),
        ({"handle": "https://instagram.com/Ana/", "display_name": "Ana García"}, "@ana", "ana"),
        ({"handle": "instagram.com/ana?igsh=1"}, "@ana", "ana"),
        ({"platform_account_id": "12", "handle": "https://instagram.com/ana"}, "12", "ana"),
        ({"handle": "https://x.com/other", "display_name": "Ana García"}, "~ana garcía", None),
        ({"handle": "https://instagram.com/p/abc", "profile_url": "instagram.com/ana"}, "@ana", "ana"),
        ({"handle": "AC/DC official"}, "~ac/dc official", None),
        ({"handle": "#VALOR!", "display_name": "Name"}, "~name", None),
        ({"platform_account_id": "1.5e+18", "handle": "name"}, "@name", "name"),
    ],
)
def test_how_an_account_is_named(payload, account_id, handle_key):
    row, _ = profile(**payload)
    assert (row["platform_account_id"], row["handle_key"]) == (account_id, handle_key)


def test_an_opaque_id_in_the_handle_field_is_the_id():
    row, _ = profile("youtube", handle=f"https://youtube.com/channel/{CHANNEL}", display_name="Name")
    assert (row["platform_account_id"], row["handle"]) == (CHANNEL, None)
    row, _ = profile("youtube", handle=CHANNEL, display_name="Name")
    assert (row["platform_account_id"], row["handle"]) == (CHANNEL, None)
    row, _ = profile("youtube", profile_url=f"https://youtube.com/channel/{CHANNEL}")
    assert row["platform_account_id"] == CHANNEL


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"handle": ""},
        {"handle": "https://x.com/other"},
        {"display_name": "ýýýýý"},
        {"handle": "...", "display_name": "-"},
    ],
)
def test_a_record_that_names_nobody_is_refused_whole(payload):
    row, rejects = profile(**payload)
    assert row is None
    assert rejects[-1] == (None, "no_account_key")


def test_a_refused_field_leaves_the_row():
    row, rejects = profile(handle="a", followers="junk", country="Atlantis", views="-1", bio=["x"], stated_er="250")
    assert row["followers_count"] is None
    assert sorted(rejects) == [
        ("bio", "not_text"),
        ("country", "unknown_country"),
        ("followers", "not_a_number"),
        ("stated_er", "too_large"),
        ("views", "negative"),
    ]


def test_links_come_from_fields_and_text_but_never_point_home():
    row, _ = profile(
        handle="Name",
        bio="IG: instagram.com/name YT: youtube.com/@tube mail a@b.com",
        website="https://mysite.com/?utm_source=ig",
        links=[{"platform": "twitter", "target": "Name"}, "https://youtube.com/@tube"],
    )
    found = [(link["platform"], link["target"], link["evidence"]) for link in row["declared_links"]]
    assert found == [("x", "name", "declared"), ("youtube", "tube", "declared"), ("web", "mysite.com", "declared")]
    assert (row["website_url"], row["website_domain"]) == ("https://mysite.com", "mysite.com")


def test_knowing_that_there_is_no_address_differs_from_not_knowing():
    assert profile(handle="a")[0]["has_email"] is None
    assert profile(handle="a", bio="hello")[0]["email_hashes"] == []
    assert (
        profile(handle="a", email="A@b.com")[0]["email_hashes"]
        == profile(handle="b", bio="x a@B.com")[0]["email_hashes"]
    )


def test_having_read_no_link_differs_from_not_having_read():
    assert profile(handle="a", followers="1")[0].get("declared_links") is None
    for read in ({"bio": "hello"}, {"bio": "instagram.com/a"}, {"links": ["https://youtu.be/abc"]}):
        assert profile(handle="a", **read)[0]["declared_links"] == []
    assert post(post_id="1", handle="a")[0]["declared_links"] is None
    assert post(post_id="1", handle="a", caption="hello")[0]["declared_links"] == []


def test_other_names_and_language():
    row, _ = profile(
        handle="a", display_name="三枝明那", other_names="Saegusa Akina", bio="Hello friends and welcome to my channel"
    )
    assert (row["other_names"], row["language_code"]) == (["Saegusa Akina"], "en")


@pytest.mark.parametrize(("unit", "ratio"), [("percent", 0.0165), ("fraction", 1.65), (None, 1.65)])
def test_stated_rate_has_a_unit(unit, ratio):
    assert profile(handle="a", stated_er="1.65", stated_er_unit=unit)[0]["stated_er_ratio"] == pytest.approx(ratio)


def test_switched_off_counts_are_unknown():
    row, _ = post(post_id="1", handle="a", likes="0", comments="0", comments_disabled="True", ratings_disabled="False")
    assert (row["comments_count"], row["likes_count"]) == (None, 0)
    row, _ = post(post_id="1", handle="a", likes="0", comments="5", ratings_disabled=True)
    assert (row["comments_count"], row["likes_count"]) == (5, None)


def test_a_post_is_normalised():
    row, rejects = post(
        post_id="abc",
        account_id=CHANNEL,
        title="Title with jane@mysite.com",
        caption="Welcome to my new kitchen video #Food\nhttps://instagram.com/name jane@mysite.com +34 612 345 678",
        tags=["Cooking"],
        category="Howto & Style",
        published_at="2018-10-31T14:17:10.000Z",
        duration="01:15",
        views="1.2M",
    )
    assert rejects == []
    assert row["platform_account_id"] == CHANNEL
    assert row["caption"] == "Welcome to my new kitchen video #Food\nhttps://instagram.com/name [email] [phone]"
    assert row["title"] == "Title with [email]"
    assert (row["tags"], row["views_count"], row["duration_seconds"]) == (["cooking", "food"], 1_200_000, 75.0)
    assert [link["evidence"] for link in row["declared_links"]] == ["post"]
    assert len(row["email_hashes"]) == 1


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ({"handle": "a"}, "no_post_id"),
        ({"post_id": "1"}, "no_account_key"),
        ({"post_id": "1e+20", "handle": "a"}, "no_post_id"),
    ],
)
def test_a_post_without_id_or_account_is_refused(payload, reason):
    row, rejects = post(**payload)
    assert row is None
    assert rejects[-1] == (None, reason)


def test_a_batch_keeps_every_row_in_place():
    batch = raw_batch([{"handle": "a", "followers": "x"}, "{broken", {"handle": "b"}, "[]", {}])
    parsed = rows.parse_batch(batch, columns=rows.PROFILE_COLUMNS, normalise=profile_row, pepper=b"p")
    assert parsed.schema == rows.parsed_schema(rows.PROFILE_COLUMNS)
    assert parsed.column("is_refused").to_pylist() == [False, True, False, True, True]
    reasons = [[reject["reason_code"] for reject in rejects] for rejects in parsed.column("rejects").to_pylist()]
    assert reasons == [["not_a_number"], ["bad_payload"], [], ["bad_payload"], ["no_account_key"]]
    assert parsed.column("record_seq").to_pylist() == [0, 1, 2, 3, 4]


def test_a_row_that_a_rule_fails_on_stops_itself_alone_and_shows_no_value():
    def fails_on_jane(payload, scope):
        if payload["handle"] == "jane":
            raise OverflowError(payload["bio"])
        return profile_row(payload, scope)

    batch = raw_batch([{"handle": "jane", "bio": "my secret"}, {"handle": "b"}])
    parsed = rows.parse_batch(batch, columns=rows.PROFILE_COLUMNS, normalise=fails_on_jane, pepper=b"p")
    assert parsed.column("is_refused").to_pylist() == [True, False]
    ((reject,), ()) = parsed.column("rejects").to_pylist()
    assert (reject["field_name"], reject["reason_code"]) == (None, "bad_payload")
    assert json.loads(json.loads(reject["raw_value"])) == {"error": "OverflowError", "fields": ["bio", "handle"]}


def test_an_empty_batch_stays_empty():
    parsed = rows.parse_batch(raw_batch([]), columns=rows.POST_COLUMNS, normalise=post_row, pepper=b"p")
    assert parsed.num_rows == 0


def test_quarantined_values_are_masked_ascii_and_short():
    raw = rules.raw_json({"a": "mail jane@mysite.com é \ud800" + "x" * 5000})
    assert raw.isascii()
    assert len(raw) <= rules.RAW_VALUE_MAX_CHARS
    assert "jane" not in raw


def test_an_address_at_the_cut_is_masked():
    raw = rules.raw_json("x" * (rules.RAW_VALUE_MAX_CHARS - 12) + " jane@mysite.com")
    assert "jane" not in raw


def test_every_field_of_the_payload_is_read():
    folder = Path(inspect.getfile(rules)).parent
    used = {
        node.value
        for name in ("profile_rows.py", "post_rows.py", "rules.py")
        for node in ast.walk(ast.parse((folder / name).read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    # The mapping also yields a profile record of a post, which carries the follower count; why a platform gave an account a
    # state stays in bronze, for whoever asks.
    assert (PROFILE_FIELDS | POST_FIELDS) - used == {"account_followers", "state_reason"}


def test_every_reason_has_a_sentence():
    folder = Path(inspect.getfile(rules)).parent
    source = "".join(path.read_text(encoding="utf-8") for path in folder.glob("*.py"))
    assert all(source.count(f'"{code}"') >= 2 for code in rules.REASON_TEXTS)
    assert all(text.endswith(".") for text in rules.REASON_TEXTS.values())


def raw_batch(payloads):
    count = len(payloads)
    texts = [payload if isinstance(payload, str) else json.dumps(payload) for payload in payloads]
    times = pa.array([SEEN] * count, pa.timestamp("us", tz="UTC"))
    numbers = pa.array(range(count), pa.int64())
    columns = {
        "observed_at": times,
        "landed_at": times,
        "line_number": numbers,
        "batch_seq": numbers,
        "record_seq": numbers,
    }
    columns |= {
        name: pa.array(["instagram"] * count, pa.string())
        for name in ("platform", "source_code", "file_name", "record_id")
    }
    columns["payload"] = pa.array(texts, pa.string())
    return pa.RecordBatch.from_pydict({name: columns[name] for name in rows.RAW_COLUMNS})


def test_an_erased_account_is_refused_without_its_values():
    records = [{"handle": "jane", "bio": "hello"}, {"handle": "john", "followers": "many"}]
    erased = frozenset({subject_digest("instagram", "@jane", pepper=b"p"), subject_digest("x", "@john", pepper=b"p")})
    given = {"columns": rows.PROFILE_COLUMNS, "normalise": profile_row, "pepper": b"p", "erased": erased}
    parsed = rows.parse_batch(raw_batch([json.dumps(record) for record in records]), **given).to_pylist()
    assert [row["is_refused"] for row in parsed] == [True, False]
    assert parsed[0]["rejects"] == [{"field_name": None, "reason_code": "erased", "raw_value": ""}]
    assert {parsed[0][name] for name in rows.PROFILE_COLUMNS} == {None}
    assert not any("jane" in digest for digest in erased)


def test_a_text_that_the_language_model_fails_on_stops_its_row_alone(monkeypatch):
    def fails(text):
        if text == "odd":
            raise RuntimeError("secret odd text")
        return "es"

    monkeypatch.setattr(languages, "detect_language", fails)
    payloads = [{"handle": "a", "bio": "hola"}, {"handle": "b", "bio": "odd"}, {"handle": "c", "language": "en"}]
    (parsed,) = rows.parse_profiles([raw_batch(payloads)], pepper=b"p")
    assert parsed["language_code"].to_pylist() == ["es", None, "en"]
    assert parsed["is_refused"].to_pylist() == [False, True, False]
    (reject,) = parsed["rejects"].to_pylist()[1]
    assert reject["reason_code"] == "bad_payload"
    assert "RuntimeError" in reject["raw_value"]
    assert "odd" not in reject["raw_value"]

"""Lexicon matching: whole words, folding, spans, context, levels."""

from __future__ import annotations

import pyarrow as pa
import pytest

from lakehouse.contracts.taxonomy import RISKS
from lakehouse.enrich import risk
from lakehouse.enrich.risk import assess_batch, scan_batches
from lakehouse.enrich.risk_rules import (
    HITS_PER_TEXT,
    Evidence,
    Hit,
    _lexicon,
    assess,
    find_hits,
    fold,
    suspects,
)


def _codes(text):
    return [hit.code for hit in find_hits(text)]


def test_every_lexicon_code_is_declared():
    declared = {risk.code for risk in RISKS}
    assert {code for meanings in _lexicon().meanings.values() for code, _ in meanings} <= declared


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("Best CASINO bonus", ["gambling"]),
        ("Ｃａｓｉｎｏ", ["gambling"]),
        ("Ставки на спорт", ["gambling"]),
        ("ビールが好き", ["drugs_tobacco_alcohol"]),
        ("apuestas deportivas", ["gambling"]),
        ("buy followers now", ["spam_harmful"]),
        ("class assassin grapes", []),
        ("gün aydın", []),
        ("", []),
    ],
)
def test_words_match_whole_in_many_scripts(text, codes):
    assert _codes(text) == codes


def test_spans_point_into_the_text_as_stored():
    text = "È così: CASINÒ? no, Casino!"
    for hit in find_hits(text):
        assert fold(text[hit.start : hit.end]) == "casino"
    assert len(fold(text)) == len(text)


def test_the_longest_term_wins():
    (hit,) = find_hits("casino bonus")
    assert (hit.start, hit.end, hit.weight) == (0, 12, 3)


def test_hits_per_text_are_capped():
    assert len(find_hits("casino " * 100)) == HITS_PER_TEXT


def test_the_gravest_hits_are_kept_however_late_they_come():
    mild = next(term for term, found in _lexicon().meanings.items() if term.isascii() and found[0][1] == 1)
    grave = next(term for term, found in _lexicon().meanings.items() if term.isascii() and found[0][1] == 3)
    hits = find_hits(f"{mild} and " * 50 + grave)
    assert len(hits) == HITS_PER_TEXT
    assert max(hit.weight for hit in hits) == 3
    assert [hit.start for hit in hits] == sorted(hit.start for hit in hits)


def test_prefilter_is_a_superset():
    texts = ["Casino", "ÇASINO", "카지노", "ＦＵＣＫ", "heroína", "nothing here", "сигареты"]
    assert set(suspects(pa.array([None, *texts]))) == {1, 2, 3, 4, 5, 7}


def test_every_term_is_found():
    texts = [f"so {term.rstrip('*')}." for term in _lexicon().meanings]
    assert suspects(pa.array(texts)) == [place for place, text in enumerate(texts) if find_hits(text)]
    assert len(suspects(pa.array(texts))) == len(texts)


def test_no_start_of_a_term_hides_another():
    starts = list(_lexicon().by_start)
    assert not [(a, b) for a in starts for b in starts if a != b and b.startswith(a)]


def test_reporting_lowers_the_level():
    doing, telling = "weed for sale, dm me", "documentary: the history of weed for sale"
    levels = [
        assess([Evidence(hit, "bio", None) for hit in find_hits(text)], scanned=1)[0]["level"]
        for text in (doing, telling)
    ]
    assert levels == ["high", "medium"]


def test_repetition_raises_and_rarity_lowers():
    beer = [Evidence(Hit("drugs_tobacco_alcohol", 1, False, 0, 4), "title", f"p{i}") for i in range(4)]
    assert assess(beer, scanned=6)[0]["level"] == "medium"
    assert assess(beer[:1], scanned=6)[0]["level"] == "low"
    casino = [Evidence(Hit("gambling", 3, False, 0, 6), "title", "p1")]
    assert assess(casino, scanned=100)[0]["level"] == "medium"


def test_score_grows_with_texts_and_stays_below_one():
    def score(texts):
        items = [Evidence(Hit("gambling", 2, False, 0, 6), "title", f"p{i}") for i in range(texts)]
        return assess(items, scanned=texts)[0]["score"]

    assert 0 < score(1) < score(3) < score(20) <= 1


def test_a_batch_is_added_up_per_account():
    rows = [
        {
            "platform": "x",
            "platform_account_id": "1",
            "post_id": None,
            "bio": "casino bonus",
            "title": None,
            "caption": None,
            "tags": None,
        },
        {
            "platform": "x",
            "platform_account_id": "1",
            "post_id": "p",
            "bio": None,
            "title": "cooking",
            "caption": "Casino!",
            "tags": "a b",
        },
        {
            "platform": "x",
            "platform_account_id": "2",
            "post_id": None,
            "bio": None,
            "title": None,
            "caption": None,
            "tags": None,
        },
    ]
    schema = pa.schema([(name, pa.string()) for name in rows[0]])
    (out,) = scan_batches(iter([pa.RecordBatch.from_pylist(rows, schema=schema)]))
    first, second = assess_batch(out).to_pylist()
    assert first["risk_codes"] == ["gambling"]
    assert first["posts_scanned_count"] == 1
    assert [(e["field"], e["post_id"], e["start"], e["end"]) for e in first["risks"][0]["evidence"]] == [
        ("bio", None, 0, 12),
        ("caption", "p", 0, 6),
    ]
    assert (second["risks"], second["posts_scanned_count"]) == ([], 0)


def test_small_batches_are_searched_together_and_large_ones_apart(monkeypatch):
    row = dict.fromkeys(("post_id", "title", "caption", "tags")) | {"platform": "x", "bio": "wine"}
    schema = pa.schema([(name, pa.string()) for name in ("platform", "platform_account_id", "post_id", *risk.FIELDS)])
    batches = [pa.RecordBatch.from_pylist([row | {"platform_account_id": str(i)}], schema=schema) for i in range(3)]
    (together,) = scan_batches(iter(batches))
    monkeypatch.setattr(risk, "SCAN_BYTES", 1)
    apart = list(scan_batches(iter(batches)))
    assert len(apart) == 3
    assert pa.Table.from_batches(apart).to_pylist() == together.to_pylist()
    assert list(scan_batches(iter([]))) == []

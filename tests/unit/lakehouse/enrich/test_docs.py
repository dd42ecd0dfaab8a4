"""What goes into an account's text, and in which order."""

from __future__ import annotations

import pyarrow as pa
import pytest

from lakehouse.contracts.tables import DOCS
from lakehouse.enrich.docs import DOC_CHARS, clean, common_labels, compose, compose_batch, content_hash, cut

STRINGS = pa.list_(pa.string())
JOINED = pa.schema(
    [
        *((name, pa.string()) for name in ("platform", "platform_account_id", "display_name", "handle", "bio")),
        ("category_labels", STRINGS),
        ("language_code", pa.string()),
        ("posts", pa.list_(pa.struct([("text", pa.string()), ("tags", STRINGS), ("category_labels", STRINGS)]))),
    ]
)


def _rows(*rows):
    return compose_batch(pa.RecordBatch.from_pylist([{"platform": "x", **row} for row in rows], schema=JOINED))


def test_order_is_name_labels_bio_tags_titles():
    text = compose(name="Ann", labels=["Beauty"], bio="I paint faces", tags=["glow"], titles=["My red look"])
    assert text == "Ann. beauty, makeup. I paint faces. glow. My red look"


def test_labels_become_search_words_and_unknown_ones_stay():
    text = compose(name="Jo", labels=["Sports with a ball", "Curling", "17", "999"])
    assert text.startswith("Jo. sports, football, soccer")
    assert "Curling" in text
    assert "999" not in text


def test_addresses_and_marks_are_removed_and_repeats_appear_once():
    text = compose(name="Jo", bio="see https://x.example/a mail a@b.example [email] #Art @friend", titles=["Hi", "Hi"])
    assert text == "Jo. see mail Art friend. Hi"


def test_an_account_without_anything_gives_an_empty_text():
    assert compose(name=None) == ""


def test_text_is_capped_at_a_word():
    text = compose(name="Jo", bio="word " * 300, titles=["title " * 50] * 9)
    assert len(text) <= DOC_CHARS
    assert not text.endswith(("wor", "titl"))
    assert cut("x" * 50, 10) == "x" * 10


def test_control_characters_and_surrogates_do_no_harm():
    assert clean("a\x00b\n c") == "a b c"
    assert len(content_hash("\ud800")) == 64


def test_a_mark_inside_a_name_is_no_address():
    assert clean("あみか✨@フォーエイト #a#b") == "あみか✨ フォーエイト a b"


def test_labels_of_posts_count_when_common():
    assert common_labels(["Music"], [["Comedy"], ["Comedy"], ["News"], None]) == ["Music", "Comedy"]
    assert common_labels(None, []) == []


@pytest.mark.parametrize("name", [None, "", "https://jo.example", "jo@jo.example"])
def test_an_account_without_a_name_falls_back_to_the_handle(name):
    assert compose(name=name, handle="jo", bio="Art") == "jo. Art"


def test_posts_stay_with_their_account():
    jo = {
        "platform_account_id": "1",
        "handle": "jo",
        "posts": [
            {"text": "First", "tags": ["b", "a"], "category_labels": ["Music"]},
            {"text": None, "tags": ["a"], "category_labels": None},
        ],
    }
    ann = {"platform_account_id": "2", "display_name": "Ann", "category_labels": ["Beauty", "Beauty"]}
    ben = {"platform_account_id": "3", "posts": [{"text": "Second", "tags": None, "category_labels": ["News"]}]}
    docs = _rows(ann, jo, {"platform_account_id": "4", "posts": []}, ben)
    assert docs.schema == DOCS.arrow_schema()
    assert docs.column("platform_account_id").to_pylist() == ["2", "1", "4", "3"]
    assert docs.column("doc_text").to_pylist() == [
        "Ann. beauty, makeup",
        "jo. music, singer. a, b. First",
        "",
        "news. Second",
    ]
    assert docs.column("category_labels").to_pylist() == [["Beauty"], ["Music"], [], ["News"]]
    assert docs.slice(1, 2).equals(_rows(jo, {"platform_account_id": "4"}))


def test_titles_beyond_the_cap_change_nothing():
    titles = [f"title {number} " * 9 for number in range(9)]
    assert compose(name="Jo", titles=titles) == compose(name="Jo", titles=titles + ["more"] * 99)

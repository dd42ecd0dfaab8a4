"""What goes into an account's text, and in which order."""

from __future__ import annotations

import pyarrow as pa
import pytest

from lakehouse.contracts.tables import DOCS
from lakehouse.enrich.docs import (
    DOC_CHARS,
    NEWEST_POSTS,
    clean,
    common_labels,
    compose,
    compose_batch,
    content_hash,
    cut,
)

STRINGS = pa.list_(pa.string())
JOINED = pa.schema(
    [
        *((name, pa.string()) for name in ("platform", "platform_account_id", "display_name", "handle", "bio")),
        ("category_labels", STRINGS),
        ("language_code", pa.string()),
        (
            "posts",
            pa.list_(
                pa.struct(
                    [("text", pa.string()), ("tags", STRINGS), ("category_labels", STRINGS), ("is_long", pa.bool_())]
                )
            ),
        ),
    ]
)


def _post(text=None, tags=None, labels=None, *, is_long=False):
    return {"text": text, "tags": tags, "category_labels": labels, "is_long": is_long}


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
            _post("First", ["b", "a"], ["Music"]),
            _post(None, ["a"]),
        ],
    }
    ann = {"platform_account_id": "2", "display_name": "Ann", "category_labels": ["Beauty", "Beauty"]}
    ben = {"platform_account_id": "3", "posts": [_post("Second", None, ["News"])]}
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


def test_posts_of_one_form_are_the_whole_text():
    jo = {"platform_account_id": "1", "handle": "jo", "posts": [_post("First"), _post("Second")]}
    ann = {"platform_account_id": "2", "handle": "ann", "posts": [_post("Third", is_long=True)]}
    docs = _rows(jo, ann, {"platform_account_id": "3", "handle": "ben", "posts": []}).to_pylist()
    assert [(row["short_hash"], row["long_hash"]) for row in docs] == [
        (docs[0]["content_hash"], None),
        (None, docs[1]["content_hash"]),
        (None, None),
    ]
    assert {row[name] for row in docs for name in ("short_text", "long_text")} == {None}


def test_posts_of_both_forms_have_a_text_of_each():
    posts = [_post("Short one", ["s"], ["Music"]), _post("Long one", ["l"], ["News"], is_long=True), _post("Short two")]
    other = {"platform_account_id": "1", "handle": "ann", "posts": [_post("Else", is_long=True)]}
    jo = {"platform_account_id": "2", "handle": "jo", "posts": posts}
    docs = _rows(other, jo).to_pylist()[1]
    assert docs["doc_text"] == "jo. s, l. Short one. Long one. Short two"
    assert docs["short_text"] == "jo. music, singer. s. Short one. Short two"
    assert docs["long_text"] == "jo. news. l. Long one"
    assert (docs["short_hash"], docs["long_hash"]) == (
        content_hash(docs["short_text"]),
        content_hash(docs["long_text"]),
    )
    assert docs["category_labels"] == []


def test_the_whole_text_has_the_newest_posts_and_a_form_its_own():
    posts = [_post(f"t{number}", is_long=number % 2 == 0) for number in range(2 * NEWEST_POSTS)]
    docs = _rows({"platform_account_id": "1", "handle": "jo", "posts": posts}).to_pylist()[0]
    assert docs["doc_text"] == "jo. " + ". ".join(f"t{number}" for number in range(NEWEST_POSTS))
    assert docs["long_text"] == "jo. " + ". ".join(f"t{number}" for number in range(0, 2 * NEWEST_POSTS, 2))


def test_a_form_that_says_the_same_is_not_written_again():
    posts = [_post("Same"), _post("Same", is_long=True)]
    docs = _rows({"platform_account_id": "1", "handle": "jo", "posts": posts}).to_pylist()[0]
    assert docs["short_hash"] == docs["long_hash"] == docs["content_hash"]
    assert docs["short_text"] is docs["long_text"] is None

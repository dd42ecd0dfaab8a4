"""Objects in a folder: written once, verified on read, one winner per swap."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor

import pytest

from lakehouse.errors import IntegrityError, NotFoundError
from lakehouse.storage.objects import ObjectStore


@pytest.fixture
def objects(settings):
    return ObjectStore.open(settings)


def test_put_once_is_idempotent_for_the_same_content(objects):
    digest = objects.put_once("a/b.json", b"one")
    assert digest == hashlib.sha256(b"one").hexdigest()
    assert objects.put_once("a/b.json", b"one") == digest
    assert objects.get("a/b.json") == b"one"


def test_put_once_refuses_other_content_and_keeps_the_first(objects):
    objects.put_once("a", b"one")
    with pytest.raises(IntegrityError, match="written once"):
        objects.put_once("a", b"two")
    assert objects.get("a") == b"one"


def test_put_once_takes_a_file(objects, tmp_path):
    source = tmp_path / "big"
    source.write_bytes(b"x" * 100_000)
    assert objects.put_once("f", source) == objects.sha256("f")


def test_a_missing_object_is_named(objects):
    with pytest.raises(NotFoundError, match="nothing/here"):
        objects.get("nothing/here")
    assert objects.read_json("nothing/here") is None
    assert not objects.exists("nothing/here")


def test_a_damaged_object_is_refused(objects, tmp_path):
    digest = objects.put_once("f", b"good")
    (tmp_path / "lake" / "f").write_bytes(b"bad!")
    with pytest.raises(IntegrityError):
        objects.get_verified("f", digest)
    with pytest.raises(IntegrityError):
        objects.download("f", tmp_path / "copy", sha256=digest)
    assert not (tmp_path / "copy").exists()


def test_list_is_sorted_and_limited_to_the_prefix(objects):
    for key in ("p/2", "p/10", "q/1"):
        objects.put_once(key, b"1")
    assert [info.key for info in objects.list("p")] == ["p/10", "p/2"]
    assert [info.key for info in objects.list_after("p", "p/10")] == ["p/2"]


def test_swap_needs_the_expected_value(objects):
    assert objects.swap("CURRENT", b"1", expected=None)
    assert not objects.swap("CURRENT", b"2", expected=None)
    assert not objects.swap("CURRENT", b"2", expected=b"0")
    assert objects.swap("CURRENT", b"2", expected=b"1")
    assert objects.get("CURRENT") == b"2"


def test_one_of_many_racing_swaps_wins(objects):
    objects.swap("CURRENT", b"0", expected=None)
    with ThreadPoolExecutor(8) as pool:
        wins = list(pool.map(lambda i: objects.swap("CURRENT", str(i).encode(), expected=b"0"), range(1, 33)))
    assert sum(wins) == 1
    assert objects.get("CURRENT") == str(wins.index(True) + 1).encode()


def test_delete_of_a_missing_object_is_fine(objects):
    objects.delete("never")

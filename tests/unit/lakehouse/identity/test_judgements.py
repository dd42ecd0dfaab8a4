"""The log of judgements: numbered, never contradictory, taken back by number, emptied for the erased."""

from __future__ import annotations

from pathlib import Path

import pytest

from lakehouse.contracts.evidence import Judgement, Kind, groups
from lakehouse.errors import PermanentError
from lakehouse.identity.judgements import Said, digest_of, forget, read, record, standing
from lakehouse.settings import load_settings
from lakehouse.storage.objects import ObjectStore

A, B, C, D = (("x", "1"), ("instagram", "@b"), ("youtube", "UC3"), ("tiktok", "@d"))


@pytest.fixture
def objects(tmp_path: Path) -> ObjectStore:
    return ObjectStore.open(load_settings(home=tmp_path, lake=str(tmp_path / "lake"), email_pepper="test"))


def say(objects: ObjectStore, kind: Kind, *accounts, **more) -> Judgement:
    return record(objects, Said(kind, accounts, **more))


def test_judgements_are_numbered_and_read_back_in_order(objects: ObjectStore) -> None:
    first = say(objects, Kind.LINK, A, B, by="ana", note="same interview")
    second = say(objects, Kind.UNLINK, B, C)
    assert read(objects) == [first, second]
    assert (first.number, second.number, first.by) == (1, 2, "ana")


def test_what_is_taken_back_does_not_stand_and_can_be_judged_anew(objects: ObjectStore) -> None:
    say(objects, Kind.LINK, A, B)
    with pytest.raises(PermanentError, match="judgements 1 say"):
        say(objects, Kind.UNLINK, A, B)
    say(objects, Kind.UNDO, of=1)
    assert standing(read(objects)) == []
    assert say(objects, Kind.UNLINK, A, B).number == 3
    with pytest.raises(PermanentError, match="no standing judgement 1"):
        say(objects, Kind.UNDO, of=1)


def test_links_are_transitive_and_an_unlink_holds_for_all_that_is_linked(objects: ObjectStore) -> None:
    say(objects, Kind.LINK, A, B)
    say(objects, Kind.UNLINK, A, C)
    with pytest.raises(PermanentError, match="contradicts judgement 2: unlink x:1, youtube:UC3"):
        say(objects, Kind.LINK, C, B)
    say(objects, Kind.LINK, C, D)
    with pytest.raises(PermanentError, match="judgement 2"):
        say(objects, Kind.FREEZE, B, D)
    assert groups(standing(read(objects))) == {A: B, B: B, C: D, D: D}


def test_nothing_is_linked_to_a_frozen_creator(objects: ObjectStore) -> None:
    say(objects, Kind.FREEZE, A, B)
    with pytest.raises(PermanentError, match="judgement 1: freeze"):
        say(objects, Kind.LINK, B, C)
    say(objects, Kind.LINK, A, B)  # says what is so already
    say(objects, Kind.UNLINK, B, C)
    say(objects, Kind.FREEZE, D)


@pytest.mark.parametrize(
    ("kind", "accounts"), [(Kind.LINK, (A,)), (Kind.LINK, (A, A)), (Kind.UNLINK, (A, B, C)), (Kind.FREEZE, ())]
)
def test_too_few_or_equal_accounts_are_refused(objects: ObjectStore, kind: Kind, accounts) -> None:
    with pytest.raises(PermanentError):
        say(objects, kind, *accounts)
    assert digest_of(objects) == ""


def test_nothing_is_left_of_what_was_said_of_an_erased_account(objects: ObjectStore) -> None:
    say(objects, Kind.LINK, A, B, note="they told us")
    say(objects, Kind.LINK, C, D)
    before = digest_of(objects)
    assert forget(objects, [B]) == 1
    assert digest_of(objects) != before
    assert [one.kind for one in read(objects)] == [Kind.GONE, Kind.LINK]
    assert read(objects)[0] == Judgement(1, Kind.GONE)
    assert say(objects, Kind.UNLINK, A, B).number == 3

"""Erased accounts are not asked for, by whatever name they were erased; the others of their batch are."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from lakehouse.fetch.task import FetchTask
from lakehouse.fetch.withheld import Withheld
from lakehouse.fetch.worker import work
from lakehouse.silver.erased import subject_digest
from tests.fetch_factory import live

PEPPER = b"p"


def withheld(*subjects: tuple[str, str]) -> Withheld:
    return Withheld(frozenset(subject_digest(*subject, pepper=PEPPER) for subject in subjects), PEPPER)


@pytest.mark.parametrize(
    ("task", "kind", "places"),
    [
        (FetchTask("x_api", "users", ("1", "2", "3")), "id", [1]),
        (FetchTask("x_api", "users_by_username", ("Gone", "here")), "handle", [0]),
        (FetchTask("x_api", "users_by_username", ("renamed", "here"), ids=("2", "")), "handle", [0]),
        (FetchTask("x_api", "users_by_username", ("2",)), "handle", []),
        (FetchTask("youtube_api", "videos", ("2",)), "none", []),
    ],
)
def test_keys_are_known_by_id_and_by_handle(task: FetchTask, kind: str, places: list[int]) -> None:
    assert withheld(("x", "2"), ("x", "@gone")).places(task, "x", kind) == places
    assert withheld(("x", "2"), ("x", "@gone")).places(task, "instagram", kind) == []
    assert Withheld().places(task, "x", kind) == []


def test_a_worker_asks_for_the_others_of_a_batch(tmp_path: Path) -> None:
    with live(tmp_path) as one:
        ids = one.ids("x")[:5]
        with one.tools(withheld=withheld(("x", ids[1]), ("x", ids[3]))) as tools:
            tools.queue.put([FetchTask("x_api", "users", tuple(ids)), FetchTask("x_api", "users", (ids[1],))])
            report = asyncio.run(work(tools, ["x_api"], seconds=30))["x_api"]
        assert report.requests == 1
        assert one.answered()["x_api.users"] == {ids[0], ids[2], ids[4]}
        with one.tools() as tools:
            assert tools.queue.depth("x_api").ready == tools.queue.depth("x_api").dead == 0

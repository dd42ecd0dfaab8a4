"""Fetched rows expire in every layer; what other sources say stays, and the day after finds nothing more to do."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import gzip
from dataclasses import replace
from pathlib import Path

import pytest

from assets.steps import STEPS
from lakehouse.contracts.layout import LANDING
from lakehouse.contracts.tables import ACCOUNT_METRICS, ACCOUNTS, BRONZE_PROFILES, OBSERVATIONS, REFRESH
from lakehouse.fetch.landing import land_answers
from lakehouse.fetch.source import load_sources
from lakehouse.fetch.worker import work
from lakehouse.ops.erasure import erase, request_erasure
from lakehouse.ops.retention import Expired, expire, limits_of
from lakehouse.ops.steps import run_step
from tests.fetch_factory import batches, live

pytestmark = pytest.mark.spark
BY_NAME = {step.name: step for step in STEPS}
BUILT = (
    "raw_landing",
    BRONZE_PROFILES["youtube"].name,
    OBSERVATIONS.name,
    ACCOUNTS.name,
    ACCOUNT_METRICS.name,
    REFRESH.name,
)


def test_limits_are_the_shortest_of_the_sources_that_share_a_mapping() -> None:
    limits = limits_of(load_sources())
    assert limits["youtube_api"] == 30


def test_what_is_too_old_goes_and_what_a_dump_says_stays(lake, tmp_path: Path) -> None:
    dump, sources = tmp_path / "in", load_sources()
    dump.mkdir()
    with live(tmp_path / "live") as one:
        ids = one.ids("youtube")[:4]
        row = '{"platform":"youtube","platform_account_id":"%s","handle":"own","followers":5,"observed_at":"2026-05-01"}\n'
        (dump / "accounts_own.jsonl").write_text(row % ids[0])
        settings = lake.settings.model_copy(
            update={name: getattr(one.settings, name) for name in ("fetch_credentials", "fetch_urls", "fetch_allowed")}
            | {"input": dump}
        )
        with one.tools() as tools:
            tools.queue.put(batches("youtube_api", "channels", ids, 50))
            asyncio.run(work(replace(tools, objects=lake.objects), ["youtube_api"], seconds=30))
        for name in BUILT[:1]:
            run_step(BY_NAME[name], lake, settings)
        land_answers(lake.objects, one.readers(), after=0, log=print, clock=one.clock.now)
        for name in ("raw_answers", *BUILT[1:]):
            run_step(BY_NAME[name], lake, settings)
        fetched_at = one.clock.now()
    assert lake.count(ACCOUNTS) == 4
    assert expire(lake, sources, now=fetched_at + dt.timedelta(days=29)) == Expired()
    found = expire(lake, sources, now=fetched_at + dt.timedelta(days=31))
    assert (found.accounts, found.records) == (4, 4)
    assert found.objects >= 2
    left = lake.read(ACCOUNTS).collect()
    assert [(row["platform_account_id"], row["followers_count"]) for row in left] == [(ids[0], 5)]
    for spec in (OBSERVATIONS, ACCOUNT_METRICS, BRONZE_PROFILES["youtube"]):
        assert [row[0] for row in lake.read(spec).select("source_code").distinct().collect()] == [
            "creatorlake_accounts"
        ]
    assert not [info.key for info in lake.objects.list(f"{LANDING}/youtube") if "youtube_api" in info.key]
    assert expire(lake, sources, now=fetched_at + dt.timedelta(days=31)) == Expired()
    for name in ("raw_answers", *BUILT[1:]):
        run_step(BY_NAME[name], lake, settings)
    assert lake.count(ACCOUNTS) == 1
    assert lake.count(REFRESH) == 1


def test_an_erased_account_goes_out_of_raw_answers_too_and_a_later_answer_stays_out(lake, tmp_path: Path) -> None:
    with live(tmp_path / "live") as one:
        ids = one.ids("youtube")[:4]
        settings = lake.settings.model_copy(
            update={name: getattr(one.settings, name) for name in ("fetch_credentials", "fetch_urls", "fetch_allowed")}
        )
        steps = ("raw_answers", BRONZE_PROFILES["youtube"].name, OBSERVATIONS.name, ACCOUNTS.name)

        def fetch(cycle: str) -> None:
            with one.tools() as tools:
                tools.queue.put(batches("youtube_api", "channels", ids, 2, cycle=cycle))
                asyncio.run(work(replace(tools, objects=lake.objects), ["youtube_api"], seconds=30))
            for name in steps:
                run_step(BY_NAME[name], lake, settings)

        fetch("first")
        assert lake.count(ACCOUNTS) == 4
        request_erasure(lake, [f"youtube:{ids[0]}"])
        assert erase(lake).accounts == 1
        fetch("second")
        erase(lake)
        for name in steps[1:]:
            run_step(BY_NAME[name], lake, settings)
        assert {row[0] for row in lake.read(ACCOUNTS).select("platform_account_id").collect()} == set(ids[1:])
        texts = [gzip.decompress(lake.objects.get(info.key)) for info in lake.objects.list(f"{LANDING}/youtube")]
        assert not [text for text in texts if ids[0].encode() in text]
        assert [text for text in texts if ids[3].encode() in text]


@pytest.mark.parametrize("kept", range(4))
def test_a_retention_that_dies_among_the_objects_leaves_nothing_behind_the_next_time(
    lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: int
) -> None:
    with live(tmp_path / "live") as one:
        with one.tools() as tools:
            tools.queue.put(batches("youtube_api", "channels", one.ids("youtube")[:2], 50))
            asyncio.run(work(replace(tools, objects=lake.objects), ["youtube_api"], seconds=30))
        land_answers(lake.objects, one.readers(), after=0, log=print, clock=one.clock.now)
        later = one.clock.now() + dt.timedelta(days=31)
    real, calls = lake.objects.delete, []

    def dying(key: str) -> None:
        calls.append(key)
        if len(calls) > kept:
            raise OSError("killed")
        real(key)

    with monkeypatch.context() as patch:
        patch.setattr(lake.objects, "delete", dying)
        with contextlib.suppress(OSError):
            expire(lake, load_sources(), now=later)
    expire(lake, load_sources(), now=later)
    left = [info.key for info in lake.objects.list(f"{LANDING}/youtube")]
    assert not left
    again = land_answers(lake.objects, one.readers(), after=0, log=print, clock=one.clock.now)
    assert (again.batches, again.newest) == ([], 1)
    assert expire(lake, load_sources(), now=later) == Expired()

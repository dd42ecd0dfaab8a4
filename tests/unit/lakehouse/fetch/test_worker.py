"""The worker against the emulator over real HTTP: nothing lost, nothing over-spent, whatever platforms and processes do."""

import asyncio
import datetime as dt
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lakehouse.errors import TransientError
from lakehouse.fetch.capture import read_manifests
from lakehouse.fetch.landing import land_answers
from lakehouse.fetch.queue import Depth
from lakehouse.fetch.task import FetchTask
from lakehouse.fetch.worker import SourceReport, work
from lakehouse.simulate.platforms.faults import Faults
from lakehouse.simulate.platforms.quotas import Quotas
from tests.fetch_factory import CREDENTIALS, Live, batches, everybody, live

ROOMY = Quotas.unlimited()


def expected(one: Live) -> dict[str, set[str]]:
    return {
        "youtube_api.channels": set(one.ids("youtube")),
        "x_api.users": set(one.ids("x")),
        "licensed_instagram.profiles": set(one.handles("instagram")),
        "tiktok_research.user_info": set(one.handles("tiktok")),
    }


def test_everything_asked_for_is_landed_and_forgotten(tmp_path: Path) -> None:
    with live(tmp_path) as one:
        one.queue(everybody(one))
        reports = one.work()
        assert one.answered() == expected(one)
        with one.tools() as tools:
            assert tools.queue.depth().ready == tools.queue.depth().delayed == tools.queue.depth().in_flight == 0
        assert sum(report.dead for report in reports.values()) == 0
        outcome = land_answers(one.objects, one.readers(), after=0, log=print, clock=one.clock.now)
        assert sum(batch.rows_quarantined for batch in outcome.batches) == 0
        assert sum(batch.records_count for batch in outcome.batches) == sum(
            len(keys) for keys in expected(one).values()
        )
        again = land_answers(one.objects, one.readers(), after=0, log=print, clock=one.clock.now)
        assert (len(again.batches), again.already_count) == (0, len(outcome.batches))


def test_f12_a_storm_loses_no_account(tmp_path: Path) -> None:
    with live(tmp_path, speed=300.0, faults=Faults.storm(), quotas=ROOMY) as one:
        wanted = expected(one)
        one.queue(everybody(one))
        for _ in range(30):
            one.work(seconds=20)
            with one.tools() as tools:
                depth = tools.queue.depth()
                tools.queue.redrive()
                until = max((at for _, _, at, _ in tools.ledger.parkings()), default=one.clock.now())
            if not (depth.ready or depth.delayed or depth.in_flight or depth.dead):
                break
            one.jump(max(until, one.clock.now() + dt.timedelta(minutes=20)))
        assert one.answered() == wanted


def test_f12_a_spent_day_ends_the_run_well_and_the_next_day_goes_on(tmp_path: Path) -> None:
    with live(tmp_path, quotas=Quotas(youtube_units_per_day=3)) as one:
        one.queue(batches("youtube_api", "channels", one.ids("youtube"), 5))
        first = work_with_units(one, 4)
        assert first.answers == 3
        assert first.parked > 0
        with one.tools() as tools:
            assert tools.queue.depth().delayed > 0
            parked = [entry for entry in tools.ledger.parkings() if entry[0] == "youtube_api"]
        resume = parked[0][2]
        assert resume.astimezone(dt.UTC).hour == 7
        one.jump(resume + dt.timedelta(seconds=1))
        assert one.work("youtube_api")["youtube_api"].answers == 3


def test_a_day_that_is_called_spent_too_early_is_asked_again_within_the_hour(tmp_path: Path) -> None:
    with live(tmp_path, quotas=Quotas(youtube_units_per_day=3)) as one:
        one.queue(batches("youtube_api", "channels", one.ids("youtube"), 5))
        assert one.work("youtube_api")["youtube_api"].answers == 3
        with one.tools() as tools:
            until = next(at for source, _, at, _ in tools.ledger.parkings() if source == "youtube_api")
        assert dt.timedelta(minutes=59) < until - one.clock.now() <= dt.timedelta(hours=1)


def work_with_units(one: Live, units: int) -> SourceReport:
    """A run of YouTube whose day holds so many units by our own ledger."""
    source = one.sources["youtube_api"]
    named = [
        bucket.model_copy(update={"units": units}) if bucket.name == source.endpoints["channels"].bucket else bucket
        for bucket in source.buckets
    ]
    with one.tools() as tools:
        tools.connectors["youtube_api"].source = source.model_copy(update={"buckets": tuple(named)})
        return asyncio.run(work(tools, ["youtube_api"], seconds=30))["youtube_api"]


def test_our_own_ledger_stops_before_the_platform_has_to(tmp_path: Path) -> None:
    with live(tmp_path) as one:
        one.queue(batches("youtube_api", "channels", one.ids("youtube"), 2))
        report = work_with_units(one, 4)
        assert (report.requests, report.answers) == (4, 4)
        assert report.blocked_by == one.sources["youtube_api"].endpoints["channels"].bucket
        assert report.resume_at


def test_a_refused_credential_stops_its_source_alone_and_tells_somebody(tmp_path: Path) -> None:
    with live(tmp_path, fetch_credentials=CREDENTIALS | {"youtube_api": "wrong"}) as one:
        one.queue(everybody(one))
        reports = one.work()
        assert "keyInvalid" in reports["youtube_api"].stopped
        assert reports["youtube_api"].answers == 0
        assert reports["x_api"].answers > 0
        assert [subject for subject, _ in one.alerts] == ["youtube_api"]
        with one.tools() as tools:
            assert tools.queue.depth("youtube_api").delayed == len(batches("", "", one.ids("youtube"), 50))


def test_a_malformed_key_goes_alone_and_its_batch_is_asked_for(tmp_path: Path) -> None:
    with live(tmp_path) as one:
        ids = one.ids("x")[:6]
        one.queue([FetchTask("x_api", "users", (*ids[:3], "not-an-id", *ids[3:]))])
        report = one.work("x_api")["x_api"]
        assert one.answered()["x_api.users"] >= set(ids)
        assert (report.requests, report.dead) == (1, 1)
        with one.tools() as tools:
            assert {use.requests for use in tools.ledger.uses()} == {1}
            assert [dead.task.keys for dead in tools.queue.dead()] == [("not-an-id",)]


def test_a_token_that_is_refused_early_is_renewed(tmp_path: Path) -> None:
    with live(tmp_path, speed=60.0) as one:
        source = one.sources["tiktok_research"]
        with one.tools() as tools:
            tools.credentials._tokens[source.source] = ("clt.stale", one.clock.now() + dt.timedelta(hours=2))
            tools.queue.put(batches("tiktok_research", "user_info", one.handles("tiktok")[:3], 1))
            report = asyncio.run(work(tools, ["tiktok_research"], seconds=30))["tiktok_research"]
        assert (report.answers, report.dead) == (3, 0)
        assert report.retried > 0


def test_the_same_tools_work_again_when_the_token_has_ended(tmp_path: Path) -> None:
    with live(tmp_path, speed=60.0) as one, one.tools() as tools:
        for handle_batch in (one.handles("tiktok")[:8], one.handles("tiktok")[8:16]):
            tools.credentials._tokens.clear()
            tools.queue.put(batches("tiktok_research", "user_info", handle_batch, 1))
            report = asyncio.run(work(tools, ["tiktok_research"], seconds=30))["tiktok_research"]
            assert report.answers == len(handle_batch)


def test_a_landing_that_failed_after_its_commit_is_not_committed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with live(tmp_path) as one:
        one.queue(batches("x_api", "users", one.ids("x"), 100))
        real, calls = one.objects.put_once, []

        def losing(key: str, data: bytes) -> str:
            digest = real(key, data)
            calls.append(key)
            if len(calls) == 2:
                raise TransientError("the answer was lost")
            return digest

        with monkeypatch.context() as patch:
            patch.setattr(one.objects, "put_once", losing)
            with pytest.raises(TransientError):
                one.work("x_api")
        assert len(list(read_manifests(one.objects))) == 1
        assert one.answered()["x_api.users"] == set(one.ids("x"))
        with one.tools() as tools:
            assert tools.queue.depth("x_api") == Depth()


def test_f12_a_dead_platform_is_left_alone_and_the_others_go_on(tmp_path: Path) -> None:
    with live(tmp_path, faults=Faults(dead_platforms=("tiktok",))) as one:
        one.queue(everybody(one))
        reports = one.work(seconds=20)
        assert reports["tiktok_research"].answers == 0
        assert reports["youtube_api"].answers > 0
        assert reports["x_api"].answers > 0


SCRIPT = """
import asyncio, json, sys
from dataclasses import replace
from lakehouse import crash
from lakehouse.fetch.clock import FastClock, WallClock
from lakehouse.fetch.runtime import active_sources, tools_of
from lakehouse.fetch.worker import SourceReport, work
from lakehouse.settings import load_settings
from lakehouse.storage.objects import ObjectStore
settings = load_settings(**json.loads(sys.argv[1]))
crash.arm(sys.argv[2])
sources = active_sources(settings)
with tools_of(settings, ObjectStore.open(settings), sources, log=lambda text: None, clock=WallClock()) as tools:
    asyncio.run(work(replace(tools, lease_seconds=1.0), sorted(sources), seconds=20))
"""


@pytest.mark.parametrize(
    "point", ["fetch.mid_data:7", "fetch.after_data_before_commit:2", "fetch.after_commit_before_event:2"]
)
def test_f12_a_worker_killed_anywhere_loses_no_account(tmp_path: Path, point: str) -> None:
    with live(tmp_path) as one:
        now = dt.datetime.now(tz=dt.UTC)
        one.jump(max(now, one.clock.now()))
        wanted = expected(one)
        one.queue(everybody(one))
        given = {
            "home": str(tmp_path),
            "lake": one.settings.lake,
            "email_pepper": "test",
            "fetch_credentials": {
                name: value.get_secret_value() for name, value in one.settings.fetch_credentials.items()
            },
            "fetch_allowed": ["tiktok_research"],
            "fetch_urls": one.settings.fetch_urls,
        }
        first = subprocess.run([sys.executable, "-c", SCRIPT, json.dumps(given), point], env=os.environ, check=False)
        assert first.returncode == -signal.SIGKILL
        deadline = time.monotonic() + 60
        while one.answered() != wanted and time.monotonic() < deadline:
            subprocess.run([sys.executable, "-c", SCRIPT, json.dumps(given), ""], env=os.environ, check=True)
            time.sleep(1.0)
        assert one.answered() == wanted

"""F3, F4, F6: a Spark driver whose commits meet a failing store. Rows are exact, and each commit counts once."""

from __future__ import annotations

import threading
import time

import pytest

from tests.faults.drivers import append_together, outcome
from tests.faults.proxy import LOG_COMMIT, Rule, proxied
from tests.s3_backends import S3Backend
from tests.support import Home

pytestmark = [pytest.mark.integration, pytest.mark.spark, pytest.mark.s3]
LOST = ["lost", "lost500"]
STORMS = ["503", "500", "409", "reset", *LOST]
OUTAGE_SECONDS = 30
STORM_SECONDS = 400


def _home(s3: S3Backend, endpoint: str, bucket: str, folder) -> Home:
    return Home(folder, f"s3://{bucket}/lake", s3.lake_environment | {"CREATORLAKE_S3_ENDPOINT": endpoint})


def _table_rules(modes: list[str], **how) -> list[Rule]:
    return [Rule(mode, "PUT", f"/at-{mode}{LOG_COMMIT}", seed=seed, **how) for seed, mode in enumerate(modes)]


def _appended(s3: S3Backend, bucket: str, modes: list[str], rules: list[Rule], folder, appends: int):
    tables = [f"s3a://{bucket}/at-{mode}" for mode in modes]
    with proxied(s3.port) as proxy:
        proxy.rules = rules
        home = _home(s3, proxy.endpoint, bucket, folder)
        told = append_together(home, tables, appends=appends, drivers=1)
    return {mode: outcome(s3, table, told[table]) for mode, table in zip(modes, tables, strict=True)}


def test_f4_a_lost_answer_commits_once_and_counts_once(s3: S3Backend, tmp_path):
    rules = _table_rules(LOST, skip=1, times=2)
    done = _appended(s3, s3.make_bucket("f4-lost"), LOST, rules, tmp_path, 3)
    assert [rule.hits for rule in rules] == [2, 2]
    for mode, found in done.items():
        assert sorted(found.rows) == sorted(found.acked) == ["w0-0", "w0-1", "w0-2"], mode
        assert (found.refused, found.version) == ([], 3), mode


@pytest.mark.faults
@pytest.mark.timeout(STORM_SECONDS)
def test_f3_f6_storms_on_commits_lose_nothing_and_end(any_s3: S3Backend, tmp_path):
    rules = _table_rules(STORMS, skip=1, probability=0.4)
    started = time.monotonic()
    done = _appended(any_s3, any_s3.make_bucket("f3-storms"), STORMS, rules, tmp_path, 12)
    assert time.monotonic() - started < STORM_SECONDS
    assert all(rule.hits for rule in rules)
    for mode, found in done.items():
        assert sorted(found.rows) == sorted(found.acked), mode
        assert len(found.acked) + len(found.refused) == 12, mode
        assert found.version == len(found.acked), mode


@pytest.mark.faults
def test_f3_an_outage_of_half_a_minute_is_waited_for(s3_real: S3Backend, tmp_path):
    bucket = s3_real.make_bucket("f3-outage")
    table = f"s3a://{bucket}/at-outage"
    home = _home(s3_real, s3_real.endpoint, bucket, tmp_path)
    outage = threading.Thread(target=_pause_when_started, args=(s3_real, tmp_path))
    outage.start()
    told = append_together(home, [table], appends=8, drivers=1)
    outage.join()
    found = outcome(s3_real, table, told[table])
    assert sorted(found.rows) == sorted(found.acked)
    assert (len(found.acked), found.refused, found.version) == (8, [], 8)


def _pause_when_started(server: S3Backend, folder) -> None:
    while not (folder / "go").exists():
        time.sleep(0.1)
    time.sleep(1)
    server.pause()
    time.sleep(OUTAGE_SECONDS)
    server.resume()

"""F1, F14: the main job killed at every registered crash point ends where an undisturbed one does."""

from __future__ import annotations

import pytest

from lakehouse.contracts.tables import TABLES
from tests.faults.content import differing, duplicate_keys
from tests.faults.kills import kill_at_each, passed, points
from tests.faults.proxy import proxied
from tests.s3_backends import S3Backend
from tests.support import WORLD, Home, step_counts

pytestmark = [pytest.mark.e2e, pytest.mark.s3, pytest.mark.faults]
SMALL = WORLD | {"CREATORLAKE_SIMULATE_CREATORS": "60"}


PARTS = 3
"""A run goes on where the last one was killed, so each later point costs a minute: each part is a lake of its own."""


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("part", range(PARTS))
def test_f1_killed_at_every_point_the_lake_ends_at_the_same_content(s3: S3Backend, tmp_path, part: int):
    bucket = s3.make_bucket(f"kills{part}")
    calm = Home(tmp_path / "calm", f"s3://{bucket}/calm", SMALL | s3.lake_environment)
    done = calm.run("run", "--no-serve")
    assert done.returncode == 0, done.stdout + done.stderr
    with proxied(s3.port) as proxy:
        environment = SMALL | s3.lake_environment | {"CREATORLAKE_S3_ENDPOINT": proxy.endpoint}
        home = Home(tmp_path / "killed", f"s3://{bucket}/killed", environment)
        killed = kill_at_each(home, proxy, points(passed(done.stdout))[part::PARTS])
        done = home.run("run", "--no-serve")
    assert killed.missed == ""
    assert done.returncode == 0, done.stdout + done.stderr
    settings = [s3.settings(home.path, home.lake.removeprefix("s3://")) for home in (calm, home)]
    assert differing(*settings) == []
    assert {name: duplicate_keys(settings[1], name) for name in TABLES} == dict.fromkeys(TABLES, 0)
    counted, expected = step_counts(Home(home.path, home.lake, calm.env)), step_counts(calm)  # past the proxy
    inflated = {name: count for name, count in counted.items() if count > expected[name]}
    assert inflated == {}  # fewer is right: a step that was killed after its commit tells what its next run did

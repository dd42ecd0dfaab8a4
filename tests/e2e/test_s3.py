"""The main job over an S3 server on loopback, undisturbed: the same creators and counts as in a folder after a kill."""

from __future__ import annotations

import pytest

from tests.s3_backends import S3Backend
from tests.support import SHORT_JVM, WORLD, Home, request, served, shown_creators, step_counts

pytestmark = [pytest.mark.e2e, pytest.mark.s3]


def test_the_main_job_on_s3_ends_like_the_killed_one_in_a_folder(world, s3: S3Backend, tmp_path):
    home = Home(tmp_path, f"s3://{s3.make_bucket('main-job')}/lake", WORLD | SHORT_JVM | s3.lake_environment)
    checked = home.run("doctor", timeout=120)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    done = home.run("run", "--no-serve")
    assert done.returncode == 0, done.stdout + done.stderr
    assert shown_creators(home) == shown_creators(world)
    assert step_counts(home) == step_counts(world)
    again = home.run("run", "--no-serve", timeout=120)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "Nothing changed" in again.stdout
    with served(home) as base:
        status, answer = request(f"{base}/v1/search", {"query": "travel", "limit": 3})
        assert (status, len(answer["hits"])) == (200, 3)
    assert not (tmp_path / "lake").exists()

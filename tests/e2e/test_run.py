"""The main job as a user runs it: everything is built, counts conserve, nothing is done twice, a kill loses nothing."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from assets.steps import STEPS
from tests.support import Home, request, served

pytestmark = pytest.mark.e2e


def _docs(home: Home) -> dict[str, tuple[str, ...]]:
    """Creator id -> its profiles as platform:account, of the current snapshot."""
    snapshot = home.object("snapshots/CURRENT")["snapshot_id"]
    folder = Path(home.lake) / "snapshots" / snapshot / "shards"
    rows = [row for path in sorted(folder.glob("*/docs.parquet")) for row in pq.read_table(path).to_pylist()]
    return {
        row["creator_id"]: tuple(sorted(f"{p['platform']}:{p['platform_account_id']}" for p in row["profiles"]))
        for row in rows
    }


def _counts(home: Home) -> dict[str, int]:
    return {step.name: home.progress(step.name)["rows_out"] for step in STEPS}


def test_every_step_ran_and_counts_conserve(world):
    for step in STEPS:
        record = world.progress(step.name)
        total = record["rows_out"] + record["rows_quarantined"] + record["rows_duplicate"]
        if record["conserves"]:
            assert record["rows_in"] == total, step.name
        for source, counts in record["by_source"].items():
            kept = sum(counts.get(name, 0) for name in ("out", "quarantined", "duplicate"))
            assert counts["in"] == kept, (step.name, source)


def test_a_second_run_starts_no_spark_and_is_quick(world):
    started = time.monotonic()
    done = world.run("run", "--no-serve")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Nothing changed" in done.stdout
    assert time.monotonic() - started < 20


def test_the_service_answers_over_http(world):
    with served(world) as base:
        status, answer = request(f"{base}/v1/search", {"query": "travel vlogs", "filters": {}, "limit": 5})
        assert status == 200
        assert len(answer["hits"]) == 5
        for hit in answer["hits"]:
            assert sum(part["contribution"] for part in hit["contributions"]) == pytest.approx(hit["score"], abs=1e-6)
        status, creator = request(f"{base}/v1/creators/{answer['hits'][0]['creator_id']}")
        assert (status, creator["creator_id"]) == (200, answer["hits"][0]["creator_id"])
        status, error = request(f"{base}/v1/search", {"query": "x", "filters": {"folowers": {"min": 1}}})
        assert status == 422
        assert "folowers" in str(error)
        assert "followers" in str(error)


@pytest.mark.proof
def test_a_killed_run_ends_like_an_uninterrupted_one(world, tmp_path):
    home = Home(tmp_path, str(tmp_path / "lake"), dict(world.env))
    process = home.start("run", "--no-serve")
    marker = Path(home.lake) / "progress" / "silver_core__posts.json"
    deadline = time.monotonic() + 300
    while not marker.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.2)
    assert marker.exists(), "the run did not get half-way"
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (Path(home.lake) / "snapshots" / "CURRENT").exists()
    done = home.run("run", "--no-serve")
    assert done.returncode == 0, done.stdout + done.stderr
    assert _docs(home) == _docs(world)
    assert _counts(home) == _counts(world)


@pytest.mark.proof
def test_a_new_file_does_only_what_it_changes(world, tmp_path):
    home = Home(tmp_path, str(tmp_path / "lake"), dict(world.env))
    shutil.copytree(world.lake, home.lake)
    source = Path(world.progress("raw_landing")["metadata"]["folder"])
    folder = tmp_path / "input"
    shutil.copytree(source, folder)
    (folder / "accounts_new.jsonl").write_text(
        '{"platform": "instagram", "platform_account_id": "999000111", "handle": "brand.new.person",'
        ' "display_name": "Brand New Person", "bio": "pottery and ceramics", "followers": "12.3K",'
        ' "observed_at": "2026-11-01T00:00:00Z"}\n',
        encoding="utf-8",
    )
    before, old = _docs(home), _counts(home)
    done = home.run("run", "--input", str(folder), "--no-serve")
    assert done.returncode == 0, done.stdout + done.stderr
    after = _docs(home)
    assert {creator: after[creator] for creator in before} == before
    assert len(after) == len(before) + 1
    assert home.progress("raw_landing")["rows_in"] == 1
    assert home.progress("silver_enrich__embeddings")["rows_out"] == 1
    assert "bronze_youtube__posts" in old
    assert home.progress("bronze_youtube__posts")["rows_in"] == 0


def test_an_input_folder_that_does_not_exist_is_one_sentence(tmp_path):
    home = Home(tmp_path, str(tmp_path / "lake"))
    done = home.run("run", "--input", str(tmp_path / "nowhere"), "--no-serve", timeout=60)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines() == [f"creatorlake: The input folder {tmp_path / 'nowhere'} does not exist."]

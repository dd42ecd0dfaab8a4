"""The main job as a user runs it, after a kill half-way: everything is built, counts conserve, nothing is done twice."""

from __future__ import annotations

import shutil
import time

import pytest

from assets.steps import STEPS
from tests.support import WORLD, Home, request, served, shown_creators

pytestmark = pytest.mark.e2e


def test_every_step_ran_and_counts_conserve(world):
    for step in STEPS:
        record = world.progress(step.name)
        total = record["rows_out"] + record["rows_quarantined"] + record["rows_duplicate"]
        if record["conserves"]:
            assert record["rows_in"] == total, step.name
        for source, counts in record["by_source"].items():
            kept = sum(counts.get(name, 0) for name in ("out", "quarantined", "duplicate"))
            assert counts["in"] == kept, (step.name, source)


def test_every_layer_takes_in_what_the_one_below_gave_out(world):
    out = {step.name: world.progress(step.name)["rows_out"] for step in STEPS}
    rows_in = {step.name: world.progress(step.name)["rows_in"] for step in STEPS}
    bronze = {name: world.rows(name) for name in out if name.startswith("bronze_")}
    assert bronze == {name: out[name] for name in bronze}
    assert sum(bronze.values()) == world.progress("raw_landing")["metadata"]["records"]
    assert rows_in["_silver_core__observations"] == sum(n for name, n in bronze.items() if name.endswith("__profiles"))
    assert rows_in["silver_core__posts"] == sum(n for name, n in bronze.items() if name.endswith("__posts"))
    for name in ("_silver_core__observations", "silver_core__posts", "silver_core__accounts", "gold_creator__profiles"):
        assert world.rows(name) == out[name], name


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
def test_a_new_file_does_only_what_it_changes(world, tmp_path):
    home = Home(tmp_path, str(tmp_path / "lake"), dict(world.env))
    shutil.copytree(world.lake, home.lake)
    folder = tmp_path / "input"
    size, seed = (WORLD[f"CREATORLAKE_SIMULATE_{name}"] for name in ("CREATORS", "SEED"))
    shutil.copytree(world.path / "world" / f"{size}-{seed}" / "input", folder)
    (folder / "accounts_new.jsonl").write_text(
        '{"platform": "instagram", "platform_account_id": "999000111", "handle": "brand.new.person",'
        ' "display_name": "Brand New Person", "bio": "pottery and ceramics", "followers": "12.3K",'
        ' "observed_at": "2026-11-01T00:00:00Z"}\n',
        encoding="utf-8",
    )
    before = shown_creators(home)
    done = home.run("run", "--input", str(folder), "--no-serve")
    assert done.returncode == 0, done.stdout + done.stderr
    after = shown_creators(home)
    assert {creator: after[creator] for creator in before} == before
    assert len(after) == len(before) + 1
    assert home.progress("raw_landing")["rows_in"] == 1
    assert home.progress("silver_enrich__embeddings")["rows_out"] == 1
    assert home.progress("bronze_youtube__posts")["rows_in"] == 0


def test_an_input_folder_that_does_not_exist_is_one_sentence(tmp_path):
    home = Home(tmp_path, str(tmp_path / "lake"))
    done = home.run("run", "--input", str(tmp_path / "nowhere"), "--no-serve", timeout=60)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines() == [f"creatorlake: The input folder {tmp_path / 'nowhere'} does not exist."]
